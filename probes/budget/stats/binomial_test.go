package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestProportionBoundsOfTheTable has the two-sided 95 % limits that Clopper and Pearson's chart and later tables print.
func TestProportionBoundsOfTheTable(t *testing.T) {
	for _, c := range []struct{ k, n, low, high float64 }{
		{0, 10, 0, 0.3085}, {1, 10, 0.0025, 0.4450}, {5, 10, 0.1871, 0.8129}, {10, 10, 0.6915, 1}, {1, 20, 0.0013, 0.2487}, {0, 100, 0, 0.0362},
	} {
		if got := LowerProportion(c.k, c.n, 0.025); !near(got, c.low, 1e-4) {
			t.Errorf("%v of %v: lower bound %v, want %v", c.k, c.n, got, c.low)
		}
		if got := UpperProportion(c.k, c.n, 0.025); !near(got, c.high, 1e-4) {
			t.Errorf("%v of %v: upper bound %v, want %v", c.k, c.n, got, c.high)
		}
	}
}

// TestProportionBoundsCover sums, over every k that can be seen, the probability of those whose bound misses the truth.
func TestProportionBoundsCover(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 60 {
		n, p, alpha := 1+r.IntN(60), r.Float64(), 0.01+0.1*r.Float64()
		var missedAbove, missedBelow float64
		for k := 0; k <= n; k++ {
			probability := exactCDF(k, n, p) - exactCDF(k-1, n, p)
			if UpperProportion(float64(k), float64(n), alpha) < p {
				missedAbove += probability
			}
			if LowerProportion(float64(k), float64(n), alpha) > p {
				missedBelow += probability
			}
		}
		if missedAbove > alpha+1e-9 || missedBelow > alpha+1e-9 {
			t.Errorf("n = %d, p = %v: bounds miss with probability %v and %v, want at most %v", n, p, missedAbove, missedBelow, alpha)
		}
	}
}

// TestMinSamplesOfTheTable has the sample sizes for "no failure seen".
func TestMinSamplesOfTheTable(t *testing.T) {
	for _, c := range []struct {
		q, alpha float64
		want     int
	}{{0.5, 0.05, 5}, {0.9, 0.05, 29}, {0.95, 0.05, 59}, {0.99, 0.05, 299}, {0.999, 0.05, 2995}, {0.9999, 0.05, 29956}, {0.99999, 0.05, 299572}, {0.99, 0.01, 459}, {0.999, 0.01, 4603}} {
		if got := MinSamples(c.q, c.alpha); got != c.want {
			t.Errorf("MinSamples(%v, %v) = %d, want %d", c.q, c.alpha, got, c.want)
		}
	}
	// With k failures it takes more: of the same table, k = 1, 2, 3 and 5 at 99 % and 95 % confidence.
	for k, n := range map[int]int{1: 473, 2: 628, 3: 773, 5: 1049} {
		if got := UpperProportion(float64(k), float64(n), 0.05); got > 0.01 {
			t.Errorf("%d failures in %d: upper bound %v, want at most 1 %%", k, n, got)
		}
		if got := UpperProportion(float64(k), float64(n-1), 0.05); got <= 0.01 {
			t.Errorf("%d failures in %d: upper bound %v, want above 1 %%", k, n-1, got)
		}
	}
}

// TestRanksOfTheTable has the ranks of the two-sided 95 % interval of the median that textbooks on nonparametric methods
// print.
func TestRanksOfTheTable(t *testing.T) {
	for n, want := range map[float64][2]float64{6: {1, 6}, 10: {2, 9}, 20: {6, 15}, 30: {10, 21}, 50: {18, 33}} {
		upper, ok := UpperRank(n, 0.5, 0.025)
		if !ok || math.Ceil(upper) != want[1] {
			t.Errorf("n = %v: upper rank %v, want %v", n, upper, want[1])
		}
		if lower := math.Floor(n + 1 - upper); lower != want[0] {
			t.Errorf("n = %v: lower rank %v, want %v", n, lower, want[0])
		}
	}
	if _, ok := UpperRank(5, 0.5, 0.025); ok {
		t.Error("five values bound the median at 97.5 %, want no bound")
	}
}

// TestUpperRankIsTheSmallest searches all ranks with exact sums.
func TestUpperRankIsTheSmallest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		n, q, alpha := 5+r.IntN(70), 0.3+0.69*r.Float64(), 0.001+0.2*r.Float64()
		want := 0
		for rank := n; rank >= 1 && 1-exactCDF(rank-1, n, q) <= alpha; rank-- {
			want = rank
		}
		got, ok := UpperRank(float64(n), q, alpha)
		if ok != (want > 0) || ok && int(math.Ceil(got-1e-9)) != want {
			t.Errorf("UpperRank(%d, %v, %v) = %v %v, want %d", n, q, alpha, got, ok, want)
		}
	}
}
