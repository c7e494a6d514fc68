package throughput

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The quantiles are those of any table of Student's distribution.
func TestStudentQuantile(t *testing.T) {
	for _, c := range []struct {
		p       float64
		freedom int
		want    float64
	}{
		{0.9, 2, 1.8856},
		{0.975, 2, 4.3027},
		{0.995, 2, 9.9248},
		{0.9995, 2, 31.599},
		{0.975, 3, 3.1824},
		{0.95, 9, 1.8331},
		{0.975, 9, 2.2622},
		{0.995, 9, 3.2498},
		{0.975, 1, 12.706},
		{0.975, 30, 2.0423},
	} {
		if got := studentQuantile(c.p, c.freedom); math.Abs(got-c.want) > 1e-4*c.want {
			t.Errorf("quantile %v with %d degrees of freedom: %v, want %v", c.p, c.freedom, got, c.want)
		}
	}
}

// settlesAfter feeds a series sample by sample and returns after how many the rate has settled; 0 for never.
func settlesAfter(s series, r settleRule) int {
	var l settling
	for i := range s {
		if l.look(r, s[:i+1], 0) {
			return i + 1
		}
	}
	return 0
}

func TestSettles(t *testing.T) {
	rule := settleRule{tolerance: 0.05, confidence: 0.95, whole: 10 * time.Second}
	outage := append(append(repeat(25, 1e6), repeat(30, 0)...), repeat(45, 1e6)...)
	for name, c := range map[string]struct {
		rates []float64
		after int
	}{
		"a steady rate":                            {repeat(100, 1e6), 30},
		"too short":                                {repeat(29, 1e6), 0},
		"nothing arrives":                          {repeat(100, 0), 0},
		"the rate doubles in the third second":     {append(repeat(25, 1e6), repeat(75, 2e6)...), 100},
		"an outage, and never enough in hindsight": {outage, 100},
	} {
		if got := settlesAfter(seriesOf(c.rates...), rule); got != c.after {
			t.Errorf("%s: settled after %d samples, want %d", name, got, c.after)
		}
	}
}

// TestBlocksAreWhole: blocks are cut where a sample is, one that a busy machine took early included, and what does not fill one
// is left out.
func TestBlocksAreWhole(t *testing.T) {
	s := seriesOf(append(repeat(10, 1e6), repeat(15, 2e6)...)...)
	s[9].at -= 15 * time.Millisecond
	got := s.blocks(0, time.Second)
	if len(got) != 2 || math.Abs(got[0]-1e6/0.985) > 1 || math.Abs(got[1]-2e6/1.015) > 1 {
		t.Errorf("blocks %v", got)
	}
	if got := s.blocks(20, time.Second); len(got) != 0 {
		t.Errorf("blocks %v of half a second", got)
	}
	rare := series{{at: 2500 * time.Millisecond, bytes: 2.5e6}, {at: 3500 * time.Millisecond, bytes: 3.5e6}}
	if got := rare.blocks(0, time.Second); !slices.Equal(got, []float64{1e6, 1e6}) {
		t.Errorf("blocks %v where a second has no sample, want 1e6 twice", got)
	}
}

// TestSettledCovers draws noisy rates and asks how often the mean at the moment of stopping is within the tolerance of what
// the whole duration gives, as the confidence says.
func TestSettledCovers(t *testing.T) {
	const runs = 1000
	for _, confidence := range []float64{0.8, 0.95} {
		random := rand.New(rand.NewPCG(7, 7))
		rule := settleRule{tolerance: 0.05, confidence: confidence, whole: 30 * time.Second}
		within := 0
		var lengths []int
		for range runs {
			noise := 0.0
			rates := make([]float64, 300)
			for i := range rates {
				noise = 0.5*noise + 0.3*random.NormFloat64() // neighbouring intervals depend on each other
				rates[i] = max(0, 1e6*(1+noise))
			}
			s := seriesOf(rates...)
			n := settlesAfter(s, rule)
			lengths = append(lengths, n)
			if whole := s.mean(0); math.Abs(s[:n].mean(0)-whole) <= rule.tolerance*whole {
				within++
			}
		}
		slices.Sort(lengths)
		t.Logf("confidence %v: %.1f %% within the tolerance; median %d of 300 samples", confidence, 100*float64(within)/runs, lengths[runs/2])
		if share := float64(within) / runs; share < confidence {
			t.Errorf("in %.1f %% of the runs the mean is within the tolerance, want %v", 100*share, confidence)
		}
	}
}
