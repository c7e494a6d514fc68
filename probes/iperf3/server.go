package iperf3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/load"
)

// Limits is what a Server grants at most.
type Limits struct {
	// Sessions is how many tests run at the same time; further clients hear that the server is busy.
	Sessions int
	// Duration is how long one test may take, with what it omits; longer ones are refused. Tests that end by volume are ended
	// after that time.
	Duration time.Duration
	// Leases is where leases are granted; where it requires them, clients without one hear that the server is busy. nil asks for none.
	Leases *lease.Book
}

// DefaultLimits grant eight tests of ten minutes, without leases.
func DefaultLimits() Limits { return Limits{Sessions: 8, Duration: 10 * time.Minute} }

// FarEnd answers iperf3 clients on a port of their own, TCP and UDP, within DefaultLimits. A reflector opens it when it is
// asked to.
func FarEnd(log *slog.Logger) farend.Service { return FarEndWithin(DefaultLimits(), log) }

// FarEndWithin is FarEnd within other limits.
func FarEndWithin(limits Limits, log *slog.Logger) farend.Service {
	return farend.Service{Name: "iperf3", Own: func(ctx context.Context, network probes.Network, address string) (farend.Server, error) {
		s, err := Listen(ctx, network, address, limits, log.With("service", "iperf3"))
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// Server answers iperf3 clients, several at once on one port. It is safe for concurrent use.
type Server struct {
	limits   Limits
	log      *slog.Logger
	listener net.Listener
	packets  net.PacketConn

	mu       sync.Mutex
	sessions map[cookie]*session
	opening  map[netip.Addr]*session    // who may open UDP streams, by the client's address
	turn     chan struct{}              // closed and replaced when opening has lost an entry
	peers    map[netip.AddrPort]*udpLeg // UDP streams, by the client's address and port
}

// Listen opens the TCP and the UDP port; with port 0 in address, any port that is free for both. The caller runs the Server,
// which closes them.
func Listen(ctx context.Context, network probes.Network, address string, limits Limits, log *slog.Logger) (*Server, error) {
	l, pc, err := listenBoth(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listening for iperf3 clients: %w", err)
	}
	return &Server{
		limits: limits, log: log, listener: l, packets: pc,
		sessions: map[cookie]*session{}, opening: map[netip.Addr]*session{}, turn: make(chan struct{}), peers: map[netip.AddrPort]*udpLeg{},
	}, nil
}

// maxTaken is how many ports that are free over TCP may be taken over UDP.
const maxTaken = 20

// listenBoth opens the same port over TCP and UDP. With port 0 one that others use over UDP stays open until another is found,
// so that it is not met again.
func listenBoth(ctx context.Context, network probes.Network, address string) (net.Listener, net.PacketConn, error) {
	host, chosen, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	for taken := 0; ; taken++ {
		l, err := network.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, err
		}
		port := addrPort(l.Addr()).Port()
		pc, err := network.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil {
			return l, pc, nil
		}
		defer l.Close()
		if chosen != "0" || !errors.Is(err, syscall.EADDRINUSE) || taken == maxTaken {
			return nil, nil, err
		}
	}
}

// Close implements farend.Server: both ports are closed, and Run ends.
func (s *Server) Close() error { return errors.Join(s.listener.Close(), s.packets.Close()) }

// Addr is where the Server listens, for TCP and UDP.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, and returns when every test has ended and both ports are closed. The error tells of a port
// that failed before.
// Liveness: the listener, the UDP socket and every connection are closed or interrupted when ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	failed := make(chan error, 1)
	serving.Go(func() { s.accept(ctx, &serving) })
	serving.Go(func() { failed <- s.receive() })
	var err error
	select {
	case err = <-failed:
		cancel()
	case <-ctx.Done():
	}
	closeErr := s.Close()
	serving.Wait()
	return errors.Join(err, closeErr)
}

// acceptPause is how long to wait when a connection cannot be accepted, for want of file descriptors as a rule.
const acceptPause = 50 * time.Millisecond

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context, serving *sync.WaitGroup) {
	for turn := uint64(0); ; turn++ {
		c, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = c.Close() // the Server ends; nothing was said on it yet
			}
			return
		case err != nil:
			s.log.Warn("iperf3 server cannot accept", "err", err)
			pause := time.NewTimer(acceptPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
			}
			continue
		}
		serving.Go(func() { s.serve(ctx, c, turn) })
	}
}

// serve reads the cookie and gives the connection to the session that has it, or makes it the control connection of a new
// one.
func (s *Server) serve(ctx context.Context, c net.Conn, turn uint64) {
	release := load.Interruptible(ctx, c)
	err := c.SetReadDeadline(time.Now().Add(stepLimit))
	var name cookie
	if err == nil {
		name, err = readCookie(c)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	release()
	if err != nil || ctx.Err() != nil {
		s.log.Debug("iperf3 connection", "from", c.RemoteAddr(), "err", errors.Join(err, c.Close()))
		return
	}
	sess, isNew := s.session(name, addrPort(c.RemoteAddr()))
	switch {
	case sess == nil:
		_ = writeState(c, accessDenied) // whether the client hears it or not, the connection closes
		err = c.Close()
	case isNew:
		err = sess.run(ctx, c)
		s.forget(name)
	default:
		err = sess.take(c, turn)
	}
	if err != nil {
		s.log.Debug("iperf3 test", "from", c.RemoteAddr(), "err", err)
	}
}

// session finds the session of a cookie or makes one; nil when there are as many as may be, or the client needs a lease.
func (s *Server) session(name cookie, client netip.AddrPort) (sess *session, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess := s.sessions[name]; sess != nil {
		return sess, false
	}
	if len(s.sessions) >= s.limits.Sessions || s.limits.Leases.Admit(client.String()) != nil {
		return nil, false
	}
	sess = &session{server: s, ready: make(chan struct{}), seed: rand.Uint64()}
	s.sessions[name] = sess
	return sess, true
}

func (s *Server) forget(name cookie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, name)
}

// addrPort is the address of a TCP or UDP end, in one form for IPv4.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
