package probes

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHistBoundsHoldTheTruth holds Over and AtRank against the values themselves.
func TestHistBoundsHoldTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var h Hist
		values := make([]float64, 1+r.IntN(60))
		for i := range values {
			values[i] = math.Exp(r.NormFloat64()) * 0.02
			if r.IntN(10) == 0 {
				values[i] = 0
			}
			h.Add(values[i])
		}
		slices.Sort(values)
		for rank, v := range values {
			if low, high := h.AtRank(uint64(rank + 1)); v < low || v > high || high > max(low*1.0443, HistZeroThreshold) && low != high {
				t.Fatalf("round %d: value of rank %d is %v, said to be in [%v, %v]", round, rank+1, v, low, high)
			}
		}
		for _, x := range append([]float64{0, 1, -1, math.Exp(r.NormFloat64()) * 0.02}, values...) {
			over := uint64(0)
			for _, v := range values {
				if v > x {
					over++
				}
			}
			if sure, possible := h.Over(x); over < sure || over > possible {
				t.Fatalf("round %d: %d values are above %v, said to be %d to %d", round, over, x, sure, possible)
			}
		}
	}
}

func TestHistBoundsOfNothing(t *testing.T) {
	var h Hist
	if sure, possible := h.Over(0); sure != 0 || possible != 0 {
		t.Errorf("Over = %d, %d in an empty histogram, want none", sure, possible)
	}
	if low, high := h.AtRank(1); !math.IsNaN(low) || !math.IsNaN(high) {
		t.Errorf("AtRank = %v, %v in an empty histogram, want NaN", low, high)
	}
}
