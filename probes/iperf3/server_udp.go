package iperf3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// udpLeg is one UDP stream at the server: a leg, and where its datagrams come from.
type udpLeg struct {
	*leg
	peer    net.Addr
	key     netip.AddrPort
	traffic *traffic
}

// portReader is what UDP sockets can do that allocates nothing for each datagram.
type portReader interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
}

// receive reads all datagrams of all tests until the socket is closed.
func (s *Server) receive() error {
	b := make([]byte, maxDatagram)
	read := func() (int, netip.AddrPort, error) {
		n, from, err := s.packets.ReadFrom(b)
		if err != nil {
			return n, netip.AddrPort{}, err
		}
		return n, addrPort(from), nil
	}
	if r, ok := s.packets.(portReader); ok {
		read = func() (int, netip.AddrPort, error) { return r.ReadFromUDPAddrPort(b) }
	}
	for {
		n, from, err := read()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && probes.Classify(err) == probes.Refused:
			continue // an earlier datagram met a closed port; the test it belonged to has its own way to notice
		case err != nil:
			return fmt.Errorf("receiving from iperf3 clients: %w", err)
		}
		s.arrive(b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

// arrive gives a datagram to its stream. One of an address that has none opens one, if it says hello and if a session of
// that address, which TCP has proven, waits for streams. Nothing is sent to anybody else.
func (s *Server) arrive(b []byte, from netip.AddrPort) {
	s.mu.Lock()
	l := s.peers[from]
	isHello := len(b) == helloSize
	if l == nil && isHello {
		if sess := s.opening[from.Addr()]; sess != nil {
			l = sess.addUDP(from)
		}
		if l != nil {
			s.peers[from] = l
		}
	}
	s.mu.Unlock()
	switch {
	case l == nil:
	case isHello:
		// Each hello gets an answer: the first one may have been lost.
		if _, err := s.packets.WriteTo([]byte(answerTo(b)), l.peer); err != nil {
			s.log.Debug("answering an iperf3 client", "to", from, "err", err)
		}
	case l.tally != nil:
		l.tally.arrive(b, l.traffic.clock())
	}
}

// turnToOpen waits until no other session of that client address opens UDP streams, of which one cannot be told from
// another's, and then takes its turn.
func (s *Server) turnToOpen(ctx context.Context, client netip.Addr, sess *session) error {
	patience := time.NewTimer(2 * stepLimit)
	defer patience.Stop()
	for {
		s.mu.Lock()
		if s.opening[client] == nil {
			s.opening[client] = sess
			s.mu.Unlock()
			return nil
		}
		turn := s.turn
		s.mu.Unlock()
		select {
		case <-turn:
		case <-patience.C:
			return probes.Fail(probes.Timeout, "another test of %v has not opened its streams", client)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// endTurn lets the next session of that client address open its streams.
func (s *Server) endTurn(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opening, client)
	close(s.turn)
	s.turn = make(chan struct{})
}

// forgetUDP drops the streams of a session.
func (s *Server) forgetUDP(legs []*udpLeg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range legs {
		delete(s.peers, l.key)
	}
}

// addUDP makes the session's next stream; nil when it has all. The server's lock is held.
func (s *session) addUDP(from netip.AddrPort) *udpLeg {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.nextLocked()
	if l == nil {
		return nil
	}
	if !l.sends {
		l.tally = &tally{wide: s.traffic.wide}
	}
	u := &udpLeg{leg: l, peer: net.UDPAddrFromAddrPort(from), key: from, traffic: s.traffic}
	s.udp = append(s.udp, u)
	s.addedLocked()
	return u
}
