package stats

import "math"

// Samples of a mobile link come in weather: a slow second, a handover, a fade. n of them say less than n independent ones
// would. How much less is measured by batch means: cut the record into few long batches, and compare how much the share of
// values above a threshold varies from batch to batch with how much it would if samples were independent. The ratio is
// the design effect; n divided by it is the effective number of samples.
//
// Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30 (1982) 556, shows that 10
// to 30 batches are enough and that longer batches are safer than more of them. Both 10 and 20 are tried here and the
// worse one counts, so that what lasts for up to about a tenth of the record is seen for what it is.
const (
	// FewBatches is the least number of batches, and the least number of cells, from which dependence can be told.
	FewBatches = 10
	// ManyBatches is the finer division.
	ManyBatches = 20
)

// batch is the share of a record that fell into one stretch of time.
type batch struct{ over, of float64 }

// batches cuts a record into b stretches of about as many values each, never inside a cell.
func batches(r Record, x float64, b int) []batch {
	total := Total(r)
	list := make([]batch, b)
	before := 0.0
	for i := range r.Len() {
		n := r.Count(i)
		j := min(int((before+n/2)/total*float64(b)), b-1)
		over, _ := r.Over(i, x)
		list[j].over += over
		list[j].of += n
		before += n
	}
	return list
}

// variance is the variance of the share of values above the threshold, by the ratio estimator over batches: Cochran,
// Sampling Techniques, 3rd ed., equation 6.13, with the batches as clusters. Batches need not be of one size.
func variance(list []batch) (share, ofShare, n float64) {
	over := 0.0
	for _, c := range list {
		over += c.over
		n += c.of
	}
	share = over / n
	sum := 0.0
	for _, c := range list {
		e := c.over - share*c.of
		sum += e * e
	}
	b := float64(len(list))
	return share, b / (b - 1) * sum / (n * n), n
}

// DesignEffect is how many times larger the variance of the share of values above x is than it would be if values were
// independent: Kish, Survey Sampling (1965), section 8.2, over batches of time. It is at least 1: a record is never taken
// for more than its number of values. It is 1, too, when no value or every value is above x, or when there are fewer than
// FewBatches cells: then nothing can be told about dependence, and the caller has to know.
func DesignEffect(r Record, x float64) float64 {
	effect := 1.0
	for _, b := range []int{FewBatches, ManyBatches} {
		if r.Len() < b {
			break
		}
		share, v, n := variance(batches(r, x, b))
		if share > 0 && share < 1 {
			effect = max(effect, v*n/(share*(1-share)))
		}
	}
	return effect
}

// freedom is the number of degrees of freedom of DesignEffect.
func freedom(r Record) float64 {
	if r.Len() < ManyBatches {
		return FewBatches - 1
	}
	return ManyBatches - 1
}

// effective is the effective number of samples for a bound with error probability alpha: n over the design effect, and
// reduced by (z/t)² because the design effect is itself an estimate with df degrees of freedom; never more than n. Korn and
// Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey
// data", Survey Methodology 24 (1998) 193. Where no dependence could be measured (effect 1 exactly, as for values that are
// all alike) there is nothing to adjust.
func effective(n, effect, df, alpha float64) float64 {
	if effect <= 1 || math.IsInf(df, 1) || alpha >= 0.5 {
		return n / effect
	}
	ratio := NormalQuantile(1-alpha) / StudentQuantile(alpha, df)
	return min(n, n/effect*ratio*ratio)
}
