//go:build !linux

package throughput

import (
	"fmt"
	"net"
)

// stateOf knows nothing where the kernel has no TCP_INFO of Linux.
func stateOf(net.Conn) (senderState, bool) { return senderState{}, false }

// useCongestionControl is for Linux senders only.
func useCongestionControl(_ net.Conn, name string) error {
	return fmt.Errorf("congestion_control: %q cannot be set by a sender that does not run Linux: leave it out", name)
}

// bufferSizes is told on Linux only.
func bufferSizes(net.PacketConn) (receive, send int, ok bool) { return 0, 0, false }
