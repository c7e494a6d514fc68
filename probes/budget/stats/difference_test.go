package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// fixed is an estimate with symmetric bounds.
type fixed struct{ mean, se float64 }

func (f fixed) Estimate() float64           { return f.mean }
func (f fixed) Lower(alpha float64) float64 { return f.mean - NormalQuantile(1-alpha)*f.se }
func (f fixed) Upper(alpha float64) float64 { return f.mean + NormalQuantile(1-alpha)*f.se }

// TestDifferenceOfNormalsIsTheTextbooks: with symmetric bounds, MOVER is z·√(s₁² + s₂²).
func TestDifferenceOfNormalsIsTheTextbooks(t *testing.T) {
	d := Difference{Now: fixed{10, 3}, Baseline: fixed{7, 4}}
	if got, want := d.Lower(0.05), 3-1.6448536*5; !near(got, want, 1e-6) {
		t.Errorf("lower bound %v, want %v", got, want)
	}
	if got, want := d.Upper(0.05), 3+1.6448536*5; !near(got, want, 1e-6) {
		t.Errorf("upper bound %v, want %v", got, want)
	}
}

func TestDifferenceOfWhatHasNoBound(t *testing.T) {
	short := NewQuantile(NewValues([]float64{1, 2, 3}), 0.99)
	d := Difference{Now: short, Baseline: short}
	if d.Estimate() != 0 || !math.IsInf(d.Lower(0.05), -1) || !math.IsInf(d.Upper(0.05), 1) {
		t.Errorf("difference %v in [%v, %v], want 0 and no bounds", d.Estimate(), d.Lower(0.05), d.Upper(0.05))
	}
	lost := NewQuantile(NewValues([]float64{math.Inf(1), math.Inf(1), math.Inf(1)}), 0.5)
	if d := (Difference{Now: lost, Baseline: lost}); d.Estimate() != 0 || math.IsNaN(d.Lower(0.05)) || math.IsNaN(d.Upper(0.05)) {
		t.Errorf("two links that lose everything: %v in [%v, %v], want 0 and no NaN", d.Estimate(), d.Lower(0.05), d.Upper(0.05))
	}
}

// drifting makes pairs of slices whose common level wanders far more than B is shifted against A.
func drifting(r *rand.Rand, pairs int, shift float64) *Paired {
	var as, bs [][]float64
	level := 0.0
	for range pairs {
		level += r.NormFloat64()
		a, b := normals(r, 20), normals(r, 20)
		for i := range a {
			a[i] += level
			b[i] += level + shift
		}
		as, bs = append(as, a), append(bs, b)
	}
	return NewPaired(0.5, as, bs)
}

func TestPairingCancelsDrift(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	const rounds = 200
	var covered, apart, seen int
	for range rounds {
		p := drifting(r, 40, 0.8)
		if p.Lower(0.05) <= 0.8 && 0.8 <= p.Upper(0.05) {
			covered++
		}
		if p.Lower(0.05) > 0 {
			seen++
		}
		if p.Lower(0.05) > p.Estimate() || p.Upper(0.05) < p.Estimate() {
			t.Fatalf("bounds [%v, %v] do not hold the estimate %v", p.Lower(0.05), p.Upper(0.05), p.Estimate())
		}
		if q := drifting(r, 40, 0); q.Lower(0.05) > 0 {
			apart++
		}
	}
	if covered < rounds*85/100 {
		t.Errorf("both bounds at 95 %% hold the truth in %d of %d, want about 90 %%", covered, rounds)
	}
	if seen < rounds*90/100 {
		t.Errorf("the shift is seen in %d of %d, want nearly always", seen, rounds)
	}
	if apart > rounds*8/100 {
		t.Errorf("no shift is taken for one in %d of %d, want about 5 %%", apart, rounds)
	}
}

func TestFewPairsHaveNoBounds(t *testing.T) {
	p := drifting(rand.New(rand.NewPCG(4, 2)), FewBatches-1, 0)
	if !math.IsInf(p.Lower(0.05), -1) || !math.IsInf(p.Upper(0.05), 1) {
		t.Errorf("%d pairs have bounds %v and %v, want none", len(p.a), p.Lower(0.05), p.Upper(0.05))
	}
}

func TestMeanByHand(t *testing.T) {
	v := make([]float64, 40)
	for i := range v {
		v[i] = float64(i % 2)
	}
	m := NewMean(v)
	// Batches of two or four have the same mean, so the spread of the values is all there is.
	want := math.Sqrt(10.0 / 39 / 40)
	if got := (m.Upper(0.05) - 0.5) / StudentQuantile(0.05, 19); !near(got, want, 1e-12) {
		t.Errorf("standard error %v, want %v", got, want)
	}
	if !near(m.Estimate(), 0.5, 1e-12) || m.Effect != 1 || !near(m.Lower(0.05)+m.Upper(0.05), 1, 1e-12) {
		t.Errorf("mean %v with effect %v in [%v, %v]", m.Estimate(), m.Effect, m.Lower(0.05), m.Upper(0.05))
	}
	slow := make([]float64, 400)
	for i := range slow {
		slow[i] = float64(i / 100)
	}
	if got := NewMean(slow).Effect; got < 30 {
		t.Errorf("design effect %v of four long steps, want far above 1", got)
	}
	if one := NewMean([]float64{3}); !math.IsInf(one.Upper(0.05), 1) || !math.IsInf(one.Lower(0.05), -1) {
		t.Errorf("one value bounds its mean by %v and %v, want no bounds", one.Lower(0.05), one.Upper(0.05))
	}
}

// TestHolmOfTheExample is the worked example of the method in many texts: 0.01, 0.04, 0.03, 0.005.
func TestHolmOfTheExample(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if !near(got[i], want, 1e-12) {
			t.Errorf("adjusted p-values %v, want 0.03 0.06 0.06 0.02", got)
			break
		}
	}
}

// TestRankSumOfTheExample is the example of the manual of SciPy: ages at diagnosis of diabetes, U = 17.
func TestRankSumOfTheExample(t *testing.T) {
	if got := RankSum([]float64{19, 22, 16, 29, 24}, []float64{20, 11, 17, 12}); !near(got, 0.11134688653314041, 1e-12) {
		t.Errorf("p = %v, want 0.111347", got)
	}
	if got := RankSum([]float64{1, 1, 1}, []float64{1, 1}); got != 1 {
		t.Errorf("p = %v of values that are all alike, want 1", got)
	}
}

func TestSpendingSpendsAllAndNoMore(t *testing.T) {
	for name, s := range map[string]Spending{"fixed": FixedSample(), "sequential": Sequential()} {
		for k, weights := range [][]float64{s.Fail, s.Pass} {
			sum, want := 0.0, 1.0
			if k == 1 && len(s.Looks) > 1 {
				want = 1 - Unseen
			}
			for i, w := range weights {
				sum += w
				if i > 0 && s.Looks[i] <= s.Looks[i-1] {
					t.Errorf("%s: looks %v do not ascend", name, s.Looks)
				}
			}
			if !near(sum, want, 1e-12) || s.Looks[len(s.Looks)-1] != 1 || len(s.Looks) != len(weights) {
				t.Errorf("%s: weights %v at %v, want them to add up to %v at the end", name, weights, s.Looks, want)
			}
		}
	}
	for fraction, want := range map[float64]int{0: 0, 0.06: 0, 0.125: 2, 0.3: 3, 1: 7, 2: 7} {
		if got := Sequential().Due(fraction); got != want {
			t.Errorf("%d looks are due after %v, want %d", got, fraction, want)
		}
	}
}
