package budget

import (
	"math"
	"time"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Since is where in a measurement it became bad.
type Since struct {
	// Sample is the number of the first value of the worse part, counted from 1.
	Sample int `json:"sample"`
	// Time is when it was measured; zero where the source had no times.
	Time time.Time `json:"time,omitzero"`
	// Before and After are the shares of values beyond the limit before and from there.
	Before float64 `json:"share_before"`
	After  float64 `json:"share_after"`
}

// since finds the sample from which on values are beyond x more often than before: where the cumulative sum of what
// exceeds the mean share is lowest (Hinkley, Biometrika 58 (1971) 509; the estimate of Page's CUSUM). It is the first
// sample when the part before was no better to speak of, or too short to tell.
func since(e *Evidence, x float64) Since {
	r := e.Record
	total, _ := stats.OverAll(r, x)
	n := stats.Total(r)
	mean := total / n
	sum, lowest, at := 0.0, 0.0, 0
	seen, over := 0.0, 0.0
	var before Since
	for i := range r.Len() {
		o, _ := r.Over(i, x)
		sum += o - mean*r.Count(i)
		seen, over = seen+r.Count(i), over+o
		if sum < lowest && seen < n {
			lowest, at = sum, i+1
			before = Since{Sample: int(math.Round(seen)) + 1, Before: over / seen, After: (total - over) / (n - seen)}
		}
	}
	// Half of the later share, and a tenth of the record, are what makes a story worth telling.
	if at == 0 || before.Before > before.After/2 || float64(before.Sample-1) < n/10 {
		at, before = 0, Since{Sample: 1, After: mean}
	}
	if at < len(e.When) {
		before.Time = e.When[at]
	}
	return before
}
