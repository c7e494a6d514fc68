package budget

import (
	"math"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Evidence is what was measured for one criterion: values of which larger ones are worse, in the order of time.
type Evidence struct {
	// Record has the values; nil when there are none.
	Record stats.Record
	// When is the time of each cell of Record; nil where the source had no times.
	When []time.Time
	// Slices are the values again, one slice for each piece of the measurement; nil unless single values are known.
	Slices [][]float64
	// Means are the finite values, or the means of the cells where only histograms are known, for criteria on means.
	Means []float64
	// Runs says that a cell is a whole run of a probe, with a pause before the next; Coarse that values are no packets of
	// one stream but windows, connections or runs.
	Runs, Coarse bool
	// Span is the time from the first to the last of it; 0 where the source had no times.
	Span time.Duration
	// Lost is how many of the values are packets or runs that never arrived.
	Lost int
	// Results is how many Results it came in, Doubtful how many more were left out because the instrument was late, and
	// Flags why.
	Results, Doubtful int
	Flags             map[string]int
	// Gap says in words why there is no Record.
	Gap string
}

// N is the number of values, lost ones included.
func (e *Evidence) N() float64 {
	if e.Record == nil {
		return 0
	}
	return stats.Total(e.Record)
}

// hists is a Record whose cells are histograms, each with packets that never arrived.
type hists struct {
	cells  []histCell
	merged probes.Hist
	lost   float64
}

type histCell struct {
	h    *probes.Hist // nil when nothing arrived
	lost float64
}

func (r *hists) add(h *probes.Hist, lost float64) {
	r.cells = append(r.cells, histCell{h: h, lost: lost})
	r.merged.Merge(h)
	r.lost += lost
}

// Len implements stats.Record.
func (r *hists) Len() int { return len(r.cells) }

// Count implements stats.Record.
func (r *hists) Count(i int) float64 {
	if r.cells[i].h == nil {
		return r.cells[i].lost
	}
	return float64(r.cells[i].h.Count()) + r.cells[i].lost
}

// Over implements stats.Record.
func (r *hists) Over(i int, x float64) (sure, possible float64) {
	c := r.cells[i]
	if c.h == nil {
		return c.lost, c.lost
	}
	s, p := c.h.Over(x)
	return float64(s) + c.lost, float64(p) + c.lost
}

// AtRank implements stats.Record. Lost packets come last.
func (r *hists) AtRank(rank float64) (low, high float64) {
	at := func(rank float64) (low, high float64) {
		if rank > float64(r.merged.Count()) {
			return math.Inf(1), math.Inf(1)
		}
		return r.merged.AtRank(uint64(max(1, rank)))
	}
	low, _ = at(math.Floor(rank))
	_, high = at(math.Ceil(rank))
	return low, high
}
