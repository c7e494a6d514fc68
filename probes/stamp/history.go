package stamp

import (
	"math"
	"slices"
	"time"
)

// What is assumed of clocks, and how much of the past is kept.
const (
	// mostDrift is the largest difference between the rates of both clocks: as much as a kernel lets a time service turn a
	// clock (RFC 5905 section 11.3), which is beyond what quartz is off by.
	mostDrift = 500e-6
	// wander is by how much the rate of a clock may differ from one moment to another (PHI of RFC 5905, 15 ppm). What an
	// exchange says of the offset gets worse by as much with its age, as in NTP's own filter.
	wander = 15e-6
	// historyAge is after what time an exchange says nothing any more: by then wander has added 4.5 ms to its error.
	historyAge = 5 * time.Minute
	// historyPieces bounds what is kept, and windowPieces is into how many pieces a window is cut.
	historyPieces = 48
	windowPieces  = 16
)

// clockHistory is what exchanges of several windows say of the far clock. A packet cannot arrive before it was sent: so at
// the moment of each exchange the far clock was ahead of ours by no more than T2−T1, which is the delay up and the offset,
// and by no less than T3−T4, which is the offset less the delay down. The shortest delays of either way, whichever exchange
// they belong to, say most.
type clockHistory struct {
	pieces []clockPiece // in the order of time
}

// clockPiece sums up some time: the exchanges with the smallest T2−T1, the smallest T4−T3 and the shortest round trip.
type clockPiece struct{ up, down, best delay }

func (p *clockPiece) add(d delay) {
	if d.up < p.up.up {
		p.up = d
	}
	if d.down < p.down.down {
		p.down = d
	}
	if d.rtt < p.best.rtt {
		p.best = d
	}
}

// cut sums a window up in pieces of equal length, and its ends, so that they are known as well as can be.
func cut(list []delay) []clockPiece {
	first, last := list[0], list[len(list)-1]
	length := (last.sent-first.sent)/windowPieces + 1
	pieces := []clockPiece{{up: first, down: first, best: first}}
	end := first.sent
	for _, d := range list[1:] {
		if d.sent >= end {
			pieces = append(pieces, clockPiece{up: d, down: d, best: d})
			end += ((d.sent-end)/length + 1) * length
		}
		pieces[len(pieces)-1].add(d)
	}
	return append(pieces, clockPiece{up: last, down: last, best: last})
}

// estimate says what is known of the offset over a window, of its exchanges and those before it, and keeps them.
func (h *clockHistory) estimate(list []delay) offset {
	window := cut(list)
	for {
		pieces := slices.Concat(h.pieces, window)
		o, ok := estimateOffset(pieces, list)
		if ok || len(h.pieces) == 0 {
			h.keep(pieces, list[len(list)-1].sent)
			return o
		}
		// No clock can have gone like that: one of them was set, or its rate was. What is oldest is the first to go.
		h.pieces = slices.Delete(h.pieces, 0, (len(h.pieces)+1)/2)
	}
}

// keep thins what is too much by joining neighbours, and drops what is too old.
func (h *clockHistory) keep(pieces []clockPiece, now time.Duration) {
	for len(pieces) > historyPieces {
		joined := pieces[:0]
		for pair := range slices.Chunk(pieces, 2) {
			p := pair[0]
			for _, other := range pair[1:] {
				for _, d := range []delay{other.up, other.down, other.best} {
					p.add(d)
				}
			}
			joined = append(joined, p)
		}
		pieces = joined
	}
	h.pieces = slices.DeleteFunc(pieces, func(p clockPiece) bool { return now-p.best.sent > historyAge })
}

// estimateOffset finds the offset over a window of exchanges, halfway between the least and the most it can have been. ok is
// false when no offset can have been: then nothing is known, and the bound is without limit.
func estimateOffset(pieces []clockPiece, list []delay) (o offset, ok bool) {
	from := list[0].sent
	best := pieces[0].best
	for _, p := range pieces {
		if p.best.sent >= from && (best.sent < from || p.best.rtt < best.rtt) {
			best = p.best
		}
	}
	o = offset{value: (best.up - best.down) / 2, at: best.sent, bound: forever}
	low, high, ok := between(pieces, o.at)
	if !ok {
		return o, false
	}
	o.value, o.drift = time.Duration(math.Round((low+high)/2)), certainDrift(pieces)
	var margins []margin
	for _, at := range moments(pieces, o.at, list) {
		low, high, ok := between(pieces, at)
		if !ok {
			return o, false
		}
		margins = append(margins, margin{at: at, above: high - o.ahead(at), below: o.ahead(at) - low})
	}
	o.bound = o.widest(o.join(margins, list), list)
	return o, true
}

// join adds to margins those of exchanges that leave less open themselves than their neighbours do.
func (o *offset) join(margins []margin, list []delay) (all []margin) {
	for i := range list {
		own := o.leftOpen(&list[i])
		for len(margins) > 0 && margins[0].at <= own.at {
			all, margins = append(all, margins[0]), margins[1:]
		}
		if len(all) == 0 || len(margins) == 0 || all[len(all)-1].at >= own.at {
			continue
		}
		if m := all[len(all)-1].towards(margins[0], own.at); own.above <= m.above && own.below <= m.below {
			all = append(all, own)
		}
	}
	return append(all, margins...)
}

// widest is the largest error at any exchange.
func (o *offset) widest(margins []margin, list []delay) (bound time.Duration) {
	for _, m := range margins {
		bound = max(bound, m.error())
	}
	for i := range list {
		own := o.leftOpen(&list[i])
		for len(margins) > 1 && margins[1].at <= own.at {
			margins = margins[1:]
		}
		if len(margins) > 1 && margins[0].at < own.at {
			m := margins[0].towards(margins[1], own.at)
			bound = max(bound, margin{above: min(m.above, own.above), below: min(m.below, own.below)}.error())
		}
	}
	return bound
}

