package capacity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/load"
)

// helloEvery is how often the client asks until it is answered.
const helloEvery = 2 * feedbackInterval

// prober is the client.
type prober struct {
	config Config
	env    probes.Env
	target probes.Target
}

// run is one run of a prober.
type run struct {
	*prober
	rec     *probes.Recorder
	address netip.AddrPort // of the far end's control port
	control *control
	link
	sent  *done   // nil while the sender has not said
	count *report // nil before the receiver has counted anything
}

// Measure implements probes.Probe.
// Liveness: the reader of the control connection ends with the run's context, and is waited for.
func (p *prober) Measure(ctx context.Context, rec *probes.Recorder) error {
	r := &run{prober: p, rec: rec}
	if err := r.dial(ctx); err != nil {
		return err
	}
	defer func() { _ = r.control.conn.Close() }() // tells the far end; what counts has been said
	inside, end := context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer end(errOver)
	reading.Go(func() { r.control.read(inside, end) })
	defer r.publish()
	if err := r.open(inside); err != nil {
		return r.explain(ctx, err)
	}
	defer func() { _ = r.socket.Close() }() // nobody has anything to lose in it
	if err := r.meet(inside); err != nil {
		return r.explain(ctx, err)
	}
	around := load.Surround(r.control.conn)
	around.Begin()
	measure := r.receive
	if r.plan.Up {
		measure = r.send
	}
	err := measure(inside)
	around.Judge(r.own(), rec)
	return r.explain(ctx, err)
}

// explain prefers the end of the caller's context to what followed from it.
func (r *run) explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// dial opens the control connection. One address is tried: another would hide that the first does not work.
func (r *run) dial(ctx context.Context) error {
	addresses, err := r.env.Net.Resolve(ctx, r.target.Host)
	if err != nil {
		return fmt.Errorf("resolving %s: %w", r.target.Host, err)
	}
	r.address = netip.AddrPortFrom(addresses[0], r.target.Port)
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	c, err := r.env.Net.Dial(dialing, "tcp", r.address.String())
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("connecting to %s: %w", r.address, err)
	}
	r.rec.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(begun))
	if _, err := c.Write([]byte(Preamble)); err != nil {
		return errors.Join(fmt.Errorf("connecting to %s: %w", r.address, err), c.Close())
	}
	r.control = newControl(c)
	return nil
}

// open asks for a session and opens the socket for it.
func (r *run) open(ctx context.Context) error {
	r.plan = r.config.plan()
	r.plan.Lease = lease.ID(ctx)
	if err := r.control.say(message{Open: &r.plan}); err != nil {
		return err
	}
	m, err := r.control.next(ctx)
	if err != nil {
		return err
	}
	if m.Accepted == nil {
		return r.control.outOfTurn()
	}
	r.token = m.Accepted.Token
	if limit := m.Accepted.MaxRate; limit > 0 && (r.plan.MaxRate == 0 || limit < r.plan.MaxRate) {
		r.plan.MaxRate = limit
	}
	network := "udp4"
	if r.address.Addr().Is6() && !r.address.Addr().Is4In6() {
		network = "udp6"
	}
	pc, err := r.env.Net.ListenPacket(ctx, network, "")
	if err != nil {
		return fmt.Errorf("opening a UDP socket: %w", err)
	}
	if r.socket, err = newSocket(pc); err != nil {
		return errors.Join(err, pc.Close())
	}
	r.socket.connect(netip.AddrPortFrom(r.address.Addr().Unmap(), m.Accepted.Port))
	return nil
}

// meet proves the own address to the far end.
func (r *run) meet(ctx context.Context) error {
	packet := make([]byte, helloSize)
	putHeader(packet, helloPacket, r.token)
	b := make([]byte, receiveSize)
	var next time.Time
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(helloEvery)
			if _, err := r.socket.WriteToUDPAddrPort(packet, r.socket.peer); err != nil {
				r.env.Log.Debug("sending to the far end's UDP port", "to", r.socket.peer.String(), "error", err)
			}
		}
		n, _, from, err := r.socket.read(b, time.Now().Add(feedbackInterval/5))
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		d, parseErr := parseDatagram(b[:n], r.token)
		if err == nil && parseErr == nil && from == r.socket.peer && d.kind == challengePacket && packet[4] == byte(helloPacket) {
			putHeader(packet, confirmPacket, r.token)
			copy(packet[headerSize:], d.rest[:tokenSize])
			next = time.Time{}
		}
		select {
		case m, ok := <-r.control.in:
			return r.started(ctx, m, ok)
		default:
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return probes.Fail(probes.Timeout, "UDP port %d of %s does not answer within %v: is UDP let through to it?", r.socket.peer.Port(), r.socket.peer.Addr(), patience)
}

