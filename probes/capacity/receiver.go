package capacity

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// subInterval is over what RFC 9097 section 6 takes the maximum; a test that is shorter is one sub-interval.
const subInterval = time.Second

// reportEvery is how often a receiver says what it has counted.
const reportEvery = 2 * feedbackInterval

// settleTime is how long nothing more may come behind the sender's end before the rest counts as lost: as long as a queue
// that has been filled on purpose holds packets back.
const settleTime = 500 * time.Millisecond

// receiver counts load, sends feedback and reports.
type receiver struct {
	link
	say func(report) // tells the other end, or the recorder, what has been counted so far

	start       time.Time // of the session
	first, last time.Time // arrival of the first and the latest load datagram
	silence     silence
	tally       tally
	bytes       int64 // UDP payload
	delays      delays
	intervals   intervals
	trains      trains
	since       tally0 // what the feedback before had told
	feedback    feedback
	nextReport  time.Time
	sent        int64 // what the sender says it sent; -1 before
	doneAt      time.Time
}

// tally0 is what one feedback has told already.
type tally0 struct{ received, reordered, duplicated, missing int64 }

// link is what a session's two ends have: the socket, the token and what was agreed on.
type link struct {
	socket *socket
	token  token
	plan   open
}

// wire is how many bytes one load datagram has at the IP layer.
func (l *link) wire() int { return l.plan.Size + l.socket.overhead() }

func newReceiver(l link, say func(report)) *receiver {
	r := &receiver{link: l, say: say, sent: -1}
	r.intervals.length = min(subInterval, l.plan.Duration)
	r.trains.wire = l.wire()
	return r
}

// run receives until the sender is done, ctx ends or a stop rule does. done brings the sender's last word. It returns the
// reason; the error is ctx's.
func (r *receiver) run(ctx context.Context, from <-chan done) (stop string, err error) {
	if r.plan.Train {
		r.socket.stamp() // what the kernel puts together has no arrival times of its own, which trains need
	} else {
		r.socket.coalesce()
	}
	b := make([]byte, receiveSize)
	r.start = time.Now()
	r.silence = newSilence(r.start)
	next := r.start.Add(feedbackInterval)
	for {
		n, segment, source, err := r.socket.read(b, next)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return byCancel, context.Cause(ctx)
		case err != nil && !expired(err):
			if errors.Is(err, net.ErrClosed) {
				return byCancel, err
			}
		case err == nil && source == r.socket.peer:
			r.take(b[:n], segment, now)
		}
		select {
		case d := <-from:
			r.sent, r.doneAt, stop = d.Sent, now, d.Stop
		default:
		}
		if r.trains.complete(now) || !now.Before(next) {
			r.respond(now)
			next = now.Add(feedbackInterval)
		}
		if why, over := r.over(now, stop); over {
			return why, nil
		}
	}
}

// over says whether to stop, and why.
func (r *receiver) over(now time.Time, stop string) (string, bool) {
	silent, limit := r.silence.lasts(now, feedbackInterval), stopAfter
	if r.first.IsZero() {
		limit = startLimit
	}
	switch {
	case r.sent >= 0 && r.tally.received >= r.sent:
		return stop, true
	case r.sent >= 0 && now.Sub(r.doneAt) >= settleTime && silent >= settleTime:
		return stop, true
	case r.sent < 0 && silent >= limit+r.pause():
		return byNoLoad, true
	case r.sent < 0 && !r.first.IsZero() && now.Sub(r.first) > r.plan.Duration+startLimit:
		return byDuration, true // the sender does not keep to what was agreed on
	case r.plan.MaxBytes > 0 && r.tally.received*int64(r.wire()) > r.plan.MaxBytes:
		return byMaxBytes, true
	}
	return "", false
}

// pause is how much longer than its stop rule a receiver waits: trains have pauses between them.
func (r *receiver) pause() time.Duration {
	if r.plan.Train {
		return trainWait
	}
	return 0
}

// take counts the load datagrams of one read.
func (r *receiver) take(b []byte, segment int, now time.Time) {
	if segment <= 0 {
		return
	}
	for sampled := false; len(b) > 0; {
		one := b[:min(segment, len(b))]
		b = b[len(one):]
		d, err := parseDatagram(one, r.token)
		if err != nil || d.kind != loadPacket || len(one) != r.plan.Size || d.number > math.MaxInt64/2 {
			continue
		}
		if r.first.IsZero() {
			r.first, r.nextReport = now, now.Add(reportEvery)
		}
		r.last = now
		r.silence.hear(now)
		if !sampled { // those that the kernel put together arrived together
			r.delays.add(now.Sub(r.start) - d.time)
			sampled = true
		}
		if !r.tally.add(d.number) {
			continue
		}
		r.bytes += int64(len(one))
		r.intervals.add(now.Sub(r.first), r.wire())
		if r.plan.Train {
			r.trains.add(d, r.arrival(now))
		}
	}
}

