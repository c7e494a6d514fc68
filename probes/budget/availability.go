package budget

import (
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// availability cuts the time into cells of a second or one survival time, and counts the time in each in which the last
// good packet was longer ago than the survival time.
func (g *gathering) availability() {
	var counts stats.Counts
	for _, p := range g.pieces {
		switch t := p.Tracks[g.name]; {
		case t != nil && len(t.At) > 0:
			counts = append(counts, g.downtime(t)...)
		case t != nil && p.Result.Elapsed > 0:
			counts = append(counts, g.downtimeOf(p.Result, t))
		case failedRun(p.Result) && p.Result.Elapsed > 0:
			of := float64(p.Result.Elapsed) / float64(g.c.Survival)
			counts = append(counts, stats.Count{Over: of, Of: of})
		default:
			g.e.Gap = "availability needs single packets in order: measure now, or give a CSV file with a time column"
			return
		}
		if len(g.e.When) < len(counts) {
			g.e.When = append(g.e.When, p.Result.Start)
		}
	}
	g.e.Record = counts
	g.e.Coarse = true
}

// downtimeOf is the time without service in one run whose values are in order but have no times: rows of packets beyond the
// limit, at the run's mean spacing, and the interruptions that the probe took down.
func (g *gathering) downtimeOf(r *probes.Result, t *Track) stats.Count {
	sent := max(r.Values[probes.PacketsSent.ValueName(probes.Both, "")], float64(len(t.Values)), 1)
	spacing := r.Elapsed.Seconds() / sent
	survival := g.c.Survival.Seconds()
	down, row := 0.0, 0.0
	for _, v := range append(slices.Clone(t.Values), 0) {
		if v > g.c.Limit {
			row += spacing
			continue
		}
		down += max(0, row-survival)
		row = 0
	}
	longest := r.Values[probes.Interruption.ValueName(probes.Both, "")]
	interrupted := 0.0
	for _, e := range r.Events {
		if e.Type == probes.InterruptionEvent {
			interrupted += max(0, e.Duration.Seconds()-survival)
			longest = 0
		}
	}
	down += interrupted + max(0, longest-survival)
	of := r.Elapsed.Seconds() / survival
	return stats.Count{Over: min(down/survival, of), Of: of}
}

func (g *gathering) downtime(t *Track) stats.Counts {
	survival := g.c.Survival
	start, end := t.At[0], t.At[len(t.At)-1]
	cell := max(time.Second, survival, end.Sub(start)/maxCells)
	cells := int(end.Sub(start)/cell) + 1
	counts := make(stats.Counts, cells)
	for i := range counts {
		length := min(cell, end.Sub(start.Add(time.Duration(i)*cell)))
		counts[i].Of = float64(length) / float64(survival)
		g.e.When = append(g.e.When, start.Add(time.Duration(i)*cell))
	}
	down := func(from, to time.Time) {
		for from.Before(to) {
			i := int(from.Sub(start) / cell)
			until := start.Add(time.Duration(i+1) * cell)
			if to.Before(until) {
				until = to
			}
			counts[min(i, cells-1)].Over += float64(until.Sub(from)) / float64(survival)
			from = until
		}
	}
	good := start
	for i, at := range t.At {
		if t.Values[i] <= g.c.Limit {
			down(good.Add(survival), at)
			good = at
		}
	}
	down(good.Add(survival), end)
	return counts
}
