package stats

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func near(a, b, tolerance float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*max(1, math.Abs(b))
}

// exactCDF is P(X ≤ k) by summing exact terms.
func exactCDF(k, n int, p float64) float64 {
	const precision = 200
	sum := new(big.Float).SetPrec(precision)
	x := new(big.Float).SetPrec(precision).SetFloat64(p)
	y := new(big.Float).SetPrec(precision).Sub(big.NewFloat(1).SetPrec(precision), x)
	term := new(big.Float).SetPrec(precision).SetInt64(1) // of i: C(n, i) xⁱ yⁿ⁻ⁱ
	for range n {
		term.Mul(term, y)
	}
	ratio := new(big.Float).SetPrec(precision).Quo(x, y)
	for i := 0; i <= k; i++ {
		sum.Add(sum, term)
		term.Mul(term, ratio)
		term.Mul(term, big.NewFloat(float64(n-i)))
		term.Quo(term, big.NewFloat(float64(i+1)))
	}
	v, _ := sum.Float64()
	return v
}

func TestBinomialCDFIsTheSumOfItsTerms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n := 1 + r.IntN(80)
		k, p := r.IntN(n+1), r.Float64()
		if got, want := BinomialCDF(k, n, p), exactCDF(k, n, p); !near(got, want, 1e-11) {
			t.Errorf("BinomialCDF(%d, %d, %v) = %v, want %v", k, n, p, got, want)
		}
	}
	if BinomialCDF(-1, 5, 0.5) != 0 || BinomialCDF(5, 5, 0.5) != 1 {
		t.Error("the CDF is not 0 below 0 and 1 from n on")
	}
}

func TestAtLeastGoesOnBetweenWholeNumbers(t *testing.T) {
	for k := 1; k <= 20; k++ {
		if got, want := AtLeast(float64(k), 20, 0.3), 1-exactCDF(k-1, 20, 0.3); !near(got, want, 1e-11) {
			t.Errorf("AtLeast(%d, 20, 0.3) = %v, want %v", k, got, want)
		}
		between := AtLeast(float64(k)-0.5, 20, 0.3)
		if lower, upper := AtLeast(float64(k), 20, 0.3), AtLeast(float64(k)-1, 20, 0.3); between <= lower || between >= upper {
			t.Errorf("AtLeast(%v) = %v is not between its neighbours %v and %v", float64(k)-0.5, between, lower, upper)
		}
	}
}

func TestBetaIncOfWhatIsNoBetaDistribution(t *testing.T) {
	for _, c := range [][3]float64{{0, 1, 0.5}, {1, -1, 0.5}, {math.NaN(), 1, 0.5}, {1, 1, math.NaN()}} {
		if got := BetaInc(c[0], c[1], c[2]); !math.IsNaN(got) {
			t.Errorf("BetaInc(%v) = %v, want NaN", c, got)
		}
	}
	// I_x(a, b) = 1 − I_{1−x}(b, a), DLMF 8.17.4, and I_x(1, 1) = x.
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		a, b, x := r.ExpFloat64()*50, r.ExpFloat64()*50, r.Float64()
		if got := BetaInc(a, b, x) + BetaInc(b, a, 1-x); !near(got, 1, 1e-11) {
			t.Errorf("I_%v(%v, %v) and its mirror add up to %v", x, a, b, got)
		}
		if got := BetaInc(1, 1, x); !near(got, x, 1e-13) {
			t.Errorf("I_%v(1, 1) = %v", x, got)
		}
	}
}

// TestQuantilesOfTheTables compares with the tables that every textbook prints.
func TestQuantilesOfTheTables(t *testing.T) {
	for _, c := range []struct{ p, want float64 }{{0.95, 1.6449}, {0.975, 1.9600}, {0.995, 2.5758}, {0.999, 3.0902}} {
		if got := NormalQuantile(c.p); !near(got, c.want, 5e-5) {
			t.Errorf("NormalQuantile(%v) = %v, want %v", c.p, got, c.want)
		}
		if got := NormalTail(c.want); !near(got, 1-c.p, 5e-5) {
			t.Errorf("NormalTail(%v) = %v, want %v", c.want, got, 1-c.p)
		}
	}
	for _, c := range []struct{ alpha, df, want float64 }{
		{0.05, 1, 6.314},
		{0.05, 9, 1.833},
		{0.05, 19, 1.729},
		{0.05, 29, 1.699},
		{0.025, 9, 2.262},
		{0.025, 19, 2.093},
		{0.005, 9, 3.250},
		{0.005, 19, 2.861},
		{0.0005, 9, 4.781},
		{0.0005, 19, 3.883},
		{0.05, math.Inf(1), 1.645},
	} {
		if got := StudentQuantile(c.alpha, c.df); !near(got, c.want, 5e-4) {
			t.Errorf("StudentQuantile(%v, %v) = %v, want %v", c.alpha, c.df, got, c.want)
		}
		if got := StudentTail(-c.want, c.df); !near(got, 1-c.alpha, 1e-3) {
			t.Errorf("StudentTail(%v, %v) = %v, want %v", -c.want, c.df, got, 1-c.alpha)
		}
	}
}
