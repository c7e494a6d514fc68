package stats

import "math"

// BinomialCDF is P(X ≤ k) for X binomial with n trials of probability p (DLMF 8.17.5).
func BinomialCDF(k, n int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	}
	return BetaInc(float64(n-k), float64(k+1), 1-p)
}

// AtLeast is P(X ≥ k) for X binomial with n trials of probability p, continued to real k and n as I_p(k, n−k+1)
// (DLMF 8.17.5). It is 1 for k ≤ 0 and 0 for k > n.
func AtLeast(k, n, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n:
		return 0
	}
	return BetaInc(k, n-k+1, p)
}

// UpperProportion is the one-sided upper confidence bound of a proportion of which k in n were seen, with error
// probability alpha: Clopper and Pearson, Biometrika 26 (1934) 404. k and n may be effective, hence fractional, counts.
func UpperProportion(k, n, alpha float64) float64 {
	if n <= 0 || k >= n {
		return 1
	}
	return BetaQuantile(1-alpha, k+1, n-k)
}

// LowerProportion is the one-sided lower confidence bound that goes with UpperProportion.
func LowerProportion(k, n, alpha float64) float64 {
	if n <= 0 || k <= 0 {
		return 0
	}
	return BetaQuantile(alpha, k, n-k+1)
}

// MinSamples is the smallest number of independent samples from which an upper bound of the q-quantile can be had with
// error probability alpha: the smallest n with q^n ≤ alpha (Wilks 1941; 299 for p99 and 59 for p95 at 5 %).
func MinSamples(q, alpha float64) int {
	if q <= 0 || q >= 1 || alpha <= 0 || alpha >= 1 {
		return 1
	}
	n := int(math.Ceil(math.Log(alpha)/math.Log(q) - 1e-9))
	return max(1, n)
}

// UpperRank is the rank, in an ordered sample of effectively n values, whose value is an upper confidence bound of the
// q-quantile with error probability alpha: the smallest r with P(Bin(n, q) ≥ r) ≤ alpha. ok is false when even the largest
// value is none. David and Nagaraja, Order Statistics, 3rd ed., section 7.1. With a whole n the rank to use is the next
// whole number; n is fractional when it is an effective sample size. A lower bound is the same seen from the other end: rank
// n + 1 − UpperRank(n, 1−q, alpha).
func UpperRank(n, q, alpha float64) (r float64, ok bool) {
	if AtLeast(n, n, q) > alpha {
		return 0, false
	}
	// Below the mean the probability is far above any alpha in use.
	low := 0.0
	if alpha <= 0.25 {
		low = n * q / 2
	}
	return bisect(low, n, func(r float64) bool { return AtLeast(r, n, q) <= alpha }), true
}
