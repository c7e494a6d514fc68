package throughput

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/load"
)

// Limits is what the far end grants at most.
type Limits struct {
	// Sessions is how many TCP sessions and QUIC connections are served at the same time, all together; further ones are
	// refused with the outcome "busy".
	Sessions int
	// Duration is how long data may flow in one session.
	Duration time.Duration
	// Bytes is how much the far end sends, and how much it takes in, per session.
	Bytes int64
	// Leases is where the leases are found that clients name; nil where none are granted.
	Leases *lease.Book
}

// DefaultLimits are generous: five minutes and a terabyte, as much as a configuration may ask for. There are no leases.
func DefaultLimits() Limits { return Limits{Sessions: 32, Duration: 5 * time.Minute, Bytes: 1e12} }

// FarEnd answers throughput tests, within DefaultLimits.
func FarEnd(log *slog.Logger) farend.Service { return FarEndWithin(DefaultLimits(), log) }

// FarEndWithin answers throughput tests within the limits.
func FarEndWithin(limits Limits, log *slog.Logger) farend.Service {
	return newServer(limits, log).service()
}

func newServer(limits Limits, log *slog.Logger) *server {
	return &server{limits: limits, log: log, epoch: time.Now(), block: load.NewBlock(mrand.Uint64()), sessions: map[string]*session{}}
}

func (s *server) service() farend.Service {
	return farend.Service{
		Name:    "throughput",
		Streams: map[string]func(context.Context, net.Conn) error{farend.PreambleGoodput: s.serve},
		QUIC: map[string]func(context.Context, *quic.Conn) error{
			ALPNLoad:        s.serveLoad,
			farend.ALPNPerf: s.servePerf,
		},
	}
}

// server is the far end. It is safe for concurrent use.
type server struct {
	limits Limits
	log    *slog.Logger
	epoch  time.Time // the zero of the times that QUIC connections report, so that those of one client add up
	block  []byte

	mu       sync.Mutex
	sessions map[string]*session
}

// session is one test over TCP. It is safe for concurrent use.
type session struct {
	open     open
	received *load.Counter
	in       *load.Receiver // of TCP streams, counts into received
	out      *load.Sender
	state    func() load.State // what the transport says of what is sent; no Sockets when it does not tell
	epoch    time.Time

	ctx     context.Context // ends with the session
	end     context.CancelCauseFunc
	ready   chan struct{} // closed when all streams are there
	started chan struct{} // closed when data may flow: behind the start message, which would wait in its queue otherwise
	begun   time.Time     // valid once started is closed

	mu      sync.Mutex
	missing open // the streams that are still to come
	sending []net.Conn
	parted  load.State // of the sending streams that have ended
}

// serve answers one connection behind its preamble: it becomes the control connection of a session, or one of its streams.
func (s *server) serve(ctx context.Context, c net.Conn) error {
	defer load.Interruptible(ctx, c)()
	if err := c.SetReadDeadline(time.Now().Add(idleLimit)); err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	m, err := readMessage(c)
	if err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case m.Open != nil:
		return s.control(ctx, c, *m.Open, (*session).askKernel)
	case m.Data != nil:
		return s.stream(ctx, c, *m.Data)
	default:
		return fmt.Errorf("%w: the first message asks for nothing", errFrame)
	}
}

// admit grants a session or says why not.
func (s *server) admit(ctx context.Context, end context.CancelCauseFunc, o open) (id string, _ *session, _ *refused) {
	no := func(outcome probes.Outcome, format string, args ...any) *refused {
		return &refused{Outcome: string(outcome), Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Version != protocolVersion:
		return "", nil, no(probes.Invalid, "version %d of the throughput protocol is not spoken here: want %d", o.Version, protocolVersion)
	case o.Duration > s.limits.Duration:
		return "", nil, no(probes.Refused, "a test of %v is longer than the %v that are granted: ask for less", o.Duration, s.limits.Duration)
	case o.Limit > s.limits.Bytes:
		return "", nil, no(probes.Refused, "%d bytes are more than the %d that are granted: ask for less", o.Limit, s.limits.Bytes)
	}
	if o.Limit == 0 {
		o.Limit = s.limits.Bytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= s.limits.Sessions {
		return "", nil, no(probes.Busy, "%d tests are running, as many as are granted at a time: come back later", len(s.sessions))
	}
	sess := &session{
		open: o, missing: o, received: load.NewCounter(o.Limit), epoch: s.epoch, ctx: ctx, end: end,
		ready: make(chan struct{}), started: make(chan struct{}),
		out: &load.Sender{Block: s.block, Budget: load.NewBudget(o.Limit), Sent: load.NewCounter(0)},
	}
	sess.in = &load.Receiver{Received: sess.received}
	id = rand.Text()
	s.sessions[id] = sess
	return id, sess, nil
}

// dismiss forgets a session.
func (s *server) dismiss(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

// stream serves one data connection until its session or its peer ends it.
func (s *server) stream(ctx context.Context, c net.Conn, d data) error {
	s.mu.Lock()
	sess := s.sessions[d.Session]
	s.mu.Unlock()
	if sess == nil {
		return errors.New("a stream names a session that there is none of")
	}
	if err := sess.bind(c, d.Up); err != nil {
		return err
	}
	defer load.Interruptible(sess.ctx, c)()
	select {
	case <-sess.started:
	case <-sess.ctx.Done():
		return nil
	case <-ctx.Done():
		return nil
	}
	var err error
	if d.Up {
		err = sess.in.Receive(c)
	} else {
		err = sess.out.Send(c)
		if err == nil {
			<-sess.ctx.Done() // closing now would cut off what the kernel still holds for the peer
		}
	}
	sess.part(c)
	load.Abort(c)
	if sess.ctx.Err() != nil || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil // the session has ended, or the client drops its streams and its word for it is still on the way
	}
	return err
}

// bind counts a stream in, and prepares it for sending when the far end does.
func (s *session) bind(c net.Conn, up bool) error {
	if !up && s.open.CongestionControl != "" {
		if err := load.UseCongestionControl(c, s.open.CongestionControl); err != nil {
			s.end(probes.Fail(probes.Invalid, "%w", err))
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := &s.missing.Down
	if up {
		left = &s.missing.Up
	}
	if *left == 0 {
		return errors.New("a stream is one more than its session has")
	}
	*left--
	if !up {
		s.sending = append(s.sending, c)
	}
	if s.missing.Up+s.missing.Down == 0 {
		close(s.ready)
	}
	return nil
}

// askKernel has the session's reports say what the kernel says of its sending streams.
func (s *session) askKernel() {
	s.state = func() (sum load.State) {
		s.mu.Lock()
		defer s.mu.Unlock()
		sum = s.parted
		for _, c := range s.sending {
			if one, ok := load.StateOf(c); ok {
				sum.Add(one)
			}
		}
		return sum
	}
}

// part keeps what the kernel says of a stream that is about to be closed: the client drops its streams before it asks for the
// last report.
func (s *session) part(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.sending, c)
	if i < 0 {
		return
	}
	s.sending = slices.Delete(s.sending, i, i+1)
	if one, ok := load.StateOf(c); ok {
		s.parted.Add(one)
	}
}

// report is what there is to say now, with the state of the sending transport on demand.
func (s *session) report(withState, final bool) *report {
	received, at, loose := s.in.Count(s.begun)
	r := &report{Elapsed: at, Received: received, Loose: loose, Sent: s.out.Sent.Total(), Final: final}
	if withState {
		if state := s.state(); state.Sockets > 0 {
			r.Sender = &state
		}
	}
	return r
}
