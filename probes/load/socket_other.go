//go:build !linux

package load

import (
	"fmt"
	"net"
)

// StateOf knows nothing where the kernel has no TCP_INFO of Linux.
func StateOf(net.Conn) (State, bool) { return State{}, false }

// UseCongestionControl is for Linux senders only.
func UseCongestionControl(_ net.Conn, name string) error {
	return fmt.Errorf("congestion_control: %q cannot be set by a sender that does not run Linux: leave it out", name)
}

// BufferSizes is told on Linux only.
func BufferSizes(net.PacketConn) (receive, send int, ok bool) { return 0, 0, false }

// abortWrapped is Abort for a connection whose wrapper shows the socket and not its methods: it closes in order.
func abortWrapped(net.Conn) {}
