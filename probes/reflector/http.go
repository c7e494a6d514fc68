package reflector

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes/load"
)

// about is all that the reflector says of itself to whoever comes by with a browser.
const about = "nrprobe reflector: the far end of network measurements (STAMP, TCP, TLS and QUIC probes).\n"

// handler serves what the services bring for HTTP/1.1, HTTP/2 and HTTP/3, and a line about itself.
func (s *services) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, about)
	})
	for pattern, handler := range s.http {
		mux.Handle(pattern, handler)
	}
	return mux
}

// http2Window is the largest flow-control window that net/http accepts: with its own of 1 MiB, an upload over a round trip of
// 50 ms would end at 170 Mbit/s a connection.
const http2Window = 4<<20 - 1

// serveTLS serves HTTP/1.1 and HTTP/2 until stop is called.
// Liveness: it returns when the listener is closed; r.conns counts the connections that outlive it.
func (r *Reflector) serveTLS(ctx context.Context, l net.Listener) (stop func(context.Context)) {
	server := &http.Server{
		Handler:           r.handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{r.cert}, MinVersion: tls.VersionTLS13},
		ReadHeaderTimeout: 10 * time.Second, // as for a preamble
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(handshakeErrors{Handler: r.log.Handler(), stats: &r.tls}, slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// A small response must not wait behind a large one, neither in the kernel of this host nor for room at the other end.
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secured, ok := c.(*tls.Conn); ok {
				load.KeepShort(secured.NetConn())
			}
			return ctx
		},
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: http2Window, MaxReceiveBufferPerStream: http2Window},
	}
	r.acceptors.Go(func() {
		if err := server.ServeTLS(&listener{Listener: l, r: r, stats: &r.tls}, "", ""); !errors.Is(err, http.ErrServerClosed) {
			r.fail(err)
		}
	})
	return func(grace context.Context) {
		if server.Shutdown(grace) != nil {
			_ = server.Close() // what is still open has had its grace
		}
	}
}

// handshakeErrors counts what net/http says of connections that spoke no TLS; nobody else hears of them.
type handshakeErrors struct {
	slog.Handler
	stats *portStats
}

// Enabled implements slog.Handler: what is not logged is counted all the same.
func (h handshakeErrors) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h handshakeErrors) Handle(ctx context.Context, record slog.Record) error {
	if strings.Contains(record.Message, "TLS handshake error") {
		h.stats.garbage.Add(1)
	}
	if !h.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}
