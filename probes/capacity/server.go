package capacity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Limits is what the far end grants at most.
type Limits struct {
	// Sessions is how many are served at the same time; further ones are refused with the outcome "busy".
	Sessions int
	// Duration is how long load may flow in one session.
	Duration time.Duration
	// Bytes is how much load one session may have, IP headers included.
	Bytes int64
	// Rate is the highest rate of the load in IP-layer bytes per second; 0 is no limit.
	Rate float64
	// Leases is where the leases are found that clients name; nil where none are granted.
	Leases *lease.Book
}

// DefaultLimits let a minute at 100 Gbit/s pass, and eight sessions at a time. There are no leases.
func DefaultLimits() Limits { return Limits{Sessions: 8, Duration: maxDuration, Bytes: 1e12} }

// Listen opens a UDP socket, as probes.Network does.
type Listen func(ctx context.Context, network, address string) (net.PacketConn, error)

// FarEnd answers capacity tests within DefaultLimits, with sockets of the host.
func FarEnd(log *slog.Logger) farend.Service {
	return FarEndWithin(DefaultLimits(), (&net.ListenConfig{}).ListenPacket, log)
}

// FarEndWithin answers capacity tests within the limits, with sockets that listen opens on the address that the client
// reached.
func FarEndWithin(limits Limits, listen Listen, log *slog.Logger) farend.Service {
	s := &server{limits: limits, listen: listen, log: log}
	return farend.Service{
		Name:    "capacity",
		Streams: map[string]func(context.Context, net.Conn) error{Preamble: s.serve},
	}
}

// server is the far end. It is safe for concurrent use.
type server struct {
	limits   Limits
	listen   Listen
	log      *slog.Logger
	sessions atomic.Int64
}

// serve answers one control connection behind its preamble.
// Liveness: the reader of the connection ends with the session's context, and is waited for.
func (s *server) serve(ctx context.Context, c net.Conn) error {
	ctx, end := context.WithCancelCause(ctx)
	control := newControl(c)
	var reading sync.WaitGroup
	reading.Go(func() { control.read(ctx, end) })
	defer reading.Wait()
	defer end(errOver)
	m, err := control.next(ctx)
	if err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	if m.Open == nil {
		return control.outOfTurn()
	}
	if s.sessions.Add(1) > int64(s.limits.Sessions) {
		s.sessions.Add(-1)
		return control.say(refuse(probes.Busy, "%d capacity sessions are being served, which is the limit: come back later", s.limits.Sessions))
	}
	defer s.sessions.Add(-1)
	plan := *m.Open
	if reason := s.grant(&plan); reason != "" {
		return control.say(refuse(probes.Refused, "%s", reason))
	}
	leased, release, err := s.limits.Leases.Bind(ctx, plan.Lease)
	if err != nil {
		return control.say(refuse(probes.Refused, "%v", err))
	}
	defer release()
	defer context.AfterFunc(leased, func() { end(context.Cause(leased)) })()
	return s.session(ctx, control, plan)
}

func refuse(o probes.Outcome, format string, args ...any) message {
	return message{Refused: &refused{Outcome: string(o), Text: fmt.Sprintf(format, args...)}}
}

// grant holds a request against the limits and lowers its rate to them; it says why the request cannot be met.
func (s *server) grant(plan *open) (reason string) {
	switch {
	case plan.Version != protocolVersion:
		return fmt.Sprintf("this far end speaks version %d of the capacity protocol, not %d", protocolVersion, plan.Version)
	case plan.Duration > s.limits.Duration:
		return fmt.Sprintf("duration: %v is more than the %v that are granted", plan.Duration, s.limits.Duration)
	case plan.MaxBytes > s.limits.Bytes:
		return fmt.Sprintf("max_bytes: %d is more than the %d that are granted", plan.MaxBytes, s.limits.Bytes)
	}
	if plan.MaxBytes == 0 {
		plan.MaxBytes = s.limits.Bytes
	}
	if s.limits.Rate > 0 && (plan.MaxRate == 0 || plan.MaxRate > s.limits.Rate) {
		plan.MaxRate = s.limits.Rate
	}
	return ""
}

