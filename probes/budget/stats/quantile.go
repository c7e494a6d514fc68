package stats

import (
	"cmp"
	"math"
	"slices"
)

// Quantile judges one quantile of a record, for a bound from above: latency. It is a test of the share of values above a
// threshold, turned round: the q-quantile is at most x exactly when at most 1−q of the values exceed x. Bounds are order
// statistics with binomial ranks (see UpperRank), with the effective number of samples in place of the number.
type Quantile struct {
	// Q is which quantile, in (0, 1).
	Q float64
	// N is the number of values, Cells the number of cells they came in.
	N     float64
	Cells int
	// Effect is the design effect: the largest one at the quantile itself and at the thresholds given.
	Effect float64

	record Record
	df     float64
}

// tailAtLeast is how many values have to lie above the level at which dependence is measured: with fewer, the variance from
// batch to batch is mostly that of counting.
const tailAtLeast = 20

// NewQuantile prepares the q-quantile of a record. thresholds are the values that it will be compared with: dependence is
// measured there, too. A record of fewer than FewBatches cells counts as independent, which callers allow only where cells
// are runs with a pause between them.
func NewQuantile(r Record, q float64, thresholds ...float64) *Quantile {
	s := &Quantile{Q: q, N: Total(r), Cells: r.Len(), Effect: 1, record: r, df: freedom(r)}
	if s.N == 0 {
		return s
	}
	level := max(0, min(q, 1-tailAtLeast/s.N))
	own, _ := r.AtRank(math.Ceil(level*s.N - 1e-9))
	for _, x := range append(thresholds, own) {
		s.Effect = max(s.Effect, DesignEffect(r, x))
	}
	return s
}

// NewQuantileTest prepares a test of the q-quantile against one limit. The verdict falls with the share of values above the
// limit, so it is there that dependence counts; where too few batches hold such values to measure it, it is measured at the
// quantile itself, too.
func NewQuantileTest(r Record, q, limit float64) *Quantile {
	if !wellSeen(r, limit) {
		return NewQuantile(r, q, limit)
	}
	return &Quantile{Q: q, N: Total(r), Cells: r.Len(), Effect: DesignEffect(r, limit), record: r, df: freedom(r)}
}

// wellSeen says whether at least half of the batches have values on both sides of x.
func wellSeen(r Record, x float64) bool {
	if r.Len() < ManyBatches {
		return false
	}
	mixed := 0
	for _, c := range batches(r, x, ManyBatches) {
		if c.over > 0 && c.over < c.of {
			mixed++
		}
	}
	return mixed >= ManyBatches/2
}

// Estimate is the nearest-rank quantile of the record.
func (s *Quantile) Estimate() float64 {
	low, high := s.record.AtRank(math.Ceil(s.Q*s.N - 1e-9))
	switch {
	case low == high || math.IsInf(high, 1):
		return low
	case low <= 0:
		return (low + high) / 2
	default:
		return math.Sqrt(low * high)
	}
}

// Effective is the effective number of samples for a one-sided bound with error probability alpha.
func (s *Quantile) Effective(alpha float64) float64 { return effective(s.N, s.Effect, s.df, alpha) }

// Upper is the upper confidence bound of the quantile with error probability alpha, +Inf when the record has too few
// values for one.
func (s *Quantile) Upper(alpha float64) float64 {
	n := s.Effective(alpha)
	rank, ok := UpperRank(n, s.Q, alpha)
	if !ok {
		return math.Inf(1)
	}
	_, high := s.record.AtRank(math.Ceil(rank*s.N/n - 1e-6))
	return high
}

// Lower is the lower confidence bound of the quantile, −Inf when the record has too few values for one.
func (s *Quantile) Lower(alpha float64) float64 {
	n := s.Effective(alpha)
	fromTop, ok := UpperRank(n, 1-s.Q, alpha)
	if !ok {
		return math.Inf(-1)
	}
	low, _ := s.record.AtRank(math.Floor(s.N + 1 - fromTop*s.N/n + 1e-6))
	return low
}

// AtMost says whether it is shown, with error probability alpha, that the quantile is at most x.
func (s *Quantile) AtMost(x, alpha float64) bool {
	_, over := OverAll(s.record, x)
	return s.showsAtMost(over/s.N, s.N, alpha)
}

// AtMostStill says what AtMost says, and whether it would still hold if the worst twentieth of the record came once more,
// with what it has beyond usual ordinary twentieths and the three standard deviations that chance would give it. It is for
// records that rest on few bursts of trouble: their number is an accident, and where it is small by accident, so is the
// design effect. Early looks are asked for more, by a smaller usual.
func (s *Quantile) AtMostStill(x, alpha, usual float64) bool {
	_, over := OverAll(s.record, x)
	if s.Cells >= ManyBatches {
		list := batches(s.record, x, ManyBatches)
		worst := slices.MaxFunc(list, func(a, b batch) int { return cmp.Compare(a.over, b.over) })
		ordinary := over / ManyBatches
		over += max(0, worst.over-usual*ordinary-3*math.Sqrt(ordinary))
	}
	return s.showsAtMost(min(1, over/s.N), s.N, alpha)
}

func (s *Quantile) showsAtMost(share, total, alpha float64) bool {
	n := effective(total, s.Effect, s.df, alpha)
	return AtLeast(n-share*n, n, s.Q) <= alpha
}

// Above says whether it is shown, with error probability alpha, that the quantile is above x.
func (s *Quantile) Above(x, alpha float64) bool {
	over, _ := OverAll(s.record, x)
	return s.showsAbove(over/s.N, s.N, alpha)
}

func (s *Quantile) showsAbove(share, total, alpha float64) bool {
	n := effective(total, s.Effect, s.df, alpha)
	return AtLeast(share*n, n, 1-s.Q) <= alpha
}

// Share is the share of values above x with its two one-sided confidence bounds, each with error probability alpha.
func (s *Quantile) Share(x, alpha float64) (share, lower, upper float64) {
	sure, possible := OverAll(s.record, x)
	n := s.Effective(alpha)
	return sure / s.N, LowerProportion(sure/s.N*n, n, alpha), UpperProportion(possible/s.N*n, n, alpha)
}

// Settles estimates how many values, in all, it would take until either AtMost or Above holds at x, if the link went on as
// it was. ok is false when the share of values above x is so near 1−q that a hundred times as many would not do.
func (s *Quantile) Settles(x, alpha float64) (total float64, ok bool) {
	sure, possible := OverAll(s.record, x)
	low, high := max(s.N, 1), max(s.N, 1)*100
	settled := func(n float64) bool {
		return s.showsAtMost(possible/s.N, n, alpha) || s.showsAbove(sure/s.N, n, alpha)
	}
	if s.N == 0 || !settled(high) {
		return 0, false
	}
	return math.Ceil(bisect(low, high, settled)), true
}

// PValue is the smallest error probability at which holds is true, for a test that is monotone in it; 1 when it is true
// nowhere below one half.
func PValue(holds func(alpha float64) bool) float64 {
	const least = 1e-12
	if !holds(0.4999) {
		return 1
	}
	if holds(least) {
		return least
	}
	low, high := math.Log(least), math.Log(0.4999)
	for range 40 {
		middle := (low + high) / 2
		if holds(math.Exp(middle)) {
			high = middle
		} else {
			low = middle
		}
	}
	return math.Exp(high)
}
