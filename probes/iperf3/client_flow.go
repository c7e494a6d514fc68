package iperf3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// open opens all streams, those that send first, one after the other: iperf3 knows them by their order.
func (r *run) open(ctx context.Context) error {
	up, down := r.params.streams()
	for i := range up + down {
		l := &leg{id: streamID(i), sends: i < up, bytes: load.NewCounter(0)}
		network := "tcp"
		if r.params.UDP {
			network = "udp"
			if !l.sends {
				l.tally = &tally{wide: r.traffic.wide}
			}
		}
		var err error
		if l.conn, err = r.dial(ctx, network); err != nil {
			return err
		}
		if l.sends {
			r.up = append(r.up, l)
		} else {
			r.down = append(r.down, l)
		}
		if r.params.UDP {
			err = r.hello(ctx, l)
		} else {
			err = r.introduce(l)
		}
		if err != nil {
			return err
		}
		if !l.sends {
			r.move(r.receiving, l)
		}
	}
	return nil
}

// introduce shows the cookie on a TCP stream.
func (r *run) introduce(l *leg) error {
	if l.sends && r.config.CongestionControl != "" {
		if err := load.UseCongestionControl(l.conn, r.config.CongestionControl); err != nil {
			return probes.Fail(probes.Invalid, "%w", err)
		}
	}
	if err := writeAll(l.conn, r.cookie[:]); err != nil {
		return fmt.Errorf("opening a stream: %w", err)
	}
	return nil
}

// helloInterval is how long to wait before saying hello again on a UDP stream: longer than most round trips, and often
// enough within stepLimit to survive some losses. iperf3 itself says it once.
const helloInterval = time.Second

// hello says hello on a UDP stream until the server answers.
func (r *run) hello(ctx context.Context, l *leg) error {
	defer load.Interruptible(ctx, l.conn)()
	b := make([]byte, maxDatagram)
	for range int(stepLimit / helloInterval) {
		if err := writeAll(l.conn, []byte(clientHello)); err != nil {
			return fmt.Errorf("opening a UDP stream: %w", err)
		}
		if err := l.conn.SetReadDeadline(time.Now().Add(helloInterval)); err != nil {
			return fmt.Errorf("opening a UDP stream: %w", err)
		}
		for {
			n, err := l.conn.Read(b)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err == nil && isServerHello(b[:n]):
				return l.conn.SetReadDeadline(time.Time{})
			case err == nil && l.tally != nil && n >= headerSize(r.traffic.wide):
				l.tally.arrive(b[:n], r.traffic.clock()) // data is an answer as well: the other one was lost
				return l.conn.SetReadDeadline(time.Time{})
			case err == nil:
				continue
			case probes.Classify(err) != probes.Timeout:
				return fmt.Errorf("opening a UDP stream: %w", err)
			}
			break
		}
	}
	return probes.Fail(probes.Timeout, "%s does not answer on UDP", r.address)
}

// progressInterval is how often progress is shown and the end is looked for.
const progressInterval = 100 * time.Millisecond

// limitInterval is how often max_bytes is looked at: at 1 Gbit/s 1.25 MB pass meanwhile, less than is on its way.
const limitInterval = 10 * time.Millisecond

// watch blocks while data flows, and says why it is enough.
func (r *run) watch(ctx context.Context) (why string, err error) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	var counts <-chan time.Time
	if r.config.Omit > 0 { // a timer of no time comes late on a busy host, and would leave out what has flowed by then
		begins := time.NewTimer(time.Until(r.start))
		defer begins.Stop()
		counts = begins.C
	}
	end := time.NewTimer(time.Until(r.start) + r.config.Duration)
	defer end.Stop()
	var spent <-chan time.Time
	if r.config.MaxBytes > 0 {
		look := time.NewTicker(limitInterval)
		defer look.Stop()
		spent = look.C
	}
	moved, movedAt := int64(0), time.Now()
	for {
		select {
		case <-spent:
			if r.moved(r.up)+r.moved(r.down) >= int64(r.config.MaxBytes) {
				return "max_bytes", nil
			}
			continue
		case <-counts:
			for _, l := range append(append([]*leg(nil), r.up...), r.down...) {
				l.omit()
			}
		case <-end.C:
			return "duration", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-tick.C:
		}
		r.show()
		if v := int64(r.config.Volume); v > 0 && r.all(func(legs []*leg) bool { return r.moved(legs) >= v }) {
			return "volume", nil
		}
		switch now := r.moved(r.up) + r.moved(r.down); {
		case now > moved:
			moved, movedAt = now, time.Now()
		case time.Since(movedAt) >= stepLimit:
			return "", probes.Fail(probes.Timeout, "nothing has moved for %v", stepLimit)
		}
	}
}