// session is one test: a socket, the proof of the client's address, load and the last words.
func (s *server) session(ctx context.Context, control *control, plan open) error {
	local, err := netip.ParseAddrPort(control.conn.LocalAddr().String())
	if err != nil {
		return fmt.Errorf("finding the address that the client reached: %w", err)
	}
	pc, err := s.listen(ctx, "udp", netip.AddrPortFrom(local.Addr().Unmap(), 0).String())
	if err != nil {
		return errors.Join(control.say(refuse(probes.Error, "the far end cannot open a UDP socket")), fmt.Errorf("opening a UDP socket: %w", err))
	}
	defer func() { _ = pc.Close() }() // nobody has anything to lose in it
	sock, err := newSocket(pc)
	if err != nil {
		return err
	}
	l := link{socket: sock, plan: plan}
	_, _ = rand.Read(l.token[:]) // never fails (crypto/rand)
	if err := control.say(message{Accepted: &accepted{Token: l.token, Port: sock.local(), MaxRate: plan.MaxRate}}); err != nil {
		return err
	}
	if err := l.prove(ctx); err != nil {
		return errors.Join(err, control.say(refuse(probes.Timeout, "no UDP datagram of the client has arrived within %v", patience)))
	}
	if err := control.say(message{Start: &struct{}{}}); err != nil {
		return err
	}
	if plan.Up {
		return serveUp(ctx, control, l)
	}
	return serveDown(ctx, control, l)
}

// prove waits for a client that shows the token and reads what is sent to the address from which it does.
func (l *link) prove(ctx context.Context) error {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	b := make([]byte, receiveSize)
	answer := make([]byte, challengeSize)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, _, from, err := l.socket.read(b, time.Now().Add(feedbackInterval))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		d, parseErr := parseDatagram(b[:n], l.token)
		if err != nil || parseErr != nil {
			continue // answered with nothing
		}
		switch own := cookieFor(secret, from); {
		case d.kind == helloPacket:
			putHeader(answer, challengePacket, l.token)
			copy(answer[headerSize:], own[:])
			_, _ = l.socket.WriteToUDPAddrPort(answer, from) // one that is lost is asked for again
		case d.kind == confirmPacket && token(d.rest[:tokenSize]) == own:
			l.socket.connect(from)
			return nil
		}
	}
	return probes.Fail(probes.Timeout, "no datagram of the client within %v", patience)
}

// cookieFor is what a client at the address must show.
func cookieFor(secret []byte, address netip.AddrPort) (cookie token) {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte(address.String())) // never fails (hash.Hash)
	copy(cookie[:], h.Sum(nil))
	return cookie
}

// serveUp receives, reports and has the last word.
func serveUp(ctx context.Context, control *control, l link) error {
	var broken error
	r := newReceiver(l, func(p report) { broken = errors.Join(broken, control.say(message{Report: &p})) })
	finished := make(chan done, 1)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() { control.relayDone(watching, finished) })
	reason, err := r.run(ctx, finished)
	if err != nil {
		return err
	}
	stop()
	watch.Wait()
	p := r.final(reason)
	if err := errors.Join(broken, control.say(message{Report: &p})); err != nil || reason == byNoLoad {
		return err
	}
	control.goodbye(ctx)
	return nil
}

// relayDone hands on the sender's last word.
func (c *control) relayDone(ctx context.Context, finished chan<- done) {
	for {
		m, ok := c.receive(ctx)
		if !ok {
			return
		}
		if m.Done != nil {
			finished <- *m.Done
			return
		}
	}
}

// serveDown sends once the client is ready, says what it sent and waits until the client has had enough.
func serveDown(ctx context.Context, control *control, l link) error {
	m, err := control.next(ctx)
	if err != nil {
		return err
	}
	if m.Go == nil {
		return control.outOfTurn()
	}
	d, err := newSender(l, mrand.Uint64()).run(ctx)
	if err != nil {
		return err
	}
	if err := control.say(message{Done: &d}); err != nil || d.Stop == byNoFeedback {
		return err
	}
	control.goodbye(ctx)
	return nil
}
