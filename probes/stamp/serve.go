package stamp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// maxReadErrors is how many reads in a row may fail before serving ends. Single failures are news of unreachable
// peers on some systems.
const maxReadErrors = 100

// servePlain answers on any socket, one packet at a time, with time stamps from user space.
func servePlain(pc net.PacketConn, r *responder) error {
	buffer := make([]byte, maxPacketSize)
	local := addrPort(pc.LocalAddr())
	for failures := 0; ; {
		n, from, err := pc.ReadFrom(buffer)
		now := time.Now()
		if err != nil {
			failures++
			if isStopped(err) || failures >= maxReadErrors {
				return fmt.Errorf("reading STAMP packets: %w", err)
			}
			continue
		}
		failures = 0
		if n == len(buffer) {
			continue // it may have been longer
		}
		x := exchange{arrival: arrival{from: addrPort(from), to: local, t2: now.UnixNano(), method: methodLocal, tos: -1}}
		if n = r.answer(buffer, n, &x); n == 0 {
			continue
		}
		// T3 continues T2 on the monotonic clock, so that no step of the wall clock can come between them.
		r.depart(buffer[:n], x.t2+int64(time.Since(now)))
		// A reply that cannot be sent is a packet lost, which the sender sees; there is nobody else to tell.
		_, _ = pc.WriteTo(buffer[:n], from)
	}
}

// isStopped says whether a read ended because the socket was closed, or its deadline moved into the past to end reading.
func isStopped(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, net.ErrClosed)
}

// addrPort is the address of a UDP peer; not valid when it is none.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}
	case *net.UDPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	default:
		ap, _ := netip.ParseAddrPort(a.String())
		return ap
	}
}