// all asks of each direction that is measured.
func (r *run) all(yes func([]*leg) bool) bool {
	return (len(r.up) == 0 || yes(r.up)) && (len(r.down) == 0 || yes(r.down))
}

// moved is how many bytes have passed on some legs in all, as far as it is known here: a sender's kernel knows what has
// arrived, where it tells, and what it took otherwise.
func (r *run) moved(legs []*leg) (n int64) {
	for _, l := range legs {
		if state, ok := l.state(); ok {
			n += state.AckedBytes
		} else if l.tally != nil {
			n += l.tally.arrived()
		} else {
			n += l.bytes.Total()
		}
	}
	return n
}

// show sets goodput to what is known of it while data flows.
func (r *run) show() {
	elapsed := time.Since(r.start).Seconds()
	if elapsed <= 0 {
		return
	}
	if state := r.sending(); state.Sockets > 0 {
		r.rtts = append(r.rtts, state.RTT)
	}
	for way, legs := range map[probes.Direction][]*leg{probes.Up: r.up, probes.Down: r.down} {
		n := int64(0)
		for _, l := range legs {
			n += l.counted()
		}
		if len(legs) > 0 {
			r.rec.Set(probes.Goodput, way, float64(n)/elapsed)
		}
	}
}

// sending is what the own kernel says of all that is sent over TCP.
func (r *run) sending() (sum load.State) {
	for _, l := range r.up {
		if state, ok := l.state(); ok {
			sum.Add(state)
		}
	}
	return sum
}

// take fixes what has been received at the end of the transfer.
func (r *run) take() {
	r.elapsed = time.Since(r.start)
	for _, l := range r.down {
		r.received = append(r.received, l.counted())
	}
}

// drainTime is how long datagrams that are under way when the last one leaves get to arrive, before the server is told that
// the test is over and counts no more.
const drainTime = 200 * time.Millisecond

// finish ends the test and exchanges results.
func (r *run) finish(ctx context.Context) (*results, error) {
	if r.params.UDP && len(r.up) > 0 {
		drained := time.NewTimer(drainTime)
		defer drained.Stop()
		select {
		case <-drained.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err := r.control.SetDeadline(time.Now().Add(stepLimit)); err != nil {
		return nil, r.broken(ctx, "ending the test", err)
	}
	if err := writeState(r.control, testEnd); err != nil {
		return nil, r.broken(ctx, "ending the test", err)
	}
	a := <-r.next
	theirs := &results{}
	err := a.err
	if err == nil && a.state != exchangeResults {
		err = r.unexpected(a.state)
	}
	if err == nil {
		err = writeJSON(r.control, r.ours())
	}
	if err == nil {
		err = readJSON(r.control, maxResults, theirs)
	}
	if err != nil {
		return nil, r.broken(ctx, "exchanging results", err)
	}
	if s, err := readState(r.control); err == nil && s == displayResults {
		_ = writeState(r.control, iperfDone) // a courtesy: all there was to know is known
	}
	return theirs, nil
}

// ours are the results that the server gets.
func (r *run) ours() *results {
	o := &results{HasRetransmits: -1}
	for _, l := range r.up {
		o.HasRetransmits = 0
		if state, ok := l.state(); ok {
			o.HasRetransmits, o.Congestion = 1, word(state.CongestionControl)
		}
		o.Streams = append(o.Streams, l.result(r.elapsed))
	}
	for _, l := range r.down {
		o.Streams = append(o.Streams, l.result(r.elapsed))
	}
	return o
}

// closeControl closes the control connection, by which the server knows at the latest that the test is over.
func (r *run) closeControl() {
	if r.control != nil {
		_ = r.control.Close() // closed once or twice, it is closed
	}
}

// close closes everything.
func (r *run) close() {
	r.closeControl()
	r.wait.Wait()
	err := error(nil)
	for _, l := range append(append([]*leg(nil), r.up...), r.down...) {
		load.Abort(l.conn)
		err = errors.Join(err, l.conn.Close())
	}
	if err != nil {
		r.env.Log.Debug("closing iperf3 streams", "err", err)
	}
}