// momentsApart is how far apart the moments of a window are, at least, at which all exchanges are asked for the offset. More
// of them would say little else: within a second it wanders 7.5 µs farther at most.
const momentsApart = time.Second

// moments lists moments of a window in order: its first, its last, that of the estimate, and those of the shortest round trips
// of its pieces.
func moments(pieces []clockPiece, at time.Duration, list []delay) []time.Duration {
	last := list[0].sent
	moments := []time.Duration{last, at, list[len(list)-1].sent}
	for i := range pieces {
		if sent := pieces[i].best.sent; sent-last >= momentsApart {
			moments, last = append(moments, sent), sent
		}
	}
	slices.Sort(moments)
	return slices.Compact(moments)
}

// margin is by how much the offset can have been above and below its estimate at a moment, in nanoseconds.
type margin struct {
	at           time.Duration
	above, below float64
}

func (m margin) error() time.Duration { return time.Duration(math.Ceil(max(m.above, m.below))) }

// ahead is by how much the far clock is estimated to be ahead at a moment, in nanoseconds.
func (o *offset) ahead(at time.Duration) float64 { return float64(o.value) + o.drift*float64(at-o.at) }

// leftOpen is the margin at an exchange by what it says itself.
func (o *offset) leftOpen(d *delay) margin {
	ahead := o.ahead(d.sent)
	return margin{at: d.sent, above: float64(d.up) - ahead, below: ahead + float64(d.down)}
}

// towards is the margin at a moment between two others: at most on the line from one to the other, and farther by wander. A
// rate that allows for more from the one side allows for as much less from the other.
func (m margin) towards(to margin, at time.Duration) margin {
	length := float64(to.at - m.at)
	part := float64(at-m.at) / length
	farther := 2 * wander * length * part * (1 - part)
	return margin{at: at, above: m.above + part*(to.above-m.above) + farther, below: m.below + part*(to.below-m.below) + farther}
}

// limits are the straight lines that bound the offset around one moment, by the rate of the far clock against ours.
type limits struct {
	highs, lows []limit
}

// limit says that value − rate·after is the most, or the least, that the offset can have been. Nanoseconds.
type limit struct{ value, after float64 }

// high is the most that the offset can be at that rate, and slope how it changes with it; low is the least.
func (l *limits) high(rate float64) (v, slope float64) {
	v = math.Inf(1)
	for _, x := range l.highs {
		if at := x.value - rate*x.after; at < v {
			v, slope = at, -x.after
		}
	}
	return v, slope
}

func (l *limits) low(rate float64) (v, slope float64) {
	v = math.Inf(-1)
	for _, x := range l.lows {
		if at := x.value - rate*x.after; at > v {
			v, slope = at, -x.after
		}
	}
	return v, slope
}

// room is how far the two are apart; below 0 the rate is none that the clock can have had.
func (l *limits) room(rate float64) (v, slope float64) {
	high, up := l.high(rate)
	low, down := l.low(rate)
	return high - low, up - down
}

// between is the least and the most that the offset can have been at a moment, in nanoseconds, if the far clock's rate
// was any that all exchanges allow for. ok is false when they allow for none.
func between(pieces []clockPiece, at time.Duration) (low, high float64, ok bool) {
	l := limits{}
	for i := range pieces {
		up, down := &pieces[i].up, &pieces[i].down
		l.highs = append(l.highs, newLimit(float64(up.up), up.sent-at, +1))
		l.lows = append(l.lows, newLimit(-float64(down.down), down.sent-at, -1))
		if best := &pieces[i].best; best.sent == at {
			l.highs, l.lows = append(l.highs, limit{value: float64(best.up)}), append(l.lows, limit{value: -float64(best.down)})
		}
	}
	good := peak(l.room, -mostDrift, mostDrift)
	if room, _ := l.room(good); room < -1 { // less is the rounding of time stamps
		return 0, 0, false
	}
	slowest, fastest := l.edge(good, -mostDrift), l.edge(good, mostDrift)
	high, _ = l.high(peak(l.high, slowest, fastest))
	low, _ = l.low(peak(func(rate float64) (float64, float64) {
		v, slope := l.low(rate)
		return -v, -slope
	}, slowest, fastest))
	return low, high, true
}

func newLimit(value float64, after time.Duration, way float64) limit {
	return limit{value: value + way*wander*math.Abs(float64(after)), after: float64(after)}
}

// halvings are how often a range of rates is halved: down to a picosecond in five minutes.
const halvings = 40

// peak finds where a concave function is largest: where its slope changes its sign. 0 is preferred among equals, because
// most clocks hardly drift.
func peak(f func(x float64) (v, slope float64), from, to float64) float64 {
	if from <= 0 && to >= 0 {
		if _, slope := f(0); slope == 0 {
			return 0
		}
	}
	best := from
	if v, _ := f(to); v > first(f(from)) {
		best = to
	}
	if from <= 0 && to >= 0 && first(f(0)) >= first(f(best)) {
		best = 0
	}
	for range halvings {
		mid := (from + to) / 2
		v, slope := f(mid)
		if v > first(f(best)) {
			best = mid
		}
		if slope > 0 {
			from = mid
		} else {
			to = mid
		}
	}
	return best
}

func first(v, _ float64) float64 { return v }

// edge is the rate farthest from a good one, towards the end, that is still possible.
func (l *limits) edge(good, end float64) float64 {
	if room, _ := l.room(end); room >= 0 {
		return end
	}
	for range halvings {
		mid := (good + end) / 2
		if room, _ := l.room(mid); room >= 0 {
			good = mid
		} else {
			end = mid
		}
	}
	return good
}
