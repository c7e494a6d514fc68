package fleet

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// window holds the last minutes of one probe in slots, so that any span up to five minutes can be summed up from
// histograms, never from quantiles. A Result belongs to the slot in which it ended.
type window struct {
	slots [windowSlots]slot
}

const (
	slotWidth   = 30 * time.Second
	windowSlots = 11 // five minutes and the slot that is being filled
)

// slot is 30 s of one probe.
type slot struct {
	number   int64 // slots since 1970
	rtt      *probes.Hist
	results  int
	failures int
	amounts  amounts
}

// amounts are counters and largest values of a span. A direction that was never measured is -1.
type amounts struct {
	sent, lost, lostUp, lostDown, interruption float64
}

func noAmounts() amounts {
	return amounts{sent: -1, lost: -1, lostUp: -1, lostDown: -1, interruption: -1}
}

// merge adds b to a.
func (a *amounts) merge(b amounts) {
	for _, pair := range []struct {
		to   *float64
		from float64
	}{{&a.sent, b.sent}, {&a.lost, b.lost}, {&a.lostUp, b.lostUp}, {&a.lostDown, b.lostDown}} {
		if pair.from >= 0 {
			*pair.to = max(*pair.to, 0) + pair.from
		}
	}
	a.interruption = max(a.interruption, b.interruption)
}

func amountsOf(r *probes.Result) amounts {
	value := func(m *probes.Metric, d probes.Direction) float64 {
		if v, ok := r.Values[m.ValueName(d, "")]; ok {
			return v
		}
		return -1
	}
	return amounts{
		sent: value(probes.PacketsSent, probes.Both), lost: value(probes.PacketsLost, probes.Both),
		lostUp: value(probes.PacketsLost, probes.Up), lostDown: value(probes.PacketsLost, probes.Down),
		interruption: value(probes.Interruption, probes.Both),
	}
}

// rttOf is the distribution that the page shows as round-trip time: the one of packets, or else of connections, or of
// handshakes, so that every kind of latency probe has its row. A Result that tells of throughput is shown as that; how
// long its connections took to open is beside the point.
func rttOf(r *probes.Result) (*probes.Hist, string) {
	for _, d := range probes.Directions() {
		if _, ok := r.Values[probes.Goodput.ValueName(d, "")]; ok {
			return nil, ""
		}
	}
	for _, m := range []*probes.Metric{probes.RTT, probes.ConnectTime, probes.HandshakeTime, probes.FirstByteTime, probes.ResolveTime} {
		if h := r.Hists[m.HistName(probes.Both)]; h != nil && h.Count() > 0 {
			return h, m.Stem
		}
	}
	return nil, ""
}

func slotNumber(t time.Time) int64 { return t.UnixNano() / int64(slotWidth) }

func (w *window) add(r *probes.Result) {
	n := slotNumber(r.End())
	s := &w.slots[((n%windowSlots)+windowSlots)%windowSlots]
	if s.number > n {
		return // older than five minutes
	}
	if s.number < n || s.rtt == nil {
		*s = slot{number: n, rtt: &probes.Hist{}, amounts: noAmounts()}
	}
	if h, _ := rttOf(r); h != nil {
		s.rtt.Merge(h)
	}
	s.results++
	if r.Outcome != probes.OK {
		s.failures++
	}
	s.amounts.merge(amountsOf(r))
}

// sum merges the slots of the span that ends now.
func (w *window) sum(now time.Time, span time.Duration) slot {
	total := slot{rtt: &probes.Hist{}, amounts: noAmounts()}
	last := slotNumber(now)
	first := last - int64(span/slotWidth)
	for i := range w.slots {
		s := &w.slots[i]
		if s.rtt == nil || s.number < first || s.number > last+1 { // +1: an agent's clock may be a little ahead
			continue
		}
		total.rtt.Merge(s.rtt)
		total.results += s.results
		total.failures += s.failures
		total.amounts.merge(s.amounts)
	}
	return total
}

// history is the course of one probe over the last minutes, for a drawing: one point per five seconds.
type history struct {
	points  []point
	open    int64 // number of the point being filled
	rtt     probes.Hist
	amounts amounts
}

const (
	pointWidth = 5 * time.Second
	maxPoints  = 120 // ten minutes
)

// point is five seconds of one probe; what was not measured is -1. Seconds, ratios and bytes per second.
type point struct {
	at                  int64 // unix seconds, the beginning
	p50, p95, p99, most float32
	loss, interruption  float32
	up, down            float32
}

// add fills the newest point. A Result older than that is left out of the drawing; an agent's outbox delivers in order,
// so the course of an outage is drawn when it is delivered.
func (h *history) add(r *probes.Result) {
	n := r.End().UnixNano() / int64(pointWidth)
	if n < h.open {
		return
	}
	if n > h.open {
		h.open, h.rtt, h.amounts = n, probes.Hist{}, noAmounts()
		if len(h.points) == maxPoints {
			copy(h.points, h.points[1:])
			h.points = h.points[:maxPoints-1]
		}
		h.points = append(h.points, point{at: n * int64(pointWidth/time.Second), p50: -1, p95: -1, p99: -1, most: -1, up: -1, down: -1})
	}
	if rtt, _ := rttOf(r); rtt != nil {
		h.rtt.Merge(rtt)
	}
	h.amounts.merge(amountsOf(r))
	p := &h.points[len(h.points)-1]
	if h.rtt.Count() > 0 {
		p.p50, p.p95 = float32(h.rtt.Quantile(0.5)), float32(h.rtt.Quantile(0.95))
		p.p99, p.most = float32(h.rtt.Quantile(0.99)), float32(h.rtt.Max())
	}
	p.loss, p.interruption = -1, float32(h.amounts.interruption)
	if h.amounts.sent > 0 && h.amounts.lost >= 0 {
		p.loss = float32(h.amounts.lost / h.amounts.sent)
	}
	if v, ok := r.Values[probes.Goodput.ValueName(probes.Up, "")]; ok {
		p.up = float32(v)
	}
	if v, ok := r.Values[probes.Goodput.ValueName(probes.Down, "")]; ok {
		p.down = float32(v)
	}
}
