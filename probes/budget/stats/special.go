// Package stats holds the statistics behind a verdict: confidence bounds of quantiles, proportions and means that stay
// honest when samples follow one another closely in time and so say less than their number suggests. It knows nothing of
// networks. Everything in it is a pure function and safe for concurrent use.
package stats

import "math"

// BetaInc is the regularised incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1], by the continued fraction of
// NIST DLMF 8.17.22, evaluated with Lentz's method. It is accurate to about 1e-12.
func BetaInc(a, b, x float64) float64 {
	switch {
	case math.IsNaN(a) || math.IsNaN(b) || math.IsNaN(x) || a <= 0 || b <= 0:
		return math.NaN()
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	}
	// The fraction converges fast below the mean of the distribution; DLMF 8.17.4 maps the other half onto that one.
	if x > (a+1)/(a+b+2) {
		return 1 - BetaInc(b, a, 1-x)
	}
	lab, _ := math.Lgamma(a + b)
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	return front * betaFraction(a, b, x) / a
}

// betaFraction is the continued fraction of DLMF 8.17.22.
func betaFraction(a, b, x float64) float64 {
	const tiny, precision = 1e-300, 1e-14
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	h := d
	// Some multiples of sqrt(max(a, b)) steps suffice; the limit only keeps a mistake from hanging.
	for m := 1.0; m < 100_000; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		h *= c * d
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		step := c * d
		h *= step
		if math.Abs(step-1) < precision {
			break
		}
	}
	return h
}

// BetaQuantile is the p-quantile of the beta distribution with parameters a, b > 0.
func BetaQuantile(p, a, b float64) float64 {
	return bisect(0, 1, func(x float64) bool { return BetaInc(a, b, x) >= p })
}

// NormalQuantile is the p-quantile of the standard normal distribution, for p in (0, 1).
func NormalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// NormalTail is the probability that a standard normal variable exceeds z.
func NormalTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// StudentTail is the probability that Student's t with df degrees of freedom exceeds t (DLMF 8.17; Student 1908).
func StudentTail(t, df float64) float64 {
	if math.IsInf(t, 1) {
		return 0
	}
	if math.IsInf(df, 1) {
		return NormalTail(t)
	}
	tail := BetaInc(df/2, 0.5, df/(df+t*t)) / 2
	if t < 0 {
		return 1 - tail
	}
	return tail
}

// StudentQuantile is the value that Student's t with df degrees of freedom exceeds with probability alpha < 0.5, by
// Newton's method from the normal quantile, where the tail is convex and so the iteration cannot overshoot.
func StudentQuantile(alpha, df float64) float64 {
	t := NormalQuantile(1 - alpha)
	if math.IsInf(df, 1) {
		return t
	}
	for range 100 {
		step := (StudentTail(t, df) - alpha) / studentDensity(t, df)
		t += step
		if math.Abs(step) <= 1e-12*t {
			break
		}
	}
	return t
}

func studentDensity(t, df float64) float64 {
	above, _ := math.Lgamma((df + 1) / 2)
	below, _ := math.Lgamma(df / 2)
	return math.Exp(above-below-(df+1)/2*math.Log1p(t*t/df)) / math.Sqrt(df*math.Pi)
}

// bisect returns the smallest x in [low, high], to within rounding, where holds is true; holds must be false below some
// point and true above it. It returns high when holds is nowhere true.
func bisect(low, high float64, holds func(float64) bool) float64 {
	for range 100 {
		middle := low + (high-low)/2
		if middle <= low || middle >= high || high-low <= 1e-13*math.Abs(high) {
			break
		}
		if holds(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
