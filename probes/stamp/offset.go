package stamp

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// offset is what is known of the far clock against ours over one window: far = ours + value + drift·(t − at).
type offset struct {
	value time.Duration
	at    time.Duration
	drift float64       // seconds per second; 0 unless it is certain
	bound time.Duration // of the error of value, drift included, at any exchange of the window; forever when nothing is known
}

// certainDrift compares the offset at the beginning with that at the end, each from the shortest round trip in its third
// of the time. What those round trips had above the shortest of all may sit in either direction and shift the offset by
// half; only a difference beyond that is drift, and on links without drift the result is exactly 0.
func certainDrift(pieces []clockPiece) float64 {
	begin, end := pieces[0].best, pieces[len(pieces)-1].best
	third := (end.sent - begin.sent) / 3
	if third == 0 {
		return 0
	}
	first, last, floor := begin, end, begin.rtt
	for i := range pieces {
		d := pieces[i].best
		floor = min(floor, d.rtt)
		if d.sent-begin.sent <= third && d.rtt < first.rtt {
			first = d
		}
		if end.sent-d.sent <= third && d.rtt < last.rtt {
			last = d
		}
	}
	moved := (last.up - last.down - first.up + first.down) / 2
	hidden := (first.rtt - floor + last.rtt - floor + 1) / 2
	if moved.Abs() <= hidden+time.Microsecond {
		return 0
	}
	return float64(moved) / float64(last.sent-first.sent)
}

// level takes the drift out of the delays, so that all of them have the offset of the moment at.
func (o offset) level(list []delay) {
	if o.drift == 0 {
		return
	}
	for i := range list {
		shift := time.Duration(o.drift * float64(list[i].sent-o.at))
		list[i].up -= shift
		list[i].down += shift
	}
}

// trust takes both clocks by their word, if both say that they are synchronised and how well, if that is better than the
// estimate, and if the estimate does not prove them wrong. Otherwise it changes nothing and returns false.
func (o *offset) trust(ours, theirs errorEstimate) bool {
	if !ours.synced() || !theirs.synced() {
		return false
	}
	claimed := ours.bound() + theirs.bound()
	if claimed >= o.bound || o.value.Abs() > o.bound+claimed {
		return false
	}
	o.value, o.bound, o.drift = 0, claimed, 0
	return true
}

// observeOneWay takes down the one-way delays of levelled exchanges, for each direction in which the bound of their
// error is below their median: a delay that is smaller than its error says nothing.
func (o offset) observeOneWay(rec *probes.Recorder, list []delay) {
	var up, down probes.Hist
	for _, d := range list {
		up.Add((d.up - o.value).Seconds())
		down.Add((d.down + o.value).Seconds())
	}
	published := false
	for _, way := range []struct {
		direction probes.Direction
		hist      *probes.Hist
	}{{probes.Up, &up}, {probes.Down, &down}} {
		if o.bound.Seconds() < way.hist.Quantile(0.5) {
			rec.ObserveAll(probes.OneWayDelay, way.direction, way.hist)
			published = true
		}
	}
	if published {
		rec.Set(probes.OWDErrorBound, probes.Both, o.bound.Seconds())
	}
	if o.bound < forever {
		rec.Set(probes.ClockOffset, probes.Both, o.value.Seconds())
	}
}
