//go:build !linux

package capacity

import (
	"net/netip"
	"time"
)

// offload is nothing where the kernel takes and gives datagrams one by one.
type offload struct {
	gso, gro bool
	arrived  time.Time
}

func (s *socket) prepare()  {}
func (s *socket) coalesce() {}
func (s *socket) stamp()    {}

// dropped is told on Linux only.
func (s *socket) dropped() int64 { return 0 }

// send sends the datagrams in b, each of size bytes, and returns how many the kernel took and how many it refused.
func (s *socket) send(b []byte, size int) (taken, refused int, err error) {
	taken, err = s.writeEach(b, size)
	if err != nil {
		refused = len(b)/size - taken
	}
	return taken, refused, err
}

func (s *socket) receive(b []byte) (n, segment int, from netip.AddrPort, err error) {
	n, from, err = s.ReadFromUDPAddrPort(b)
	return n, n, from, err
}
