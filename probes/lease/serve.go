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

// answerLimit is how long either end may take to say its first word: a radio link's worst wake-up passes.
const answerLimit = 5 * time.Second

// lastWord is how long the end of a lease waits for the message that tells of it.
const lastWord = 100 * time.Millisecond

// FarEnd grants leases out of the book.
func (b *Book) FarEnd() farend.Service {
	return farend.Service{
		Name:    "lease",
		Streams: map[string]func(context.Context, net.Conn) error{farend.PreambleLease: b.serve},
	}
}

// serve answers one client behind its preamble: it lets it wait, grants it a lease and takes that back.
// Liveness: the reader of c ends when its deadline passes, which is set before it is waited for.
func (b *Book) serve(ctx context.Context, c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	m, err := readMessage(c)
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	switch {
	case err != nil:
		return fmt.Errorf("waiting for a request: %w", err)
	case m.Ask == nil:
		return fmt.Errorf("%w: the first message asks for nothing", errFrame)
	}
	e, no := b.enter(addrOf(c.RemoteAddr().String()), *m.Ask)
	if no != nil {
		return writeMessage(c, "", message{Refused: no})
	}
	a := &attendant{conn: c, entry: e, ttl: b.config.TTL, heard: make(chan struct{}, 1), gone: make(chan error, 1)}
	var reader sync.WaitGroup
	reader.Go(a.read)
	err = a.attend(ctx)
	leave := sync.OnceFunc(func() { b.leave(e, err) })
	if f, ok := errors.AsType[*probes.Failure](err); ok {
		// A last word ahead of the end of the sessions, so that the client knows why; when it does not get through, that says
		// enough.
		defer time.AfterFunc(lastWord, leave).Stop()
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_ = writeMessage(c, "", message{Ended: &refusal{Outcome: string(f.Outcome), Text: f.Error()}})
	}
	leave()
	_ = c.SetDeadline(time.Unix(1, 0)) // it fails on a closed connection only, on which the reader ends as well
	reader.Wait()
	return err
}

// attendant looks after one client.
type attendant struct {
	*entry
	conn  net.Conn
	ttl   time.Duration
	heard chan struct{} // holds a token when the client has given a sign of life
	gone  chan error    // why there is nothing more to read; nil when the client closed the connection
}

// read takes in signs of life until the connection ends.
func (a *attendant) read() {
	for {
		m, err := readMessage(a.conn)
		switch {
		case errors.Is(err, errFrame):
			a.gone <- err
			return
		case err != nil:
			a.gone <- nil
			return
		case m.Alive == nil:
			a.gone <- fmt.Errorf("%w: a message out of turn", errFrame)
			return
		}
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
}

// attend tells the client where it stands until its lease is over, and returns why: nil when the client gave it back or left.
func (a *attendant) attend(ctx context.Context) error {
	silent := time.NewTimer(a.ttl)
	defer silent.Stop()
	over := time.NewTimer(0)
	over.Stop()
	defer over.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return probes.Fail(probes.Error, "the reflector is shutting down")
		case err := <-a.gone:
			return err
		case <-silent.C:
			return probes.Fail(probes.Timeout, "nothing has been heard of the holder of the lease for %v", a.ttl)
		case <-over.C:
			return probes.Fail(probes.Timeout, "the lease was for %v, which are over", a.ask.Duration)
		case <-a.heard:
			silent.Reset(a.ttl)
			err = a.say(message{Alive: &struct{}{}})
		case m := <-a.news:
			if m.Granted != nil {
				over.Reset(m.Granted.Duration)
			}
			err = a.say(m)
		}
		if err != nil {
			return nil // the connection is broken: the client has left
		}
	}
}

func (a *attendant) say(m message) error {
	if err := a.conn.SetWriteDeadline(time.Now().Add(a.ttl)); err != nil {
		return err
	}
	return writeMessage(a.conn, "", m)
}
