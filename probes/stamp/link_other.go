//go:build !linux

package stamp

import (
	"log/slog"
	"net"
	"time"
)

// openLink takes the connection over, with stamps from user space.
func openLink(conn net.Conn, clock *sessionClock, _ *ledger, log *slog.Logger) link {
	log.Debug("packets are stamped in user space", "reason", "the system offers no other way that is made use of")
	return newPlainLink(conn, clock)
}

// newWaiter returns how to wait for the time of a packet on that connection.
func newWaiter(_ net.Conn, clock *sessionClock, _ time.Duration, _ *slog.Logger) waiter {
	return newTimerWaiter(clock)
}
