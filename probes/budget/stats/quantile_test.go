package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func normals(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

// TestDesignEffectByHand has ten batches, of which one is all above: share 0.1, e = 9 once and −1 nine times, so the
// variance is 10/9 · 90/100² = 0.01, ten times the 0.09/100 of independent values. Finer batches agree: 20/19 · 2·4.5² …
func TestDesignEffectByHand(t *testing.T) {
	v := make([]float64, 100)
	for i := range 10 {
		v[i] = 1
	}
	coarse := 10.0 / 9 * (81 + 9) / 10_000 / (0.09 / 100)
	fine := 20.0 / 19 * (2*4.5*4.5 + 18*0.25) / 10_000 / (0.09 / 100)
	if got := DesignEffect(NewValues(v), 0.5); !near(got, max(coarse, fine), 1e-12) {
		t.Errorf("design effect %v, want %v", got, max(coarse, fine))
	}
	for _, x := range []float64{-1, 2} {
		if got := DesignEffect(NewValues(v), x); got != 1 {
			t.Errorf("design effect %v at a threshold that all or none exceed, want 1", got)
		}
	}
}

// TestDesignEffectFindsTheRepetition repeats every value m times: n/m independent ones are left.
func TestDesignEffectFindsTheRepetition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	const m, rounds = 10, 200
	sum := 0.0
	for range rounds {
		v := make([]float64, 0, 4000)
		for range 400 {
			x := r.NormFloat64()
			for range m {
				v = append(v, x)
			}
		}
		sum += DesignEffect(NewValues(v), 0.3)
	}
	// The larger of two estimates is a little above the truth on average.
	if mean := sum / rounds; mean < m || mean > 1.3*m {
		t.Errorf("mean design effect %v of values repeated %d times, want %d or a little more", mean, m, m)
	}
}

func TestCountsAndValuesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 2))
	v := normals(r, 400)
	var c Counts
	for i := 0; i < len(v); i += 10 {
		cell := Count{Of: 10}
		for _, x := range v[i : i+10] {
			if x > 1 {
				cell.Over++
			}
		}
		c = append(c, cell)
	}
	if got, want := DesignEffect(c, 0.5), DesignEffect(NewValues(v), 1); !near(got, want, 1e-12) {
		t.Errorf("design effect of counts %v, of the values %v", got, want)
	}
	sure, _ := OverAll(NewValues(v), 1)
	if over, possible := OverAll(c, 0.5); over != sure || possible != sure || Total(c) != 400 {
		t.Errorf("%v of %v above, want %v of 400", over, Total(c), sure)
	}
	if low, high := c.AtRank(400 - sure); low != 0 || high != 0 {
		t.Errorf("the largest value that did not fail is %v to %v, want 0", low, high)
	}
	if low, _ := c.AtRank(401 - sure); low != 1 {
		t.Errorf("the first that failed is %v, want 1", low)
	}
}

// TestBoundsAndVerdictsAgree: what AtMost and Above show, Upper and Lower say, too.
func TestBoundsAndVerdictsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for round := range 400 {
		v := normals(r, 20+r.IntN(600))
		if round%3 == 0 { // ties
			for i := range v {
				v[i] = math.Round(v[i] * 2)
			}
		}
		if round%5 == 0 {
			v[0] = math.Inf(1)
		}
		q, alpha, x := 0.3+0.69*r.Float64(), 0.001+0.1*r.Float64(), r.NormFloat64()
		s := NewQuantile(NewValues(v), q, x)
		if round%2 == 0 {
			s = NewQuantileTest(NewValues(v), q, x)
		}
		lower, estimate, upper := s.Lower(alpha), s.Estimate(), s.Upper(alpha)
		if lower > estimate || estimate > upper {
			t.Fatalf("round %d: bounds %v and %v do not hold the estimate %v", round, lower, upper, estimate)
		}
		if s.AtMost(x, alpha) != (upper <= x) {
			t.Errorf("round %d: AtMost(%v) = %v, the upper bound is %v", round, x, s.AtMost(x, alpha), upper)
		}
		if s.Above(x, alpha) != (lower > x) {
			t.Errorf("round %d: Above(%v) = %v, the lower bound is %v", round, x, s.Above(x, alpha), lower)
		}
		if s.AtMost(x, alpha) && s.Above(x, alpha) {
			t.Errorf("round %d: both shown", round)
		}
	}
}

