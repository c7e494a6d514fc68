package stats

import (
	"math"
	"slices"
)

// Record is what was measured, in the order of time, in cells: the smallest pieces whose place in time is known. A cell is
// one sample, or a histogram of the samples of one second. +Inf is a value: a packet that never arrived.
type Record interface {
	// Len is the number of cells.
	Len() int
	// Count is how many values cell i holds.
	Count(i int) float64
	// Over is how many values of cell i are surely above x, and how many may be: a histogram cannot tell inside the
	// bucket that holds x.
	Over(i int, x float64) (sure, possible float64)
	// AtRank gives bounds of the value of rank r, 1 ≤ r ≤ number of values, when all values are put in ascending order.
	AtRank(r float64) (low, high float64)
}

// Values is a Record of single values, each a cell.
type Values struct {
	inTime, ascending []float64
}

// NewValues makes a Record of values in the order of time. It keeps the slice, which nobody may change any more. NaN is
// not allowed.
func NewValues(inTime []float64) *Values {
	ascending := slices.Clone(inTime)
	slices.Sort(ascending)
	return &Values{inTime: inTime, ascending: ascending}
}

// Len implements Record.
func (v *Values) Len() int { return len(v.inTime) }

// Count implements Record.
func (v *Values) Count(int) float64 { return 1 }

// Over implements Record.
func (v *Values) Over(i int, x float64) (sure, possible float64) {
	if v.inTime[i] > x {
		return 1, 1
	}
	return 0, 0
}

// AtRank implements Record. A rank between two whole ones gives both their values.
func (v *Values) AtRank(r float64) (low, high float64) {
	last := len(v.ascending) - 1
	return v.ascending[min(max(int(math.Floor(r))-1, 0), last)], v.ascending[min(max(int(math.Ceil(r))-1, 0), last)]
}

// All returns the values in the order of time. The caller must not change them.
func (v *Values) All() []float64 { return v.inTime }

// Ascending returns the values in ascending order. The caller must not change them.
func (v *Values) Ascending() []float64 { return v.ascending }

// Counts is a Record that has no values, only how many of each cell failed: packets lost in a second, seconds without
// service. Thresholds mean nothing to it; what failed is above any.
type Counts []Count

// Count is a cell of Counts: Over of Of failed. Both may be fractions.
type Count struct{ Over, Of float64 }

// Len implements Record.
func (c Counts) Len() int { return len(c) }

// Count implements Record.
func (c Counts) Count(i int) float64 { return c[i].Of }

// Over implements Record.
func (c Counts) Over(i int, _ float64) (sure, possible float64) { return c[i].Over, c[i].Over }

// AtRank implements Record: 1 among what failed and 0 below.
func (c Counts) AtRank(r float64) (low, high float64) {
	over, of := 0.0, 0.0
	for _, cell := range c {
		over, of = over+cell.Over, of+cell.Of
	}
	if r > of-over {
		return 1, 1
	}
	return 0, 0
}

// Total is the number of values of a record.
func Total(r Record) float64 {
	n := 0.0
	for i := range r.Len() {
		n += r.Count(i)
	}
	return n
}

// OverAll is how many values of the record are surely above x, and how many may be.
func OverAll(r Record, x float64) (sure, possible float64) {
	for i := range r.Len() {
		s, p := r.Over(i, x)
		sure, possible = sure+s, possible+p
	}
	return sure, possible
}
