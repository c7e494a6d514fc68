package throughput

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/load"
)

// tcpProbe is the client of TCP sessions.
type tcpProbe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// Measure implements probes.Probe.
// Liveness: it waits for the reader of the control connection and for every stream; all of them end when their
// connection's deadline passes, which the end of ctx, the end of the test and every error bring about.
func (p *tcpProbe) Measure(ctx context.Context, rec *probes.Recorder) error {
	flowing, stopFlows := context.WithCancelCause(ctx)
	controlled, stopControl := context.WithCancel(ctx)
	r := &tcpRun{env: p.env, target: p.target, measurement: newMeasurement(p.config, rec, stopFlows)}
	defer r.close()
	defer stopControl()
	defer stopFlows(errEnded)
	if err := r.connect(ctx); err != nil {
		return err
	}
	r.wait.Go(func() { r.control.read(controlled) })
	if err := r.begin(flowing); err != nil {
		return err
	}
	r.around.Begin()
	r.flow(flowing)
	why, err := r.watch(flowing)
	r.judge()
	stopFlows(errEnded)
	if err == nil {
		err = r.finish(ctx)
	}
	stopControl()
	r.wait.Wait()
	r.publish(why)
	return err
}

// tcpRun is one run of a tcpProbe.
type tcpRun struct {
	env    probes.Env
	target probes.Target
	*measurement

	conn    net.Conn // carries control
	control *controlClient
	session string
	streams []stream
	in      *load.Receiver // of what comes down; nil when nothing does
	wait    sync.WaitGroup
}

// stream is one data connection.
type stream struct {
	net.Conn
	up bool
}

// connect opens the control connection and asks for a session.
func (r *tcpRun) connect(ctx context.Context) error {
	target, err := resolve(ctx, r.env, r.target)
	if err != nil {
		return err
	}
	r.address = target.Address()
	if err := r.quiet(ctx, r.env); err != nil {
		return err
	}
	begun := time.Now()
	if r.conn, err = r.dial(ctx); err != nil {
		return err
	}
	r.rec.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(begun))
	r.control = newControlClient(r.address, r.fail)
	r.control.conn, r.control.report = r.conn, r.report
	r.session, err = r.control.open(ctx, r.config.request(r.config.target()))
	return err
}

// dial opens a connection and names the service.
func (r *tcpRun) dial(ctx context.Context) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, idleLimit)
	defer cancel()
	c, err := r.env.Net.Dial(dialing, "tcp", r.address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("connecting to %s: %w", r.address, err)
	}
	if _, err := c.Write([]byte(farend.PreambleGoodput)); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to %s: %w", r.address, err), c.Close())
	}
	return c, nil
}

// begin opens the data connections, all at once, and waits until the far end has them all.
func (r *tcpRun) begin(ctx context.Context) error {
	for _, m := range r.meters {
		for range r.config.Streams {
			r.streams = append(r.streams, stream{up: m.way == probes.Up})
		}
	}
	opening, opened := errgroup.WithContext(ctx)
	for i := range r.streams {
		opening.Go(func() error { return r.openStream(opened, &r.streams[i]) })
	}
	if err := opening.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if err := r.control.waitStart(ctx); err != nil {
		return err
	}
	r.start = r.control.begun
	return nil
}

// openStream opens one data connection and says what it is for.
func (r *tcpRun) openStream(ctx context.Context, s *stream) (err error) {
	if s.Conn, err = r.dial(ctx); err != nil {
		return err
	}
	if s.up && r.config.CongestionControl != "" {
		if err := load.UseCongestionControl(s.Conn, r.config.CongestionControl); err != nil {
			return probes.Fail(probes.Invalid, "%w", err)
		}
	}
	if err := writeMessage(s, message{Data: &data{Session: r.session, Up: s.up}}); err != nil {
		return r.control.broken(ctx, "opening a stream", err)
	}
	return nil
}

// close closes every connection after the streams have ended. Resources only: errors have been seen by whoever used them.
func (r *tcpRun) close() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	r.wait.Wait()
	for _, s := range r.streams {
		s.drop()
	}
}

// drop closes a stream, if it was opened, and throws away what is under way. An error of closing would tell nothing new.
func (s stream) drop() {
	if s.Conn != nil {
		load.Abort(s.Conn)
		_ = s.Close()
	}
}
