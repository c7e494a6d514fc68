package stamp

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// clerk draws figures from settled windows, one after the other, and writes them into the recorder.
type clerk struct {
	rec           *probes.Recorder
	config        *Config
	pattern       *pattern // nil without one
	clock         *sessionClock
	template      *template
	trace         *trace // nil when none is wanted
	trouble       *trouble
	thread        func() string // what had to be done about the thread that sends; empty when nothing had
	losses        losses
	interruptions interruptions
	previous      *delay // of the last packet of the window before, if it was answered
	clocks        clockHistory
	epoch         int64 // of the window before

	sent, received uint64 // of all windows

	mu    sync.Mutex
	far   peer
	marks markings
}

// peer is what replies showed of the far end.
type peer struct {
	met        bool
	ssid       bool // repeats the session identifier
	counts     bool
	distinct   bool // its numbers are its own: they differ from ours
	follows    bool
	shortens   bool // makes replies as short as asked for
	error      errorEstimate
	ttl        uint8
	methodT2   stampMethod
	methodT3   stampMethod
	timestamps bool
	source     netip.AddrPort // ours as it last saw it; not valid while it has not said
}

// meet takes in what a reply shows of the far end. The receiving goroutine calls it.
func (k *clerk) meet(p *reply, x *extensions, a *arrived) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.far.met = true
	k.marks.see(p, x, a)
	k.far.ssid = p.ssid != 0
	k.far.counts = k.far.counts || x.counts
	k.far.shortens = k.far.shortens || x.shortens
	k.far.distinct = k.far.distinct || p.seq != p.senderSeq
	k.far.follows = k.far.follows || x.told.ok
	k.far.error, k.far.ttl = p.err, p.ttl
	k.far.timestamps = p.t2 != 0 && p.t3 != 0
	k.far.methodT2 = x.methodT2
	if x.source.IsValid() {
		k.far.source = x.source
	}
	if x.told.ok {
		k.far.methodT3 = x.methodT3
	}
}

func (k *clerk) peer() peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.far
}

// progress shows what a one-shot run has tallied since the last time.
func (k *clerk) progress(t tally) {
	t.deliver(k.rec)
	k.count(&t)
}

func (k *clerk) count(t *tally) {
	k.sent += t.sent
	k.received += t.received
}

// take draws the figures of one window. Packets that left after settled and were not answered are on their way still.
// over says that the window's time is over, and that it makes a result of its own if there are windows. It returns true
// when the window was the whole of a one-shot run.
func (k *clerk) take(w *window, follower neighbour, settled time.Duration, over bool) (whole bool) {
	far := k.peer()
	reorderedUp := k.losses.decide(w, follower, settled)
	list, last := w.delays(k.previous)
	if w.epoch != k.epoch {
		k.previous, k.clocks = nil, clockHistory{}
		if len(list) > 0 {
			list[0].next = false
		}
	}
	if w.counted && (len(w.records) > 0 || w.total().skipped+w.total().refused > 0 || k.config.Window > 0) {
		k.count(&w.tally)
		w.deliver(k.rec)
		k.losing(w, far, settled)
		k.ordering(w, far, reorderedUp)
		k.trace.write(w, func(r *record) bool { return r.lost(settled) })
		known := k.delaying(list, w.estimate, far.error)
		k.framing(w, far, settled, known)
		k.marking()
		k.waking(w)
		k.judge(w, far)
	}
	k.previous, k.epoch = last, w.epoch
	if w.counted && k.config.Window > 0 && over {
		k.rec.CutAt(k.clock.time(w.start, w.epoch), k.clock.time(w.end, w.epoch), k.failure(w))
	}
	return w.counted && k.config.Window == 0
}

// failure is why a window holds no round trip; nil when it does.
func (k *clerk) failure(w *window) error {
	c := w.total()
	if c.received > 0 || c.sent+c.refused+c.skipped == 0 {
		return nil
	}
	return k.trouble.explain(c.sent)
}

// losing takes down losses, by direction where the far end counts, and interruptions.
func (k *clerk) losing(w *window, far peer, settled time.Duration) {
	if !far.tellsDirection() {
		for i := range w.records {
			w.records[i].fate &^= lostUp | lostDown
		}
	}
	lost, up, down := k.interruptions.observe(k.rec, w, settled, w.end-w.tail)
	if w.final {
		k.interruptions.finish(k.rec, w, w.end-w.tail)
	}
	k.rec.Add(probes.PacketsLost, probes.Both, float64(lost))
	if far.met && (far.tellsDirection() || lost == 0) {
		k.rec.Add(probes.PacketsLost, probes.Up, float64(up))
		k.rec.Add(probes.PacketsLost, probes.Down, float64(down))
		total := w.total()
		k.rec.Add(probes.PacketsRecovered, probes.Up, float64(total.recoveredUp))
		k.rec.Add(probes.PacketsRecovered, probes.Down, float64(total.recoveredDown))
	}
	out := 0
	for i := range w.records {
		if r := &w.records[i]; !r.fate.has(answered) && !r.lost(settled) {
			out++
		}
	}
	if out > 0 {
		k.rec.Note("in_flight_at_end", fmt.Sprint(out))
	}
	if n := len(w.records) - out; n > 0 {
		k.rec.Set(probes.LossRatio, probes.Both, float64(lost)/float64(n))
	}
}

// tellsDirection says whether losses can be attributed to a direction.
func (p *peer) tellsDirection() bool { return p.counts || p.distinct }

// ordering takes down duplicates and reordering.
func (k *clerk) ordering(w *window, far peer, reorderedUp int) {
	k.rec.Add(probes.PacketsDuplicated, probes.Both, float64(len(w.copies)+w.copiesDown))
	reorderedAll, reorderedDown := w.overtaken, 0
	observeExtent(k.rec, w)
	for i := range w.records {
		if w.records[i].fate.has(reordered) {
			reorderedAll++
		}
		if w.records[i].fate.has(overtaken) {
			reorderedDown++
		}
	}
	k.rec.Add(probes.PacketsReordered, probes.Both, float64(reorderedAll))
	if !far.tellsDirection() {
		return
	}
	k.rec.Add(probes.PacketsDuplicated, probes.Up, float64(len(w.copies)))
	k.rec.Add(probes.PacketsDuplicated, probes.Down, float64(w.copiesDown))
	k.rec.Add(probes.PacketsReordered, probes.Up, float64(reorderedUp))
	k.rec.Add(probes.PacketsReordered, probes.Down, float64(reorderedDown))
}

// delaying takes down what the far end's time stamps add to the round trip, and returns what is known of the clocks; nil
// when that is nothing.
func (k *clerk) delaying(list []delay, ours, theirs errorEstimate) *offset {
	if len(list) == 0 {
		return nil
	}
	observeInterpacket(k.rec, list, k.previous)
	o := k.clocks.estimate(list)
	switch {
	case o.trust(ours, theirs):
		k.rec.Note("clocks", "synchronised")
	case o.bound == forever:
		k.rec.Note("clocks", "offset not known: one of the clocks was set meanwhile")
	default:
		k.rec.Note("clocks", "offset estimated from the shortest delays")
	}
	o.level(list)
	observeVariation(k.rec, list)
	o.observeOneWay(k.rec, list)
	return &o
}

// marking takes down how headers arrived, addresses among them.
func (k *clerk) marking() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.far.met {
		k.marks.report(k.rec, k.config)
	}
	if k.far.source.IsValid() {
		k.rec.Note("source_at_far_end", k.far.source.String())
	}
}
