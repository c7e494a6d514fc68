//go:build !linux

package stamp

import (
	"log/slog"
	"net"
)

// openLink takes the connection over and returns how to use it and how to wait for the next packet's time.
func openLink(conn net.Conn, m *measurement, _ *slog.Logger) (link, waiter) {
	return &plainLink{conn: conn, clock: m.clock}, newTimerWaiter(m.clock)
}