// started says whether what came on the control connection is the word to begin.
func (r *run) started(ctx context.Context, m message, ok bool) error {
	switch {
	case !ok:
		return context.Cause(ctx)
	case m.Start != nil:
		return nil
	case m.Refused != nil:
		return m.refusal()
	}
	return r.control.outOfTurn()
}

// receive counts what the far end sends.
func (r *run) receive(ctx context.Context) error {
	receiver := newReceiver(r.link, r.progress)
	finished := make(chan done, 1)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		relayed := make(chan done, 1)
		r.control.relayDone(watching, relayed)
		select {
		case d := <-relayed:
			r.sent = &d
			finished <- d
		default:
		}
	})
	if err := r.control.say(message{Go: &struct{}{}}); err != nil {
		stop()
		watch.Wait()
		return err
	}
	reason, err := receiver.run(ctx, finished)
	stop()
	watch.Wait()
	r.progress(receiver.final(reason))
	if err != nil {
		return err
	}
	return r.verdict(reason)
}

// send sends and takes in what the far end counts.
func (r *run) send(ctx context.Context) error {
	listening, stop := context.WithCancel(ctx)
	var listen sync.WaitGroup
	heard := make(chan struct{})
	sending, ended := context.WithCancelCause(ctx)
	defer ended(errOver)
	listen.Go(func() {
		defer close(heard)
		r.listen(listening, ended)
	})
	sender := newSender(r.link, r.env.Rand.Uint64())
	d, err := sender.run(sending)
	if err == nil {
		err = r.control.say(message{Done: &d})
		r.patient(ctx, heard)
	}
	stop()
	listen.Wait()
	r.sent = &d
	switch {
	case r.count != nil && r.count.Final && sender.refusal != nil && r.count.Stop == byNoLoad:
		return fmt.Errorf("%w; the own kernel last refused to send: %w", r.verdict(byNoLoad), sender.refusal)
	case r.count != nil && r.count.Final:
		return r.verdict(r.count.Stop)
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return probes.Fail(probes.Timeout, "%s has not sent its last count within %v", r.address, patience)
}

// patient waits for the last report.
func (r *run) patient(ctx context.Context, heard <-chan struct{}) {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-heard:
	case <-ctx.Done():
	case <-wait.C:
	}
}

// listen takes in the far end's reports up to the final one, which ends sending when it comes early.
func (r *run) listen(ctx context.Context, ended context.CancelCauseFunc) {
	for {
		m, ok := r.control.receive(ctx)
		if !ok {
			return
		}
		if m.Report == nil {
			ended(cmp.Or(m.refusal(), r.control.outOfTurn()))
			return
		}
		r.progress(*m.Report)
		if m.Report.Final {
			ended(errOver)
			return
		}
	}
}

// verdict is the outcome of a test that ended for the reason.
func (r *run) verdict(reason string) error {
	switch {
	case reason == byNoLoad && r.count.Received == 0:
		return probes.Fail(probes.Timeout, "no load has arrived within %v of the start", startLimit)
	case reason == byNoLoad:
		return probes.Fail(probes.Timeout, "no load has arrived for %v, %v after the first", stopAfter, r.count.Elapsed.Round(time.Millisecond))
	case reason == byNoFeedback:
		return probes.Fail(probes.Timeout, "no feedback has arrived for %v, %v after the first load", stopAfter, r.count.Elapsed.Round(time.Millisecond))
	case r.count.Capacity == 0:
		return probes.Fail(probes.Timeout, "too little of the load has arrived to tell a capacity: %d datagrams", r.count.Received)
	}
	return nil
}