// TestIndependentBoundsAreOrderStatistics: with no dependence in sight, bounds are the exact binomial ones.
func TestIndependentBoundsAreOrderStatistics(t *testing.T) {
	v := make([]float64, 300)
	for i := range v {
		v[i] = float64((i*187)%300 + 1) // spread evenly over time
	}
	s := NewQuantile(NewValues(v), 0.95)
	if s.Effect != 1 {
		t.Fatalf("design effect %v of evenly spread values, want 1", s.Effect)
	}
	rank, _ := UpperRank(300, 0.95, 0.05)
	if got := s.Upper(0.05); got != math.Ceil(rank) {
		t.Errorf("upper bound %v, want the value of rank %v", got, math.Ceil(rank))
	}
	if n := s.Effective(0.05); n != 300 {
		t.Errorf("effective number %v, want 300", n)
	}
}

func TestTheMinimumIsEnforced(t *testing.T) {
	constant := func(n int) *Quantile {
		v := make([]float64, n)
		for i := range v {
			v[i] = 0.01
		}
		return NewQuantile(NewValues(v), 0.99, 0.02)
	}
	if constant(298).AtMost(0.02, 0.05) {
		t.Error("298 samples pass a p99 at 95 %, want 299 at least")
	}
	if !constant(299).AtMost(0.02, 0.05) {
		t.Error("299 samples well inside do not pass a p99 at 95 %")
	}
	if got := constant(298).Upper(0.05); !math.IsInf(got, 1) {
		t.Errorf("298 samples bound the p99 by %v, want no bound", got)
	}
}

// TestDependenceCountsWhereTheVerdictFalls has bursts that reach above 1 everywhere in the record, and far above it in one
// place only: against 1 the dependence there alone counts, against 9 too little is seen, so that the quantile's counts, too.
func TestDependenceCountsWhereTheVerdictFalls(t *testing.T) {
	v := make([]float64, 4000)
	for i := range v {
		switch {
		case i%200 < 20:
			v[i] = 2
		case i%7 == 0:
			v[i] = 0.5
		}
	}
	for i := range 40 {
		v[2000+i] = 10
	}
	r := NewValues(v)
	if got, want := NewQuantileTest(r, 0.8, 1).Effect, DesignEffect(r, 1); got != want {
		t.Errorf("against 1 the effect is %v, want that at 1, %v", got, want)
	}
	if got, want := NewQuantileTest(r, 0.8, 9).Effect, NewQuantile(r, 0.8, 9).Effect; got != want || got < DesignEffect(r, 9) {
		t.Errorf("against 9 the effect is %v, want the larger one of both places, %v", got, want)
	}
}

func TestSettlesSaysHowManyItTakes(t *testing.T) {
	v := make([]float64, 298)
	for i := range v {
		v[i] = 0.01
	}
	if n, ok := NewQuantile(NewValues(v), 0.99, 0.02).Settles(0.02, 0.05); !ok || n != 299 {
		t.Errorf("settles at %v (%v), want 299", n, ok)
	}
	on := make([]float64, 1000)
	for i := range on {
		on[i] = float64(i % 2)
	}
	if n, ok := NewQuantile(NewValues(on), 0.5, 0.5).Settles(0.5, 0.05); ok {
		t.Errorf("a record right on the line settles at %v, want never", n)
	}
	if _, ok := NewQuantile(NewValues(nil), 0.5).Settles(1, 0.05); ok {
		t.Error("an empty record settles")
	}
}

func TestPValueIsWhereTheTestTurns(t *testing.T) {
	for _, want := range []float64{1e-6, 0.01, 0.3} {
		if got := PValue(func(alpha float64) bool { return alpha >= want }); !near(got, want, 1e-6) {
			t.Errorf("p = %v, want %v", got, want)
		}
	}
	if got := PValue(func(float64) bool { return false }); got != 1 {
		t.Errorf("p = %v of a test that shows nothing, want 1", got)
	}
	if got := PValue(func(float64) bool { return true }); got > 1e-12 {
		t.Errorf("p = %v of a test that is always sure, want next to nothing", got)
	}
}

// TestOneBurstMayComeAgain: a record that passes with its one burst does not when the burst may come twice; the same number
// of values above, spread as chance would, passes.
func TestOneBurstMayComeAgain(t *testing.T) {
	burst, spread := make([]float64, 1000), make([]float64, 1000)
	for i := range 20 {
		burst[300+i], spread[i*50+i] = 1, 1
	}
	b, s := NewQuantile(NewValues(burst), 0.95, 2), NewQuantile(NewValues(spread), 0.95, 2)
	b.Effect, s.Effect = 1, 1 // the same, so that only the burst tells
	if !b.AtMost(0.5, 0.001) || !s.AtMost(0.5, 0.001) {
		t.Fatal("2 % above are not shown to be at most 5 %")
	}
	if b.AtMostStill(0.5, 0.001, 1.5) {
		t.Error("a burst of 20 that may come again is no matter")
	}
	if !s.AtMostStill(0.5, 0.001, 1) {
		t.Error("what is spread out is taken for a burst")
	}
}
