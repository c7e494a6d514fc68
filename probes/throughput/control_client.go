package throughput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/load"
)

// controlConn is what control messages travel on: a TCP connection or a QUIC stream.
type controlConn interface {
	io.ReadWriter
	SetDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// controlClient is the client's end of a control connection.
type controlClient struct {
	conn    controlConn
	address string                               // of the far end, for errors
	fail    context.CancelCauseFunc              // ends the test, with the reason
	report  func(clock time.Duration, r *report) // takes in what the far end counted; called by read only

	started chan struct{} // closed when the far end says start
	begun   time.Time     // when it did; valid once started is closed
	heard   chan struct{} // closed when nothing more comes
	final   bool          // whether the last report is in; valid once heard is closed
	spoken  time.Time     // when something was last written
}

func newControlClient(address string, fail context.CancelCauseFunc) *controlClient {
	return &controlClient{address: address, fail: fail, started: make(chan struct{}), heard: make(chan struct{})}
}

// open asks for a session and returns its id.
func (c *controlClient) open(ctx context.Context, o open) (session string, err error) {
	defer load.Interruptible(ctx, c.conn)()
	_ = c.conn.SetDeadline(time.Now().Add(idleLimit)) // it fails on a closed connection only, as reading will
	o.Lease = lease.ID(ctx)
	if err := c.say(message{Open: &o}); err != nil {
		return "", c.broken(ctx, "asking for a session", err)
	}
	m, err := readMessage(c.conn)
	switch {
	case err != nil:
		return "", c.broken(ctx, "asking for a session", err)
	case m.Refused != nil:
		return "", m.Refused.failure()
	case m.Accepted == nil:
		return "", probes.Fail(probes.Invalid, "%s answers the request for a session with something else", c.address)
	}
	return m.Accepted.Session, c.conn.SetDeadline(time.Time{})
}

// broken explains an error on the way to a session.
func (c *controlClient) broken(ctx context.Context, doing string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errFrame):
		return probes.Fail(probes.Invalid, "%s at %s: %w", doing, c.address, err)
	case probes.Classify(err) == probes.Timeout:
		return probes.Fail(probes.Timeout, "%s at %s: no answer within %v", doing, c.address, idleLimit)
	default:
		return probes.Fail(probes.Refused, "%s at %s: it closed the connection (is it an nrprobe reflector?): %w", doing, c.address, err)
	}
}

func (r *refused) failure() error {
	o := probes.Outcome(r.Outcome)
	for _, known := range probes.Outcomes() {
		if o == known && o != probes.OK {
			return probes.Fail(o, "the far end says: %s", r.Text)
		}
	}
	return probes.Fail(probes.Refused, "the far end says: %s", r.Text)
}

// read takes in what the far end says, until ctx ends or the connection does.
func (c *controlClient) read(ctx context.Context) {
	defer close(c.heard)
	defer load.Interruptible(ctx, c.conn)()
	clock := time.Duration(0)
	for {
		m, err := readMessage(c.conn)
		switch {
		case err != nil:
			c.lost(ctx, err)
			return
		case m.Refused != nil:
			c.fail(m.Refused.failure())
			return
		case m.Start != nil && c.begun.IsZero():
			clock, c.begun = m.Start.Clock, time.Now()
			close(c.started)
		case m.Report != nil && !c.begun.IsZero():
			c.report(clock, m.Report)
			if m.Report.Final {
				c.final = true
				return
			}
		default:
			c.fail(probes.Fail(probes.Invalid, "%s sent a message out of turn", c.address))
			return
		}
	}
}

func (c *controlClient) lost(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errFrame):
		c.fail(probes.Fail(probes.Invalid, "reading from %s: %w", c.address, err))
	case c.begun.IsZero():
		c.fail(probes.Fail(probes.Error, "%s closed the session before it began: %w", c.address, err))
	default:
		c.fail(probes.Fail(probes.Error, "%s closed the session %v after the start: %w", c.address, time.Since(c.begun).Round(time.Millisecond), err))
	}
}

// waitStart blocks until the far end says start.
func (c *controlClient) waitStart(ctx context.Context) error {
	patience := time.NewTimer(idleLimit)
	defer patience.Stop()
	select {
	case <-c.started:
		return nil
	case <-patience.C:
		return probes.Fail(probes.Timeout, "%s has not started the test within %v", c.address, idleLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// say writes a message. Only the goroutine of Measure does.
func (c *controlClient) say(m message) error {
	c.spoken = time.Now()
	return writeMessage(c.conn, m)
}

// keepAlive says that the client is there when it has said nothing for aliveInterval.
func (c *controlClient) keepAlive() {
	if time.Since(c.spoken) >= aliveInterval {
		_ = c.say(message{Alive: &struct{}{}}) // a broken connection is noticed by its reader
	}
}

// finish ends the session in order and waits for the far end's last report.
func (c *controlClient) finish(ctx context.Context) error {
	saidErr := c.say(message{Stop: &struct{}{}})
	patience := time.NewTimer(idleLimit)
	defer patience.Stop()
	select {
	case <-c.heard:
		if c.final {
			return nil
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
	}
	return errors.Join(probes.Fail(probes.Timeout, "%s has not sent its last count within %v: the upload is known up to the report before", c.address, idleLimit), saidErr)
}

// request is what Config asks of a far end for one connection.
func (c *Config) request(limit int64) open {
	o := open{Version: protocolVersion, Duration: c.Duration, Interval: c.Interval, Limit: limit, CongestionControl: c.CongestionControl}
	for _, way := range c.ways() {
		if way == probes.Up {
			o.Up = c.Streams
		} else {
			o.Down = c.Streams
		}
	}
	return o
}

// resolve finds the address that a run is against. One is tried: a probe that fell back to another would hide that the
// first does not work.
func resolve(ctx context.Context, env probes.Env, target probes.Target) (probes.Target, error) {
	addresses, err := env.Net.Resolve(ctx, target.Host)
	if err != nil {
		return target, fmt.Errorf("resolving %s: %w", target.Host, err)
	}
	target.Host = addresses[0].String()
	return target, nil
}
