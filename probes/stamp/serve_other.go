//go:build !linux

package stamp

import (
	"log/slog"
	"net"
)

// serve answers on the socket until reading fails.
func serve(pc net.PacketConn, r *responder, log *slog.Logger) error {
	log.Info("STAMP reflector stamps packets in user space", "address", pc.LocalAddr().String())
	return servePlain(pc, r)
}
