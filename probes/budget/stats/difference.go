package stats

import (
	"math"
	"slices"
)

// Bounded is an estimate with one-sided confidence bounds: a Quantile or a Mean.
type Bounded interface {
	Estimate() float64
	Lower(alpha float64) float64
	Upper(alpha float64) float64
}

// Difference is how much larger an estimate is than a baseline that was measured apart from it, with confidence bounds put
// together from those of both (MOVER: Zou and Donner, "Construction of confidence limits about effect measures: a general
// approach", Statistics in Medicine 27 (2008) 1693). It needs no density and no normality, and takes bounds as skew as they
// come.
type Difference struct {
	Now, Baseline Bounded
}

// Estimate is the difference, positive when Now is larger. Two infinite values do not differ.
func (d Difference) Estimate() float64 { return minus(d.Now.Estimate(), d.Baseline.Estimate()) }

// Lower is the lower confidence bound with error probability alpha.
func (d Difference) Lower(alpha float64) float64 {
	now, base := d.Now.Estimate(), d.Baseline.Estimate()
	return d.Estimate() - math.Hypot(minus(now, d.Now.Lower(alpha)), minus(d.Baseline.Upper(alpha), base))
}

// Upper is the upper confidence bound with error probability alpha.
func (d Difference) Upper(alpha float64) float64 {
	now, base := d.Now.Estimate(), d.Baseline.Estimate()
	return d.Estimate() + math.Hypot(minus(d.Now.Upper(alpha), now), minus(base, d.Baseline.Lower(alpha)))
}

func minus(a, b float64) float64 {
	if a == b {
		return 0
	}
	return a - b
}

// Paired is the difference of the q-quantiles of two records that were measured in turns, slice by slice, so that the drift
// of the link meets both alike and cancels. Its bounds come from inverting a test: shifting B back by the right amount must
// leave both records with the same share of values above their common quantile, to within the variation of the difference
// from batch to batch of slices. The test is that of Mathisen, Annals of Mathematical Statistics 14 (1943) 188, at the
// pooled quantile, with the paired batch variance in place of the binomial one.
type Paired struct {
	q          float64
	a, b       [][]float64
	allA, allB []float64 // ascending
}

// NewPaired prepares the q-quantiles of two records, a slice of values each in the order of time; slice i of both was
// measured at about the same time. What one record has more slices of than the other is left out.
func NewPaired(q float64, a, b [][]float64) *Paired {
	n := min(len(a), len(b))
	p := &Paired{q: q, a: a[:n], b: b[:n], allA: slices.Concat(a[:n]...), allB: slices.Concat(b[:n]...)}
	slices.Sort(p.allA)
	slices.Sort(p.allB)
	return p
}

// Estimate is the difference of the two sample quantiles, positive when B is larger; NaN when either has no values.
func (p *Paired) Estimate() float64 {
	if len(p.allA) == 0 || len(p.allB) == 0 {
		return math.NaN()
	}
	return minus(rankOf(p.allB, p.q), rankOf(p.allA, p.q))
}

// Lower is the lower confidence bound of the difference, −Inf with fewer than FewBatches pairs.
func (p *Paired) Lower(alpha float64) float64 { return p.bound(alpha, -1) }

// Upper is the upper confidence bound of the difference, +Inf with fewer than FewBatches pairs.
func (p *Paired) Upper(alpha float64) float64 { return p.bound(alpha, 1) }

// bound walks away from the estimate until the test with error probability alpha refuses the shift.
func (p *Paired) bound(alpha, side float64) float64 {
	estimate := p.Estimate()
	if len(p.a) < FewBatches || math.IsInf(estimate, 0) || math.IsNaN(estimate) {
		return math.Inf(int(side))
	}
	step := max((rankOf(p.allA, 0.75)-rankOf(p.allA, 0.25))/8, math.Abs(estimate)/8, 1e-9)
	if math.IsInf(step, 1) {
		return math.Inf(int(side))
	}
	var limits []float64
	for _, b := range []int{FewBatches, ManyBatches} {
		if len(p.a) >= b {
			limits = append(limits, StudentQuantile(alpha, float64(b-1)))
		}
	}
	refused := func(distance float64) bool { return p.refuses(estimate+side*distance, side, limits) }
	far := step
	for !refused(far) {
		if far *= 2; far > 1e9*step {
			return math.Inf(int(side))
		}
	}
	low := 0.0
	for far-low > step*1e-6 {
		if middle := (low + far) / 2; refused(middle) {
			far = middle
		} else {
			low = middle
		}
	}
	return estimate + side*far
}

// refuses says whether the test refuses the shift: B less the shift still has a larger (side −1) or already a smaller
// (side 1) share of values above the common quantile than A, by more than the limit on Student's scale, in 10 batches and
// in 20.
func (p *Paired) refuses(shift, side float64, limits []float64) bool {
	x := p.common(shift)
	for i, limit := range limits {
		b := []int{FewBatches, ManyBatches}[i]
		difference, deviation := pairedShares(pairedBatches(p.a, x, b), pairedBatches(p.b, x+shift, b))
		if -side*difference <= limit*deviation {
			return false
		}
	}
	return true
}

// common is the q-quantile of A together with B less the shift, by merging the two.
func (p *Paired) common(shift float64) float64 {
	n := len(p.allA) + len(p.allB)
	rank := min(max(int(math.Ceil(p.q*float64(n)-1e-9)), 1), n)
	i, j := 0, 0
	for {
		takeA := j == len(p.allB) || i < len(p.allA) && p.allA[i] <= p.allB[j]-shift
		if takeA {
			i++
		} else {
			j++
		}
		if i+j == rank {
			if takeA {
				return p.allA[i-1]
			}
			return p.allB[j-1] - shift
		}
	}
}

// pairedShares is the share above the threshold in b less that in a, and its standard error over batches.
func pairedShares(a, b []batch) (difference, deviation float64) {
	shareA, _, nA := variance(a)
	shareB, _, nB := variance(b)
	sum := 0.0
	for i := range a {
		e := (b[i].over-shareB*b[i].of)/nB - (a[i].over-shareA*a[i].of)/nA
		sum += e * e
	}
	n := float64(len(a))
	return shareB - shareA, math.Sqrt(n / (n - 1) * sum)
}

// pairedBatches joins slices into b batches, the same slices for either record.
func pairedBatches(record [][]float64, x float64, b int) []batch {
	list := make([]batch, b)
	for i, slice := range record {
		j := i * b / len(record)
		list[j].of += float64(len(slice))
		for _, v := range slice {
			if v > x {
				list[j].over++
			}
		}
	}
	return list
}

func rankOf(ascending []float64, q float64) float64 {
	n := len(ascending)
	return ascending[min(max(int(math.Ceil(q*float64(n)-1e-9))-1, 0), n-1)]
}
