package lease

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// ErrNone says that the far end grants no leases: it is an older reflector, or none of ours.
var ErrNone = errors.New("no lease is offered")

// Request is what a client wants, and where.
type Request struct {
	// Net opens the connection.
	Net probes.Network
	// Address is the reflector's plain TCP port: an address literal with port.
	Address string
	// Ask says what for. Its version is filled in.
	Ask Ask
	// Wait is how long to wait in the queue; 0 does not.
	Wait time.Duration
	// Told is called with each position in the queue, counted from 1; nil when nobody wants to know.
	Told func(position int)
}

// Lease is the right to load the link to a reflector, for as long as it lasts. Its methods are safe for concurrent use.
type Lease struct {
	// ID names the lease to the reflector's services.
	ID string
	// Waited is how long it took to get it, from the first answer on.
	Waited time.Duration

	line
	released chan struct{}
	release  sync.Once
	ctx      context.Context // ends when the lease is lost; the cause says why
	lose     context.CancelCauseFunc
	keeper   sync.WaitGroup
}

// Acquire blocks until the reflector has granted a lease or there will be none. A reflector that goes away while the client
// waits is asked again, from the end of its queue, until Wait is over. The error wraps ErrNone where the far end connects and
// grants none; its outcome is probes.Busy when Wait was not enough. The caller releases the lease.
//
// Liveness: the goroutines that keep the lease end with Release, or before, when it is lost.
func (r *Request) Acquire(ctx context.Context) (*Lease, error) {
	w := &wait{Request: r, ask: r.Ask}
	w.ask.Version = protocolVersion
	if err := (message{Ask: &w.ask}).check(); err != nil {
		return nil, probes.Fail(probes.Invalid, "asking for a lease: %w", err)
	}
	for {
		l, err := w.attempt(ctx)
		switch {
		case err == nil:
			l.keeper.Go(l.keep)
			return l, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !isInterrupted(err):
			return nil, err
		case time.Since(w.since)+askAgain >= r.Wait:
			return nil, fmt.Errorf("the reflector went away after %v in its queue: %w", time.Since(w.since).Round(time.Millisecond), err)
		}
		again := time.NewTimer(askAgain)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
}

// askAgain is how long a client that waited leaves a reflector alone that went away: it may be restarting.
const askAgain = time.Second

// lineError is an error of the connection, as opposed to an answer.
type lineError struct {
	error
	waited bool // the client has been in the queue
}

// Unwrap gives errors.Is and errors.As what is inside.
func (e lineError) Unwrap() error { return e.error }

func (w *wait) lost(format string, args ...any) error {
	return lineError{fmt.Errorf(format, args...), !w.since.IsZero()}
}

// isUnreached says that no answer at all has come, and why is a matter of the connection.
func isUnreached(err error) bool {
	e, ok := errors.AsType[lineError](err)
	return ok && !e.waited
}

// isInterrupted says that the connection broke after answers had come.
func isInterrupted(err error) bool {
	e, ok := errors.AsType[lineError](err)
	return ok && e.waited
}

// wait is the way to a lease, over one connection or several.
type wait struct {
	*Request
	ask      Ask
	since    time.Time // of the first answer; zero before
	position int       // the last one told
}

// attempt asks once, on a connection of its own.
func (w *wait) attempt(ctx context.Context) (*Lease, error) {
	dialing, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	c, err := w.Net.Dial(dialing, "tcp", w.Address)
	if err != nil {
		return nil, w.lost("connecting to %s: %w", w.Address, err)
	}
	l := &Lease{line: newLine(c), released: make(chan struct{})}
	l.ctx, l.lose = context.WithCancelCause(context.Background())
	if err := writeMessage(c, farend.PreambleLease, message{Ask: &w.ask}); err != nil {
		l.Release()
		return nil, w.lost("asking %s for a lease: %w", w.Address, err)
	}
	l.reader.Go(l.read)
	if err := w.await(ctx, l); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// await waits for the answers on one connection until the lease is granted.
func (w *wait) await(ctx context.Context, l *Lease) error {
	patience := time.NewTimer(time.Hour)
	defer patience.Stop()
	w.resume(patience)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return w.tooLong()
		case <-l.silence.C:
			return w.lost("asking %s for a lease: %w", w.Address, probes.Fail(probes.Timeout, "no answer within %v", l.ttl))
		case <-l.beat.C:
			l.alive()
		case m, ok := <-l.in:
			if !ok {
				return w.broken(l)
			}
			if granted, err := w.answer(l, m); granted || err != nil {
				return err
			}
			w.resume(patience)
		}
	}
}

// resume sets the time at which waiting is enough, once it has begun.
func (w *wait) resume(patience *time.Timer) {
	if !w.since.IsZero() {
		patience.Reset(w.Wait - time.Since(w.since))
	}
}

