package throughput

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// control owns a session, from the request for it to its last report. prepare is
// called before the client is told.
// Liveness: it waits for its reader, which ends when the deadline of c passes; that happens when the session ends because
// the client says so, leaves, stands still, or has had its time, and when ctx ends.
func (s *server) control(ctx context.Context, c controlConn, o open, prepare func(*session)) error {
	ctx, release, err := s.limits.Leases.Bind(ctx, o.Lease)
	if err != nil {
		return writeMessage(c, message{Refused: refusal(err)})
	}
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	id, sess, no := s.admit(ctx, cancel, o)
	if no != nil {
		return writeMessage(c, message{Refused: no})
	}
	defer s.dismiss(id)
	prepare(sess)
	if err := writeMessage(c, message{Accepted: &accepted{Session: id}}); err != nil {
		return fmt.Errorf("granting a session: %w", err)
	}
	s.log.Debug("throughput session begins", "up", o.Up, "down", o.Down, "duration", o.Duration, "limit", o.Limit)
	var heard atomic.Int64
	var reader sync.WaitGroup
	reader.Go(func() { cancel(listen(c, &heard)) })
	err = sess.run(ctx, c, &heard)
	cancel(err)
	sess.out.Budget.Close()
	if no := refusal(err); no != nil {
		_ = c.SetDeadline(time.Now().Add(time.Second)) // a last word; when it does not get through, closing says enough
		_ = writeMessage(c, message{Refused: no})
	}
	_ = c.SetDeadline(load.Past()) // it fails on a closed connection only, on which the reader ends as well
	reader.Wait()
	s.log.Debug("throughput session ends", "why", err, "received", sess.received.Total(), "sent", sess.out.Sent.Total())
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// errStopped is how a session ends that the client ends.
var errStopped = errors.New("the client has ended the test")

// listen reads what the client says, counts it as signs of life, and returns why there is no more.
func listen(c controlConn, heard *atomic.Int64) error {
	for {
		m, err := readMessage(c)
		switch {
		case err != nil:
			return fmt.Errorf("listening to the client: %w", err)
		case m.Stop != nil:
			return errStopped
		case m.Alive == nil:
			return fmt.Errorf("%w: a message out of turn", errFrame)
		}
		heard.Add(1)
	}
}

// run waits for the streams, reports while they flow, and sends the last report.
func (s *session) run(ctx context.Context, c controlConn, heard *atomic.Int64) error {
	patience := time.NewTimer(idleLimit)
	defer patience.Stop()
	select {
	case <-s.ready:
	case <-patience.C:
		return probes.Fail(probes.Timeout, "the streams were not there within %v", idleLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.begun = time.Now()
	if err := writeMessage(c, message{Start: &start{Clock: s.begun.Sub(s.epoch)}}); err != nil {
		return fmt.Errorf("starting the test: %w", err)
	}
	close(s.started)
	stateDue := time.Now()
	why := s.watch(ctx, heard, func() error {
		if err := c.SetWriteDeadline(time.Now().Add(idleLimit)); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		withState := !time.Now().Before(stateDue)
		if withState {
			stateDue = time.Now().Add(stateInterval)
		}
		if err := writeMessage(c, message{Report: s.report(withState, false)}); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		return nil
	})
	if !errors.Is(why, errStopped) {
		return why
	}
	if err := c.SetWriteDeadline(time.Now().Add(idleLimit)); err != nil {
		return fmt.Errorf("sending the last report: %w", err)
	}
	if err := writeMessage(c, message{Report: s.report(true, true)}); err != nil {
		return fmt.Errorf("sending the last report: %w", err)
	}
	return errStopped
}

// stateInterval is how often the far end says what its transport does, 350 bytes a time: on a link of 1 Mbit/s, doing so each
// interval of 100 ms would take 3 % of what is measured. Sessions that only go down have no other reports.
const stateInterval = time.Second

// watch has a report made each interval, and at once when all that was agreed on is in; it returns why the session is over.
func (s *session) watch(ctx context.Context, heard *atomic.Int64, report func() error) error {
	interval := s.open.Interval
	if s.open.Up == 0 {
		interval = stateInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	end := time.NewTimer(s.open.Duration + 2*idleLimit) // the client ends it after Duration; this is for one that does not
	defer end.Stop()
	full := s.received.Full()
	life, livedAt := int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return probes.Fail(probes.Timeout, "the test was to end after %v and has not", s.open.Duration)
		case <-full:
			full = nil
		case <-tick.C:
		}
		s.in.Sweep()
		// What was sent is no sign of life: the kernel takes megabytes for a peer that has gone.
		if now := heard.Load() + s.received.Total(); now != life {
			life, livedAt = now, time.Now()
		} else if time.Since(livedAt) >= idleLimit {
			return probes.Fail(probes.Timeout, "nothing has been heard for %v", idleLimit)
		}
		if s.received.Total() > s.open.Limit {
			return probes.Fail(probes.Refused, "more than the %d bytes came that were agreed on", s.open.Limit)
		}
		if err := report(); err != nil {
			return err
		}
	}
}

// refusal is what is left to say to the client of a session that the far end ends; nil when the client has gone.
func refusal(err error) *refused {
	if f, ok := errors.AsType[*probes.Failure](err); ok {
		return &refused{Outcome: string(f.Outcome), Text: f.Error()}
	}
	return nil
}
