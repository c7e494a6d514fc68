package reflector

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/nrprobe/nrprobe/probes/farend"
)

// preambleWait is how long a client may take to say what it wants: its first flight is under way when we accept.
const preambleWait = 10 * time.Second

// serveStream reads the preamble and hands the connection to its service.
func (r *Reflector) serveStream(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }() // the peer learns of it; nobody else wants to
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	var preamble [farend.PreambleSize]byte
	_ = c.SetReadDeadline(time.Now().Add(preambleWait))
	if _, err := io.ReadFull(c, preamble[:]); err != nil {
		r.streams.garbage.Add(1)
		return
	}
	serve, ok := r.services.streams[string(preamble[:])]
	if !ok {
		r.streams.garbage.Add(1)
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if err := serve(ctx, c); err != nil && ctx.Err() == nil {
		r.streams.failed.Add(1)
		r.log.Debug("serving a TCP connection", "preamble", string(preamble[:]), "client", c.RemoteAddr().String(), "error", err)
	}
}
