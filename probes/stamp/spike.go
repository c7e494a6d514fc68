package stamp

import (
	"fmt"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// How the latency around an interruption is judged.
const (
	// spikeBefore is how many packets before an interruption say what the round trip was: enough for a median that a packet
	// which the interruption delayed does not move.
	spikeBefore = 16
	// spikeRow is how many packets in a row, by their median, say that the round trip is back. One packet may be lucky, and
	// one may be sent again by the radio though all is well.
	spikeRow = 5
	// spikeLimit is how long after an interruption the round trip is waited for. What lasts longer is another path.
	spikeLimit = 10 * time.Second
)

// backTo is up to which round trip a link counts as back where it was: a tenth more, or a millisecond.
func backTo(before time.Duration) time.Duration { return before + max(before/10, time.Millisecond) }

// spikes follows the round trip around interruptions, packet by packet in the order of sending. No document defines how
// long latency takes to settle; 3GPP's interruption time (TS 38.133) ends with the first packet.
type spikes struct {
	recent []time.Duration // round trips of the last packets, oldest first
	open   *openSpike      // nil when no interruption is followed
}

// openSpike is an interruption whose end is past and whose latency is not back yet.
type openSpike struct {
	event probes.Event
	end   time.Duration // departure of the first packet that got through
	limit time.Duration
	row   []spikeSample
}

type spikeSample struct{ sent, rtt time.Duration }

// begin follows an event of an interruption that ended at that moment. One that was followed still ends as it is.
func (s *spikes) begin(rec *probes.Recorder, e probes.Event, end time.Duration) {
	s.finish(rec)
	if len(s.recent) == 0 {
		rec.Event(e) // nothing came before, so there is nothing to be back at
		return
	}
	before := medianOf(s.recent)
	e.Spike = &probes.Spike{Before: before, Peak: slices.Max(s.recent), Settled: -1}
	s.open = &openSpike{event: e, end: end, limit: backTo(before)}
}

// observe takes in an answered packet.
func (s *spikes) observe(rec *probes.Recorder, sent, rtt time.Duration) {
	if o := s.open; o != nil {
		switch {
		case sent-o.end > spikeLimit:
			s.finish(rec)
		case o.observe(sent, rtt):
			s.finish(rec)
		}
	}
	s.recent = append(s.recent, rtt)
	if len(s.recent) > spikeBefore {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
}

// observe returns true when the round trip is back.
func (o *openSpike) observe(sent, rtt time.Duration) bool {
	o.event.Spike.Peak = max(o.event.Spike.Peak, rtt)
	o.row = append(o.row, spikeSample{sent, rtt})
	if len(o.row) < spikeRow {
		return false
	}
	rtts := make([]time.Duration, 0, spikeRow)
	for _, x := range o.row {
		rtts = append(rtts, x.rtt)
	}
	if o.row[0].rtt <= o.limit && medianOf(rtts) <= o.limit {
		o.event.Spike.Settled = o.row[0].sent - o.end
		return true
	}
	o.row = slices.Delete(o.row, 0, 1)
	return false
}

// finish records the event that is followed as it stands.
func (s *spikes) finish(rec *probes.Recorder) {
	if s.open == nil {
		return
	}
	e := s.open.event
	s.open = nil
	back := "not back"
	if e.Spike.Settled >= 0 {
		back = fmt.Sprintf("back after %v", e.Spike.Settled)
	}
	e.Detail += fmt.Sprintf("; round trip %v before, %v at most, %s", readable(e.Spike.Before), readable(e.Spike.Peak), back)
	rec.Event(e)
}

// readable leaves the digits that a person reads.
func readable(d time.Duration) time.Duration {
	if d.Abs() < time.Millisecond {
		return d.Round(100 * time.Nanosecond)
	}
	return d.Round(10 * time.Microsecond)
}

// medianOf is the lower median of a list that is not empty.
func medianOf(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)/2]
}