// arrival is when the datagrams just read arrived: by the kernel where it tells.
func (r *receiver) arrival(now time.Time) time.Time {
	if at := r.socket.arrived; !at.IsZero() {
		return at
	}
	return now
}

// respond sends the status feedback for what arrived since the one before, and reports when it is time to.
func (r *receiver) respond(now time.Time) {
	if r.first.IsZero() {
		return
	}
	t := tally0{r.tally.received, r.tally.reordered, r.tally.duplicated, r.tally.missing()}
	r.feedback.number++
	r.feedback.received = clamp(t.received - r.since.received)
	r.feedback.lost = clamp(t.missing - r.since.missing)
	r.feedback.reordered = clamp(t.reordered - r.since.reordered)
	r.feedback.duplicated = clamp(t.duplicated - r.since.duplicated)
	r.feedback.delayRange = r.delays.takeRange()
	r.feedback.train, r.feedback.arrived, r.feedback.spread = r.trains.last()
	r.since = t
	// A feedback that cannot be sent is a lost one, which the sender knows how to take.
	_, _ = r.socket.WriteToUDPAddrPort(r.feedback.encode(r.token), r.socket.peer)
	if !now.Before(r.nextReport) {
		r.nextReport = now.Add(reportEvery)
		r.say(r.report())
	}
}

// report is what has been counted so far.
func (r *receiver) report() report {
	p := report{
		Received: r.tally.received, Bytes: r.bytes, Reordered: r.tally.reordered, Duplicated: r.tally.duplicated, GRO: r.socket.gro,
		Stamped: !r.socket.arrived.IsZero(),
	}
	if !r.first.IsZero() {
		p.Elapsed = r.last.Sub(r.first)
	}
	if r.plan.Train {
		p.Capacity, p.Error = r.trains.estimate()
		p.Trains = len(r.trains.rates)
	} else {
		p.Capacity = r.intervals.best(p.Elapsed)
	}
	return p
}

// final is the last report.
func (r *receiver) final(stop string) report {
	p := r.report()
	p.Final, p.Stop, p.Variation, p.Dropped = true, stop, r.delays.hist(), r.socket.dropped()
	return p
}

func clamp(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// intervals counts IP-layer bytes in sub-intervals one behind the other.
type intervals struct {
	length   time.Duration
	index    int64
	now, top float64 // bytes of the current one, and of the fullest before
	whole    bool    // whether a sub-interval is complete
}

// add counts what arrived at a moment behind the first arrival.
func (i *intervals) add(at time.Duration, bytes int) {
	if index := int64(at / i.length); index != i.index {
		i.top, i.whole = max(i.top, i.now), true
		i.index, i.now = index, 0
	}
	i.now += float64(bytes)
}

// best is the largest rate of a sub-interval. While none is complete, it is the mean so far.
func (i *intervals) best(elapsed time.Duration) float64 {
	switch {
	case i.whole:
		return max(i.top, i.now) / i.length.Seconds()
	case elapsed < feedbackInterval:
		return 0
	default:
		return i.now / elapsed.Seconds()
	}
}

// maxDelays is how many delays are kept; from then on every second one is, and so forth.
const maxDelays = 1 << 16

// delays keeps a sample of the one-way delays, whose zero is arbitrary, and their smallest.
type delays struct {
	smallest, largest time.Duration // largest since takeRange
	any, fresh        bool
	kept              []time.Duration
	every, skipped    int
}

func (d *delays) add(v time.Duration) {
	if !d.any || v < d.smallest {
		d.smallest = v
	}
	if !d.fresh || v > d.largest {
		d.largest = v
	}
	d.any, d.fresh = true, true
	if d.skipped++; d.skipped < d.every {
		return
	}
	d.skipped = 0
	if len(d.kept) == maxDelays {
		for i := range maxDelays / 2 {
			d.kept[i] = d.kept[2*i]
		}
		d.kept, d.every = d.kept[:maxDelays/2], max(d.every, 1)*2
	}
	d.kept = append(d.kept, v)
}

// takeRange is how far the largest delay since the call before lies above the smallest of all.
func (d *delays) takeRange() time.Duration {
	if !d.fresh {
		return 0
	}
	d.fresh = false
	return d.largest - d.smallest
}

// hist is the distribution of delays above the smallest.
func (d *delays) hist() *probes.Hist {
	h := &probes.Hist{}
	for _, v := range d.kept {
		h.Add((v - d.smallest).Seconds())
	}
	return h
}
