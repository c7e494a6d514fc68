package responsiveness

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Where our server has what the configuration names.
const (
	smallPath  = "/nq/small"
	largePath  = "/nq/large"
	uploadPath = "/nq/upload"
)

// largeSize is what the large response announces: the draft wants 8 GB at least.
const largeSize = 64e9

// chunkSize is how much of the large response is written at once. A response of one byte on the same connection waits for
// one chunk at most: 16 KiB take 1.3 ms at 100 Mbit/s.
const chunkSize = 16 << 10

// stallLimit is how long a client may take nothing, or send nothing, before its request is given up. One of many connections
// that share a slow link may starve behind an outage for longer than that takes, and to give it up would end the measurement.
const stallLimit = 30 * time.Second

// maxLoad is how long one request may load the link: longer than any measurement takes.
const maxLoad = 2 * time.Minute

// FarEnd serves measurements of responsiveness over HTTP/2 and HTTP/3, our own and other people's.
func FarEnd(log *slog.Logger) farend.Service { return FarEndLeased(nil, log) }

// FarEndLeased is FarEnd where leases are granted out of the book.
func FarEndLeased(leases *lease.Book, log *slog.Logger) farend.Service {
	chunk := make([]byte, chunkSize)
	source := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for i := range chunk {
		chunk[i] = byte(source.Uint32()) // nothing on the way is to compress it
	}
	s := &server{leases: leases, log: log, chunk: chunk}
	return farend.Service{
		Name: "responsiveness",
		HTTP: map[string]http.Handler{
			"GET " + wellKnown:   http.HandlerFunc(s.configuration),
			"GET " + smallPath:   http.HandlerFunc(s.small),
			"GET " + largePath:   s.leased(s.large),
			"POST " + uploadPath: s.leased(s.upload),
		},
	}
}

// server is the far end. It is safe for concurrent use.
type server struct {
	leases *lease.Book // nil where none are granted
	log    *slog.Logger
	chunk  []byte
}

// leased serves load where it is free, or to a client that holds a lease.
func (s *server) leased(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.leases.Admit(r.RemoteAddr); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		serve(w, r)
	})
}

// configuration names the resources on the host that the client asked, with the keys of the draft and the older ones.
func (s *server) configuration(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		http.Error(w, "the configuration takes no query", http.StatusBadRequest)
		return
	}
	var c configuration
	c.Version, c.Leases = 1, s.leases != nil
	base := "https://" + r.Host
	c.URLs.Small, c.URLs.Large, c.URLs.Upload = base+smallPath, base+largePath, base+uploadPath
	c.URLs.OldSmall, c.URLs.OldLarge, c.URLs.OldUp = c.URLs.Small, c.URLs.Large, c.URLs.Upload
	text, err := json.Marshal(c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // a client that has gone needs no answer
}

func plain(w http.ResponseWriter, size int64) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
}

func (s *server) small(w http.ResponseWriter, _ *http.Request) {
	plain(w, 1)
	_, _ = w.Write([]byte{'a'}) // a client that has gone needs no answer
}

// large writes until the client has enough, takes nothing any more, or has had its time.
func (s *server) large(w http.ResponseWriter, r *http.Request) {
	plain(w, largeSize)
	control := http.NewResponseController(w)
	begun := time.Now()
	patience := begun
	for left := int64(largeSize); left > 0; {
		now := time.Now()
		if now.Sub(begun) > maxLoad || r.Context().Err() != nil {
			break
		}
		if now.Sub(patience) >= 0 { // each second is often enough for a limit of ten
			patience = now.Add(time.Second)
			if err := control.SetWriteDeadline(now.Add(stallLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				break
			}
		}
		n, err := w.Write(s.chunk[:min(left, chunkSize)])
		if err != nil {
			break
		}
		left -= int64(n)
	}
	// Returning before all that was announced has been written resets the stream, which is what is wanted.
}

// upload takes in whatever comes.
func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	ctx, cancel := context.WithTimeout(r.Context(), maxLoad)
	defer cancel()
	buffer := make([]byte, 64<<10)
	patience := time.Now()
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(patience) >= 0 {
			patience = now.Add(time.Second)
			if err := control.SetReadDeadline(now.Add(stallLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				break
			}
		}
		_, err := r.Body.Read(buffer)
		switch {
		case errors.Is(err, io.EOF):
			plain(w, 0)
			w.WriteHeader(http.StatusOK)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.log.Debug("an upload stands still", "from", r.RemoteAddr)
			http.Error(w, "the upload stands still", http.StatusRequestTimeout)
			return
		case err != nil:
			return // the client has ended it, as it does with an upload that has no end
		}
	}
	http.Error(w, "the upload has had its time", http.StatusRequestTimeout)
}
