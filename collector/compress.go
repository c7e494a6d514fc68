package collector

import (
	"compress/gzip"
	"net/http"
	"strings"
)

// compressed packs answers for clients that can unpack them: a fleet in JSON becomes a tenth, which matters on the very
// links that are measured here.
func compressed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Add("Vary", "Accept-Encoding")
		z := &gzipWriter{ResponseWriter: w}
		defer z.close()
		h.ServeHTTP(z, r)
	})
}

// gzipWriter packs what is written, unless the answer has no body.
type gzipWriter struct {
	http.ResponseWriter
	z      *gzip.Writer
	headed bool
}

func (g *gzipWriter) WriteHeader(status int) {
	if !g.headed && status != http.StatusNoContent && status != http.StatusNotModified {
		g.Header().Set("Content-Encoding", "gzip")
		g.Header().Del("Content-Length")
		g.z = gzip.NewWriter(g.ResponseWriter)
	}
	g.headed = true
	g.ResponseWriter.WriteHeader(status)
}

func (g *gzipWriter) Write(b []byte) (int, error) {
	if !g.headed {
		g.WriteHeader(http.StatusOK)
	}
	if g.z == nil {
		return g.ResponseWriter.Write(b)
	}
	return g.z.Write(b)
}

func (g *gzipWriter) close() {
	if g.z != nil {
		_ = g.z.Close() // the client is gone; there is nobody to tell
	}
}
