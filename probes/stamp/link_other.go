//go:build !linux

package stamp

import (
	"log/slog"
	"net"
)

// openLink takes the connection over and returns how to use it and how to wait for the next packet's time.
func openLink(conn net.Conn, clock *sessionClock, _ *ledger, log *slog.Logger) (link, waiter) {
	log.Debug("packets are stamped in user space: the system offers no other way")
	return newPlainLink(conn, clock), newTimerWaiter(clock)
}
