package capacity

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	// largestBatch is what the kernel takes at once to cut into datagrams itself: the largest UDP payload over IPv4.
	largestBatch = 65507
	// batchSegments is how many datagrams may be in it (UDP_MAX_SEGMENTS of Linux before 6.9).
	batchSegments = 64
	// receiveSize is the most that one read returns.
	receiveSize = 1 << 16
	// socketBuffer is asked for each way: 5 ms at 10 Gbit/s. The kernel grants what its limits allow.
	socketBuffer = 7 << 20
)

// packetConn is what a UDP socket must offer, the kernel's as the emulated one.
type packetConn interface {
	net.PacketConn
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (n int, err error)
}

// socket sends and receives many datagrams at once where the kernel can. One goroutine may send while another receives.
type socket struct {
	packetConn
	offload // what the kernel can do
	peer    netip.AddrPort
}

// newSocket takes over pc.
func newSocket(pc net.PacketConn) (*socket, error) {
	c, ok := pc.(packetConn)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be used to measure capacity: want a UDP socket", pc)
	}
	if b, ok := pc.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	}); ok {
		_, _ = b.SetReadBuffer(socketBuffer), b.SetWriteBuffer(socketBuffer) // smaller ones only lower the rate that can be reached
	}
	return &socket{packetConn: c}, nil
}

// local is the port that the socket has.
func (s *socket) local() uint16 {
	if a, ok := s.LocalAddr().(*net.UDPAddr); ok {
		return uint16(a.Port)
	}
	return 0
}

// connect says who the peer is: it alone is sent to from then on.
func (s *socket) connect(peer netip.AddrPort) {
	s.peer = peer
	s.prepare()
}

// overhead is how many bytes of IP and UDP headers each datagram has: what lies between UDP payload and IP-layer bits.
func (s *socket) overhead() int {
	if s.peer.Addr().Is4() || s.peer.Addr().Is4In6() {
		return 20 + 8
	}
	return 40 + 8
}

// read waits until the deadline for datagrams: b[:n] holds them, each of segment bytes but for the last, which may be
// shorter. expired tells the error of a deadline that has passed.
func (s *socket) read(b []byte, deadline time.Time) (n, segment int, from netip.AddrPort, err error) {
	if err := s.SetReadDeadline(deadline); err != nil {
		return 0, 0, from, err
	}
	n, segment, from, err = s.receive(b)
	return n, segment, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// expired says whether an error is a deadline's.
func expired(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// writeEach sends the datagrams in b, each of size bytes, one by one, and returns how many were taken.
func (s *socket) writeEach(b []byte, size int) (taken int, err error) {
	for ; len(b) >= size; b = b[size:] {
		if _, err := s.WriteToUDPAddrPort(b[:size], s.peer); err != nil {
			return taken, err
		}
		taken++
	}
	return taken, nil
}