// answer takes in one message.
func (w *wait) answer(l *Lease, m message) (granted bool, err error) {
	switch {
	case m.Refused != nil:
		return false, m.Refused.failure()
	case m.Ended != nil:
		return false, w.lost("waiting for a lease: %w", m.Ended.failure())
	case m.Alive != nil:
		l.heard()
		return false, nil
	case m.Ask != nil:
		return false, probes.Fail(probes.Invalid, "%s answers the request for a lease with something else", w.Address)
	}
	now := time.Now()
	if w.since.IsZero() {
		w.since = now
	}
	if m.Granted != nil {
		l.ID, l.Waited = m.Granted.ID, now.Sub(w.since)
		l.start(m.Granted.TTL)
		return true, nil
	}
	l.start(m.Queued.TTL)
	w.position = m.Queued.Position
	if w.Wait == 0 {
		return false, w.tooLong()
	}
	if w.Told != nil {
		w.Told(w.position)
	}
	return false, nil
}

func (w *wait) tooLong() error {
	site := w.ask.Site
	if site == "" {
		site = "this address"
	}
	return probes.Fail(probes.Busy, "other load tests of %s, or of other sites, are running at the far end: still at position %d of its queue after %v (lease_wait)", site, w.position, w.Wait)
}

// broken explains why the connection ended without a lease.
func (w *wait) broken(l *Lease) error {
	switch {
	case errors.Is(l.err, errFrame):
		return probes.Fail(probes.Invalid, "asking %s for a lease: %w", w.Address, l.err)
	case w.since.IsZero():
		return fmt.Errorf("%w: %s closed the connection unanswered: %w", ErrNone, w.Address, l.err)
	default:
		return w.lost("waiting for a lease: %w", probes.Fail(probes.Error, "%s closed the connection: %w", w.Address, l.err))
	}
}

// failure is what a refusal means here. An outcome that is none of ours is a refusal all the same.
func (r *refusal) failure() error {
	for _, known := range probes.Outcomes() {
		if string(known) == r.Outcome && known != probes.OK && known != probes.Canceled {
			return probes.Fail(known, "the far end says: %s", r.Text)
		}
	}
	return probes.Fail(probes.Refused, "the far end says: %s", r.Text)
}

// keep gives signs of life until the lease is released or lost.
func (l *Lease) keep() {
	for {
		select {
		case <-l.released:
			return
		case <-l.silence.C:
			l.lose(probes.Fail(probes.Timeout, "the lease is lost: nothing has been heard of the far end for %v", l.ttl))
			return
		case <-l.beat.C:
			l.alive()
		case m, ok := <-l.in:
			switch {
			case !ok:
				l.lose(probes.Fail(probes.Error, "the lease is lost: the far end closed its connection: %w", l.err))
				return
			case m.Ended != nil:
				l.lose(m.Ended.failure())
				return
			}
			l.heard()
		}
	}
}

// Lost ends when the reflector has taken the lease back, or is not heard of any more; context.Cause says which. Load is to
// stop at once then.
func (l *Lease) Lost() context.Context { return l.ctx }

// Release gives the lease back and returns when nothing of it is left.
func (l *Lease) Release() {
	l.release.Do(func() { close(l.released) })
	l.close()
	l.keeper.Wait()
	l.lose(nil)
}

// line is the connection of a lease and its clocks.
type line struct {
	conn    net.Conn
	ttl     time.Duration
	silence *time.Timer // fires when nothing has come for ttl
	beat    *time.Timer // fires when a sign of life is due
	in      chan message
	err     error // why in was closed
	quit    chan struct{}
	closing sync.Once
	reader  sync.WaitGroup
}

func newLine(c net.Conn) line {
	beat := time.NewTimer(time.Hour)
	beat.Stop() // nothing is due before the first answer
	return line{conn: c, ttl: answerLimit, silence: time.NewTimer(answerLimit), beat: beat, in: make(chan message), quit: make(chan struct{})}
}

// read hands over what comes, until the connection ends.
func (l *line) read() {
	defer close(l.in)
	for {
		m, err := readMessage(l.conn)
		if err != nil {
			l.err = err
			return
		}
		select {
		case l.in <- m:
		case <-l.quit:
			return
		}
	}
}

// start sets the clocks to what the reflector says.
func (l *line) start(ttl time.Duration) {
	l.ttl = ttl
	l.heard()
	l.beat.Reset(ttl / beats)
}

// beats is how many signs of life there are within ttl: some may be late, because the test fills the queue they stand in.
const beats = 5

func (l *line) heard() { l.silence.Reset(l.ttl) }

// alive gives a sign of life. That a connection is broken is noticed by its reader.
func (l *line) alive() {
	l.beat.Reset(l.ttl / beats)
	_ = l.conn.SetWriteDeadline(time.Now().Add(l.ttl))
	_ = writeMessage(l.conn, "", message{Alive: &struct{}{}})
}

func (l *line) close() {
	l.closing.Do(func() {
		close(l.quit)
		_ = l.conn.Close() // it says all there is to say
		l.silence.Stop()
		l.beat.Stop()
	})
	l.reader.Wait()
}
