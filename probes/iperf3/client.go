package iperf3

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// probe is the client.
type probe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// run is one run of a probe.
type run struct {
	*probe
	rec     *probes.Recorder
	params  params
	cookie  cookie
	address string
	control net.Conn

	// flowing ends with the transfer, receiving with the exchange of results, so that what is still under way at the end is
	// seen. fail ends both with a reason.
	flowing, receiving context.Context
	fail               context.CancelCauseFunc

	up, down []*leg
	traffic  *traffic
	start    time.Time     // when what counts begins
	elapsed  time.Duration // from start to the end
	received []int64       // bytes of each of down at the end
	rtts     []time.Duration
	next     chan answer
	wait     sync.WaitGroup
}

var errEnded = errors.New("the test is over")

// Measure implements probes.Probe.
// Liveness: it waits for every stream and for the reader of the control connection; all of them end when their
// connection's deadline passes, which the end of ctx, the end of the test and every error bring about.
func (p *probe) Measure(ctx context.Context, rec *probes.Recorder) error {
	r := &run{probe: p, rec: rec, params: p.config.params(), cookie: newCookie(), next: make(chan answer, 1)}
	r.traffic = newTraffic(&r.params, p.config.sendLimit(), p.env.Rand.Uint64())
	flowing, stopFlows := context.WithCancelCause(ctx)
	receiving, stopReceiving := context.WithCancel(ctx)
	defer r.close()
	defer stopReceiving()
	defer stopFlows(errEnded)
	if err := r.connect(ctx); err != nil {
		return err
	}
	defer load.Interruptible(ctx, r.control)()
	r.flowing, r.receiving, r.fail = flowing, receiving, stopFlows
	if err := r.handshake(flowing); err != nil {
		return err
	}
	r.begin()
	why, err := r.watch(flowing)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what the end of ctx interrupts may fail before flowing has heard of it
	}
	r.take()
	stopFlows(errEnded)
	var theirs *results
	if err == nil {
		theirs, err = r.finish(ctx)
	}
	stopReceiving()
	r.closeControl()
	r.wait.Wait()
	r.publish(why, theirs)
	return err
}

// connect opens the control connection and shows the cookie.
func (r *run) connect(ctx context.Context) error {
	addresses, err := r.env.Net.Resolve(ctx, r.target.Host)
	if err != nil {
		return fmt.Errorf("resolving %s: %w", r.target.Host, err)
	}
	target := r.target
	target.Host = addresses[0].String()
	r.address = target.Address()
	begun := time.Now()
	if r.control, err = r.dial(ctx, "tcp"); err != nil {
		return err
	}
	r.rec.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(begun))
	return r.broken(ctx, "beginning a test", writeAll(r.control, r.cookie[:]))
}

func writeAll(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

func (r *run) dial(ctx context.Context, network string) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	c, err := r.env.Net.Dial(dialing, network, r.address)
	if err != nil {
		return nil, r.broken(ctx, "connecting", err)
	}
	return c, nil
}

// broken explains an error of the network; nil stays nil.
func (r *run) broken(ctx context.Context, doing string, err error) error {
	_, isFailure := errors.AsType[*probes.Failure](err)
	switch {
	case err == nil || isFailure:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errProtocol):
		return probes.Fail(probes.Invalid, "%s at %s: %w", doing, r.address, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return probes.Fail(probes.Refused, "%s at %s: it closed the connection (is it an iperf3 server?)", doing, r.address)
	default:
		return fmt.Errorf("%s at %s: %w", doing, r.address, err)
	}
}

// handshake follows the server's states until data may flow.
func (r *run) handshake(ctx context.Context) error {
	for {
		if err := r.control.SetReadDeadline(time.Now().Add(stepLimit)); err != nil || ctx.Err() != nil {
			return r.broken(ctx, "preparing the test", errors.Join(err, context.Cause(ctx)))
		}
		s, err := readState(r.control)
		if err != nil {
			return r.broken(ctx, "preparing the test", err)
		}
		switch s {
		case paramExchange:
			err = writeJSON(r.control, r.params)
		case createStreams:
			err = r.open(ctx)
		case testStart:
		case testRunning:
			return r.control.SetReadDeadline(time.Time{})
		default:
			err = r.unexpected(s)
		}
		if err != nil {
			return r.broken(ctx, "preparing the test", err)
		}
	}
}

// unexpected explains a state that ends the test.
func (r *run) unexpected(s state) error {
	switch s {
	case accessDenied:
		return probes.Fail(probes.Busy, "the iperf3 server at %s is busy with another test", r.address)
	case serverTerminate:
		return probes.Fail(probes.Error, "the iperf3 server at %s shuts down", r.address)
	case serverError:
		var numbers [8]byte
		if err := r.control.SetReadDeadline(time.Now().Add(stepLimit)); err != nil {
			return err
		}
		if _, err := io.ReadFull(r.control, numbers[:]); err != nil {
			return probes.Fail(probes.Refused, "the iperf3 server at %s reports an error and does not say which: %w", r.address, err)
		}
		return probes.Fail(probes.Refused, "the iperf3 server at %s reports iperf3's error %d, system error %d", r.address,
			int32(binary.BigEndian.Uint32(numbers[:])), int32(binary.BigEndian.Uint32(numbers[4:])))
	default:
		return probes.Fail(probes.Invalid, "state %d from %s is out of turn", s, r.address)
	}
}

// begin sets the sending streams going. The others have received since they were opened, because the server may be ahead;
// what came until now does not count.
func (r *run) begin() {
	r.start = time.Now().Add(r.config.Omit)
	begun := time.Now()
	for _, l := range r.up {
		r.move(r.flowing, l)
	}
	for _, l := range r.down {
		l.omit()
	}
	r.wait.Go(func() {
		s, err := readState(r.control)
		switch {
		case r.flowing.Err() != nil:
		case err != nil:
			r.fail(probes.Fail(probes.Error, "%s closed the test %v after the start: %w", r.address, time.Since(begun).Round(time.Millisecond), err))
		default:
			r.fail(r.unexpected(s))
		}
		r.next <- answer{s, err}
	})
}

// move has a stream send or receive until ctx ends.
func (r *run) move(ctx context.Context, l *leg) {
	opened := time.Now()
	r.wait.Go(func() {
		if err := l.run(ctx, r.traffic); err != nil {
			r.fail(probes.Fail(probes.Error, "a stream to %s broke %v after the start: %w", r.address, time.Since(opened).Round(time.Millisecond), err))
		}
	})
}

// answer is the server's state that ends the transfer, or why there is none.
type answer struct {
	state state
	err   error
}
