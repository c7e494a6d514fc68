package budget

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Gather makes the evidence for a criterion of pieces in the order of time. Pieces whose Result says that the instrument
// was late are left out and counted.
func (c *Criterion) Gather(pieces []Piece) *Evidence {
	g := &gathering{c: c, e: &Evidence{Flags: map[string]int{}}, name: c.Metric.HistName(c.Direction)}
	for i := range pieces {
		p := &pieces[i]
		if !c.selects(p.Result) {
			continue
		}
		if !g.concerns(p) {
			g.why = cmpOr(p.Result.Error, g.why)
			continue
		}
		if p.Result.Quality.Doubtful() {
			g.leaveOut(p.Result.Quality.Names()...)
			continue
		}
		g.pieces = append(g.pieces, p)
	}
	g.leaveOutBlind()
	g.e.Results = len(g.pieces)
	g.finish()
	return g.e
}

// gathering is the state of one Gather.
type gathering struct {
	c      *Criterion
	e      *Evidence
	name   string
	pieces []*Piece
	why    string // the last run without a value had none
}

// skippedSlots is why a piece is left out that has no flag.
const skippedSlots = "packets_skipped"

// leaveOut counts a piece that is not used, with the reasons: flags, of which some are none, or skippedSlots.
func (g *gathering) leaveOut(reasons ...string) {
	g.e.Doubtful++
	for _, reason := range reasons {
		if q, err := probes.ParseQuality(reason); err != nil || q.Doubtful() {
			g.e.Flags[reason]++
		}
	}
}

// leaveOutBlind takes out pieces that say nothing of the tail, those that skipped the largest share first: while an instrument
// that is stuck sends nothing, it sees nothing. Of all packets, no more may be missing than half of those that may be bad.
func (g *gathering) leaveOutBlind() {
	if g.c.Statistic.Form != Quantile && g.c.Statistic.Form != Reliability || g.c.LargerIsBetter {
		return
	}
	skipped := func(p *Piece) float64 { return p.Result.Values[probes.PacketsSkipped.ValueName(probes.Both, "")] }
	planned := func(p *Piece) float64 {
		return skipped(p) + p.Result.Values[probes.PacketsSent.ValueName(probes.Both, "")]
	}
	missing, all := 0.0, 0.0
	for _, p := range g.pieces {
		missing += skipped(p)
		all += planned(p)
	}
	bad := (1 - g.c.q()) / 2
	if missing <= bad*all {
		return
	}
	out := map[*Piece]bool{}
	worstFirst := func(a, b *Piece) int { return cmp.Compare(skipped(b)*planned(a), skipped(a)*planned(b)) }
	for _, p := range slices.SortedStableFunc(slices.Values(g.pieces), worstFirst) {
		if missing <= bad*all {
			break
		}
		missing -= skipped(p)
		all -= planned(p)
		out[p] = true
		g.leaveOut(skippedSlots)
	}
	g.pieces = slices.DeleteFunc(g.pieces, func(p *Piece) bool { return out[p] })
}

// concerns says whether a piece holds anything of the criterion, or should have and failed.
func (g *gathering) concerns(p *Piece) bool {
	r := p.Result
	if failedRun(r) || p.Tracks[g.name] != nil {
		return true
	}
	switch {
	case g.c.Statistic.Form == Share && g.hasLost(p):
		return true
	case g.c.Statistic.Form == Share:
		_, ok := r.Values[g.of().ValueName(probes.Both, "")]
		return ok
	case g.c.Metric.Type == probes.Distribution:
		return r.Hists[g.name] != nil || g.lost(r) > 0
	default:
		_, ok := r.Values[g.c.Metric.ValueName(g.c.Direction, "")]
		return ok
	}
}

// hasLost says whether a piece has each lost packet in its place, so that the share of them is known to the packet.
func (g *gathering) hasLost(p *Piece) bool {
	t := p.Tracks[probes.RTT.Stem]
	return t != nil && t.HasLost && g.c.Direction == probes.Both && (g.c.Metric == probes.LossRatio || g.c.Metric == probes.PacketsLost)
}

// failedRun says whether a run that yielded nothing counts as a loss: the far end or the way to it failed. A refused key, a
// busy far end and a user who interrupts say nothing about the link.
func failedRun(r *probes.Result) bool {
	return len(r.Hists) == 0 && len(r.Values) == 0 && slices.Contains([]probes.Outcome{probes.Timeout, probes.Unreachable, probes.Refused, probes.Error}, r.Outcome)
}

// lost is how many packets of a Result never arrived, as far as the criterion is concerned.
func (g *gathering) lost(r *probes.Result) float64 {
	if failedRun(r) {
		return 1
	}
	if g.c.Metric != probes.RTT && g.c.Metric != probes.OneWayDelay {
		return 0
	}
	return max(0, r.Values[probes.PacketsLost.ValueName(g.c.Direction, "")])
}

// of is the counter that a share is taken of: lost and late of what was sent, copies and reordering of what came.
func (g *gathering) of() *probes.Metric {
	if g.c.Metric == probes.PacketsDuplicated || g.c.Metric == probes.PacketsReordered {
		return probes.PacketsReceived
	}
	return probes.PacketsSent
}

