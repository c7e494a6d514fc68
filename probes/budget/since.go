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

// since finds the sample from which on values are beyond x more often than before: the split into two parts, each with its
// own share, under which the record is most likely (Hinkley and Hinkley, Biometrika 57 (1970) 477). It is the first sample
// when no split makes a story worth telling: when the odds of a value beyond x did not at least double, or when either part is
// less than a twentieth of the record.
func since(e *Evidence, x float64) Since {
	r := e.Record
	total, _ := stats.OverAll(r, x)
	n := stats.Total(r)
	best, at := 0.0, 0
	seen, over := 0.0, 0.0
	found := Since{Sample: 1, After: total / n}
	for i := range r.Len() - 1 {
		o, _ := r.Over(i, x)
		seen, over = seen+r.Count(i), over+o
		before, after := over/seen, (total-over)/(n-seen)
		if seen < n/20 || n-seen < n/20 || 2*before*(1-after) > after*(1-before) {
			continue
		}
		gain := likelihood(over, seen) + likelihood(total-over, n-seen) - likelihood(total, n)
		if gain > best {
			best, at = gain, i+1
			found = Since{Sample: int(math.Round(seen)) + 1, Before: before, After: after}
		}
	}
	if at < len(e.When) {
		found.Time = e.When[at]
	}
	return found
}

// likelihood is the logarithm of the largest likelihood of k in n.
func likelihood(k, n float64) float64 {
	sum := 0.0
	for _, part := range []float64{k, n - k} {
		if part > 0 {
			sum += part * math.Log(part/n)
		}
	}
	return sum
}
