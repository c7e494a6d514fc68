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
	// Q is which quantile.
	Q float64
	// A and B hold a slice of values each in the order of time; slice i of both was measured at about the same time.
	A, B [][]float64
}

// Slices is the number of pairs.
func (p Paired) Slices() int { return min(len(p.A), len(p.B)) }

// Estimate is the difference of the two sample quantiles, positive when B is larger.
func (p Paired) Estimate() float64 {
	return minus(sampleQuantile(p.B, p.Q), sampleQuantile(p.A, p.Q))
}

// Lower is the lower confidence bound of the difference, −Inf with fewer than FewBatches pairs.
func (p Paired) Lower(alpha float64) float64 { return p.bound(alpha, -1) }

// Upper is the upper confidence bound of the difference, +Inf with fewer than FewBatches pairs.
func (p Paired) Upper(alpha float64) float64 { return p.bound(alpha, 1) }

// bound walks away from the estimate until the test with error probability alpha refuses the shift.
func (p Paired) bound(alpha, side float64) float64 {
	estimate := p.Estimate()
	if p.Slices() < FewBatches || math.IsInf(estimate, 0) || math.IsNaN(estimate) {
		return math.Inf(int(side))
	}
	pooled := slices.Concat(slices.Concat(p.A...), slices.Concat(p.B...))
	slices.Sort(pooled)
	step := max((pooled[len(pooled)*3/4]-pooled[len(pooled)/4])/8, math.Abs(estimate)/8, 1e-9)
	if math.IsInf(step, 1) {
		return math.Inf(int(side))
	}
	refused := func(distance float64) bool { return p.refuses(estimate+side*distance, side, alpha) }
	far := step
	for !refused(far) {
		if far *= 2; far > 1e12*step {
			return math.Inf(int(side))
		}
	}
	return estimate + side*bisect(0, far, refused)
}

// refuses says whether the test refuses the shift: B less the shift still has a larger (side −1) or already a smaller
// (side 1) share of values above the common quantile than A.
func (p Paired) refuses(shift, side, alpha float64) bool {
	moved := make([][]float64, p.Slices())
	for i := range moved {
		moved[i] = make([]float64, len(p.B[i]))
		for j, v := range p.B[i] {
			moved[i][j] = v - shift
		}
	}
	a := p.A[:p.Slices()]
	x := sampleQuantile(slices.Concat(a, moved), p.Q)
	for _, b := range []int{FewBatches, ManyBatches} {
		if len(moved) < b {
			break
		}
		difference, deviation := pairedShares(pairedBatches(a, x, b), pairedBatches(moved, x, b))
		if -side*difference <= StudentQuantile(alpha, float64(b-1))*deviation {
			return false
		}
	}
	return true
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
		for _, v := range slice {
			list[j].of++
			if v > x {
				list[j].over++
			}
		}
	}
	return list
}

func sampleQuantile(record [][]float64, q float64) float64 {
	all := slices.Concat(record...)
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return all[min(max(int(math.Ceil(q*float64(len(all))-1e-9))-1, 0), len(all)-1)]
}
