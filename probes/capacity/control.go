package capacity

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// writeLimit is how long a control message may wait for room: there are few, and a peer that takes none is gone.
const writeLimit = time.Second

// control is one end of the control connection. say is safe for concurrent use.
type control struct {
	conn net.Conn
	in   chan message // closed when nothing more comes

	mu sync.Mutex
}

func newControl(c net.Conn) *control { return &control{conn: c, in: make(chan message, 8)} }

// say writes a message.
func (c *control) say(m message) error {
	frame, err := frames.Append(nil, m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	_, err = c.conn.Write(frame)
	return err
}

// read hands on what comes until ctx ends or the connection does, and then ends the session with the reason.
// Liveness: it returns once ctx ends, which interrupts reading and handing on alike.
func (c *control) read(ctx context.Context, end context.CancelCauseFunc) {
	defer close(c.in) // behind the reason for it
	defer load.Interruptible(ctx, c.conn)()
	for {
		m, err := readMessage(c.conn)
		if err != nil {
			end(c.broken(err))
			return
		}
		select {
		case c.in <- m:
		case <-ctx.Done():
			return
		}
	}
}

// broken explains why nothing more comes.
func (c *control) broken(err error) error {
	if errors.Is(err, errFrame) {
		return probes.Fail(probes.Invalid, "reading from %s: %w", c.conn.RemoteAddr(), err)
	}
	return probes.Fail(probes.Error, "%s closed the session: %w", c.conn.RemoteAddr(), err)
}

// receive waits for a message; ok is false when none comes any more or ctx has ended. What was said before the end comes
// before it.
func (c *control) receive(ctx context.Context) (m message, ok bool) {
	select {
	case m, ok = <-c.in:
		return m, ok
	case <-ctx.Done():
	}
	select {
	case m, ok = <-c.in:
		return m, ok
	default:
		return m, false
	}
}

// next waits for a message, and no longer than patience.
func (c *control) next(ctx context.Context) (message, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, patience, probes.Fail(probes.Timeout, "%s has sent nothing for %v", c.conn.RemoteAddr(), patience))
	defer cancel()
	m, ok := c.receive(waiting)
	if !ok {
		<-waiting.Done() // the reader ends the session behind its last message
		return m, context.Cause(waiting)
	}
	return m, m.refusal()
}

// goodbye waits until the other end, which has been told the last word, closes the connection: closing it first could
// overtake that word.
func (c *control) goodbye(ctx context.Context) {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-wait.C:
	}
}

// refusal is the error that a message stands for; nil for all but one.
func (m message) refusal() error {
	if m.Refused == nil {
		return nil
	}
	o := probes.Outcome(m.Refused.Outcome)
	for _, known := range probes.Outcomes() {
		if o == known && o != probes.OK {
			return probes.Fail(o, "the far end says: %s", m.Refused.Text)
		}
	}
	return probes.Fail(probes.Refused, "the far end says: %s", m.Refused.Text)
}

// outOfTurn is the error for a message that has no place here.
func (c *control) outOfTurn() error {
	return probes.Fail(probes.Invalid, "%s sent a message out of turn", c.conn.RemoteAddr())
}

// errOver ends what belongs to a session that is over.
var errOver = errors.New("the session is over")