func (g *gathering) finish() {
	if len(g.pieces) == 0 {
		g.e.Gap = "no results with " + g.name
		if g.why != "" {
			g.e.Gap += ": " + g.why
		}
		if g.e.Doubtful > 0 {
			g.e.Gap = "every result is doubtful"
		}
		return
	}
	first, last := g.pieces[0].Result, g.pieces[len(g.pieces)-1].Result
	if !first.Start.IsZero() {
		g.e.Span = last.End().Sub(first.Start)
	}
	switch {
	case g.c.Statistic.Form == Share:
		g.shares()
	case g.c.Statistic.Form == Availability:
		g.availability()
	case g.c.Metric.Type == probes.Distribution:
		g.distribution()
	default:
		g.gauges()
	}
	if g.e.Record == nil {
		return
	}
	switch n := stats.Total(g.e.Record); {
	case n == 0:
		g.e.Record, g.e.Gap = nil, "no values of "+g.name
	case !(n <= maxSamples): // also for NaN
		g.e.Record, g.e.Gap = nil, fmt.Sprintf("%g values of %s are more than anybody measures: the counters are broken", n, g.name)
	}
}

// Limits on what foreign counters can make us compute and allocate.
const (
	maxSamples = 1e10 // values in all; ten years of a packet each 30 ms
	maxLost    = 1e7  // lost packets of one Result that become single values
	maxCells   = 1e5  // of one track, for availability
)

// distribution takes single values where every piece has them, and histograms otherwise.
func (g *gathering) distribution() {
	g.e.Coarse = !slices.Contains([]*probes.Metric{probes.RTT, probes.OneWayDelay, probes.DelayVariation, probes.InterpacketVariation}, g.c.Metric)
	if slices.ContainsFunc(g.pieces, func(p *Piece) bool {
		return p.track(g.name) == nil && !failedRun(p.Result) || !(g.lost(p.Result) <= maxLost)
	}) {
		g.histograms()
		return
	}
	var all []float64
	for _, p := range g.pieces {
		slice := g.values(p)
		all = append(all, slice...)
		g.e.Slices = append(g.e.Slices, slice)
	}
	if g.pieces[0].Result.Start.IsZero() {
		g.e.When = nil
	}
	g.e.Record = stats.NewValues(all)
	g.e.Means = slices.DeleteFunc(slices.Clone(all), func(v float64) bool { return math.IsInf(v, 0) })
}

// values are the single values of a piece with its lost packets: in their places, or at its end.
func (g *gathering) values(p *Piece) []float64 {
	var list []float64
	lost := g.lost(p.Result)
	end := p.Result.End()
	if t := p.track(g.name); t != nil {
		for i, v := range t.Values {
			if math.IsInf(v, 1) {
				g.e.Lost++
				if g.c.OfReceived {
					continue
				}
			}
			list = append(list, v)
			at := p.Result.Start.Add(time.Duration(float64(p.Result.Elapsed) * float64(i) / float64(len(t.Values)))) // about
			if t.At != nil {
				at = t.At[i]
			}
			g.e.When = append(g.e.When, at)
		}
		if t.HasLost {
			lost = 0
		}
	}
	g.e.Lost += int(lost)
	if !g.c.OfReceived {
		for range int(lost) {
			list = append(list, math.Inf(1))
			g.e.When = append(g.e.When, end)
		}
	}
	return list
}

func (g *gathering) histograms() {
	record := &hists{}
	for _, p := range g.pieces {
		lost := g.lost(p.Result)
		g.e.Lost += int(lost)
		if g.c.OfReceived {
			lost = 0
		}
		h := p.Result.Hists[g.name]
		if h == nil && lost == 0 {
			continue
		}
		record.add(h, lost)
		g.e.When = append(g.e.When, p.Result.Start)
		if h != nil {
			g.e.Means = append(g.e.Means, h.Mean())
		}
	}
	g.e.Record = record
}

// gauges take one value of each Result.
func (g *gathering) gauges() {
	g.e.Coarse = true
	g.e.Runs = g.c.Metric == probes.Goodput || g.c.Metric == probes.Responsiveness
	sign := 1.0
	if g.c.LargerIsBetter {
		sign = -1
	}
	var all []float64
	for _, p := range g.pieces {
		v, ok := p.Result.Values[g.c.Metric.ValueName(g.c.Direction, "")]
		switch {
		case ok && !math.IsNaN(v) && !math.IsInf(v, 0):
			v *= sign
			g.e.Means = append(g.e.Means, v)
		case failedRun(p.Result):
			g.e.Lost++
			if g.c.OfReceived {
				continue
			}
			v = math.Inf(1)
		default:
			continue
		}
		all = append(all, v)
		g.e.When = append(g.e.When, p.Result.Start)
	}
	g.e.Record = stats.NewValues(all)
}

// shares count, per Result or per packet, what was lost of what was sent.
func (g *gathering) shares() {
	var counts stats.Counts
	add := func(over, of float64, at time.Time) {
		if of > 0 {
			counts = append(counts, stats.Count{Over: min(over, of), Of: of})
			g.e.When = append(g.e.When, at)
			g.e.Lost += int(over)
		}
	}
	counter := g.c.Metric
	if counter == probes.LossRatio {
		counter = probes.PacketsLost
	}
	for _, p := range g.pieces {
		r := p.Result
		if g.hasLost(p) {
			t := p.Tracks[probes.RTT.Stem]
			for i, v := range t.Values {
				lost, at := 0.0, r.Start
				if math.IsInf(v, 1) {
					lost = 1
				}
				if t.At != nil {
					at = t.At[i]
				}
				add(lost, 1, at)
			}
			continue
		}
		if failedRun(r) {
			continue // nothing is known to have been sent
		}
		over, ok := r.Values[counter.ValueName(g.c.Direction, "")]
		over = max(0, over)
		if !ok && g.c.Direction != probes.Both {
			continue
		}
		add(over, r.Values[g.of().ValueName(probes.Both, "")], r.Start)
	}
	if len(counts) == 0 {
		g.e.Gap = "no results with " + counter.HistName(g.c.Direction) + " and " + g.of().Stem
		return
	}
	g.e.Record = counts
}
