package stamp

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// record is what is known of one packet that left. A packet that the kernel refused has none.
type record struct {
	sent     time.Duration // T1, session time
	received time.Duration // T4, session time; meaningful when answered
	t2, t3   int64         // far end's clock, nanoseconds since 1970; t3 is replaced by the true departure if it comes
	farSeq   uint32        // reflector's own sequence number
	order    uint32        // position among all first arrivals of the session
	life     uint8         // which life of the reflector the numbers belong to; it counts anew when it restarts
	fate     fate
}

// fate is what became of a packet: flags.
type fate uint16

const (
	answered  fate = 1 << iota // a reply came
	final                      // T3 will not change any more and the round trip is in the tally
	late                       // the reply came after the timeout
	reordered                  // the reply came after that of a later packet
	overtaken                  // the reply left the far end before another that arrived earlier
	departed                   // T3 is the true departure, stamped by the far end's kernel
	cold                       // it was the first after a pause
	kernelT1                   // T1 was taken by the kernel
	kernelT4                   // T4 was taken by the kernel
	lostUp                     // the request did not arrive
	lostDown                   // the reply did not arrive
)

func (f fate) has(x fate) bool { return f&x != 0 }

// roundTrip is (T4−T1) − (T3−T2), and the residence T3−T2 taken off; ok is false when the far end's stamps make no sense
// and the round trip includes the time spent there.
func (r *record) roundTrip() (rtt, residence time.Duration, ok bool) {
	whole := r.received - r.sent
	residence = time.Duration(r.t3 - r.t2)
	if r.t2 == 0 || r.t3 == 0 || residence < 0 || residence > whole {
		return whole, 0, false
	}
	return whole - residence, residence, true
}

// extra is a further copy of a reply that was counted already.
type extra struct {
	seq    uint64
	farSeq uint32
	life   uint8
}

// window is a span of the schedule and the packets planned in it. A packet belongs to the window of its slot, whenever
// it really left, so that windows of equal length plan equally many.
type window struct {
	start, end time.Duration // [start, end) of session time; end is forever in a one-shot run
	epoch      int64         // wall clock at session time 0 for the stamps of this window
	estimate   errorEstimate // of our clock
	counted    bool          // false for warm-up and what is sent after the end to settle the rest
	final      bool          // nothing counted comes after it
	first      uint64        // sequence number of records[0]
	records    []record
	frames     []frame       // of a pattern, in the order of sending
	pauses     []pause       // of the schedule, before packets of the window
	copies     []extra       // those that the far end answered anew, hence under another number
	copiesDown int           // those that it did not
	overtaken  int           // packets recovered from earlier windows after later ones had come
	open       int           // records that are not final
	stalls     []pause       // before packets of the window, from when the first slot was due that was skipped
	blind      time.Duration // longest of these; of one that outlasts the window, what comes before its end
	tail       time.Duration // the one that lasts until the window ends
	seen       time.Duration // longest interruption less the stalls within it
	tally
	disturbance
	condition condition // of the far end
	shown     counts    // of tallies handed on before
}

const forever time.Duration = 1<<63 - 1

// tally is what adds up while packets come and go, and can be handed on before their window is settled.
type tally struct {
	counts
	rtt                              values
	wakeUp, residence, scheduleError probes.Hist
}

// values are single round-trip times in seconds in the order of arrival, for those who tap the recorder: a budget near a
// round-trip time is judged to the nanosecond, not to the bucket.
type values []float64

// Add takes down one more.
func (v *values) Add(seconds float64) { *v = append(*v, seconds) }

// counts are numbers of packets.
type counts struct {
	sent, received, late, recovered uint64
	recoveredUp, recoveredDown      uint64 // those whose loss had been published with that direction
	refused, skipped, behind        uint64
	lateness                        time.Duration // by which the slots that were skipped or behind came late, together
	stray                           uint64        // replies to nothing that was sent, or that fail authentication
	departures                      uint64        // round trips whose T3 is the true departure
}

func (c *counts) add(o *counts) {
	c.sent += o.sent
	c.received += o.received
	c.late += o.late
	c.recovered += o.recovered
	c.recoveredUp += o.recoveredUp
	c.recoveredDown += o.recoveredDown
	c.refused += o.refused
	c.skipped += o.skipped
	c.behind += o.behind
	c.lateness += o.lateness
	c.stray += o.stray
	c.departures += o.departures
}

// total counts what was handed on already along with the rest.
func (w *window) total() counts {
	c := w.shown
	c.add(&w.counts)
	return c
}

// record finds the packet with that sequence number; nil when it is not of this window.
func (w *window) record(seq uint64) *record {
	if seq < w.first || seq-w.first >= uint64(len(w.records)) {
		return nil
	}
	return &w.records[seq-w.first]
}

// deliver hands the tally on.
func (t *tally) deliver(rec *probes.Recorder) {
	rec.Add(probes.PacketsSent, probes.Both, float64(t.sent))
	rec.Add(probes.PacketsReceived, probes.Both, float64(t.received))
	rec.Add(probes.PacketsLate, probes.Both, float64(t.late))
	rec.Add(probes.PacketsRecovered, probes.Both, float64(t.recovered))
	rec.Add(probes.PacketsRefused, probes.Both, float64(t.refused))
	rec.Add(probes.PacketsSkipped, probes.Both, float64(t.skipped))
	for _, v := range t.rtt {
		rec.Observe(probes.RTT, probes.Both, v)
	}
	rec.ObserveAll(probes.WakeUp, probes.Both, &t.wakeUp)
	rec.ObserveAll(probes.FarResidence, probes.Both, &t.residence)
	rec.ObserveAll(probes.ScheduleError, probes.Both, &t.scheduleError)
}
