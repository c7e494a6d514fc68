package probes

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// HistSchema is the resolution of every Hist: a bucket is 2^(1/16) wide, 4.4 %, so that a quantile, given as the
// geometric middle of its bucket, is at most 2.2 % off. It is a schema of Prometheus native histograms.
const HistSchema = 4

// HistZeroThreshold is the width of the zero bucket in seconds, just under a nanosecond. Smaller and negative values
// count as zero.
const HistZeroThreshold = 1.0 / (1 << 30)

// Hist is a histogram with base-2 exponential buckets that are Prometheus native-histogram buckets: bucket i holds the
// values in (2^((i-1)/16), 2^(i/16)]. Count, sum, smallest and largest value are exact. Merging loses nothing, so windows
// and agents are combined as histograms, never by averaging quantiles. The zero Hist is empty and ready.
// It is not safe for concurrent use.
type Hist struct {
	count, zero   uint64
	sum, min, max float64
	first         int32    // bucket index of buckets[0]
	buckets       []uint64 // dense between the lowest and the highest bucket in use
}

// bounds[i] is the upper bound of the i-th bucket among those of [0.5, 1).
var histBounds = func() (b [1 << HistSchema]float64) {
	for i := range b {
		b[i] = 0.5 * math.Pow(2, float64(i)/(1<<HistSchema))
	}
	return b
}()

// histIndex is the bucket that a value above HistZeroThreshold falls into.
func histIndex(v float64) int32 {
	frac, exp := math.Frexp(v)
	i, _ := slices.BinarySearch(histBounds[:], frac)
	return int32(i + (exp-1)<<HistSchema)
}

// histUpper is the upper bound of a bucket.
func histUpper(i int32) float64 {
	return math.Ldexp(histBounds[i&(1<<HistSchema-1)], int(i>>HistSchema)+1)
}

// Add counts one value. NaN and infinities are not values and are ignored.
func (h *Hist) Add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if h.count == 0 || v < h.min {
		h.min = v
	}
	if h.count == 0 || v > h.max {
		h.max = v
	}
	h.count++
	h.sum += v
	if v <= HistZeroThreshold {
		h.zero++
		return
	}
	*h.bucket(min(histIndex(v), maxHistBuckets))++
}

// bucket makes room for bucket i and returns its counter.
func (h *Hist) bucket(i int32) *uint64 {
	switch end := h.first + int32(len(h.buckets)); {
	case len(h.buckets) == 0:
		h.first, h.buckets = i, make([]uint64, 1, 16)
	case i < h.first:
		h.buckets = slices.Insert(h.buckets, 0, make([]uint64, h.first-i)...)
		h.first = i
	case i >= end:
		h.buckets = append(h.buckets, make([]uint64, i-end+1)...)
	}
	return &h.buckets[i-h.first]
}

// Merge adds all of other's values to h.
func (h *Hist) Merge(other *Hist) {
	if other == nil || other.count == 0 {
		return
	}
	if h.count == 0 || other.min < h.min {
		h.min = other.min
	}
	if h.count == 0 || other.max > h.max {
		h.max = other.max
	}
	h.count += other.count
	h.zero += other.zero
	h.sum += other.sum
	for i, n := range other.Buckets() {
		*h.bucket(i) += n
	}
}

// Clone returns an independent copy.
func (h *Hist) Clone() *Hist {
	c := *h
	c.buckets = slices.Clone(h.buckets)
	return &c
}

// Equal says whether both hold the same counts and the same exact figures.
func (h *Hist) Equal(other *Hist) bool { return h.Text() == other.Text() }

// Count is the number of values.
func (h *Hist) Count() uint64 { return h.count }

// Zero is the number of values of at most HistZeroThreshold.
func (h *Hist) Zero() uint64 { return h.zero }

// Sum is the exact sum of the values.
func (h *Hist) Sum() float64 { return h.sum }

// Min is the smallest value, exactly; 0 when empty.
func (h *Hist) Min() float64 { return h.min }

// Max is the largest value, exactly; 0 when empty.
func (h *Hist) Max() float64 { return h.max }

// Mean is the exact mean; 0 when empty.
func (h *Hist) Mean() float64 {
	if h.count == 0 {
		return 0
	}
	return h.sum / float64(h.count)
}

// Buckets yields the index and the count of each bucket that is not empty, lowest first.
func (h *Hist) Buckets() iter.Seq2[int32, uint64] {
	return func(yield func(int32, uint64) bool) {
		for i, n := range h.buckets {
			if n > 0 && !yield(h.first+int32(i), n) {
				return
			}
		}
	}
}

// Quantile is the nearest-rank quantile: the smallest value that at least q of the values do not exceed, for q in
// [0, 1]. It is at most 2.2 % off, exact at both ends, and 0 when empty.
func (h *Hist) Quantile(q float64) float64 {
	if h.count == 0 {
		return 0
	}
	// The small slack keeps 0.95·100 from becoming rank 96 by rounding.
	rank := uint64(math.Ceil(q*float64(h.count) - 1e-9))
	switch {
	case rank <= 1:
		return h.min
	case rank >= h.count:
		return h.max
	case rank <= h.zero:
		return max(0, h.min)
	}
	below := h.zero
	for i, n := range h.Buckets() {
		if below += n; below >= rank {
			middle := math.Sqrt(histUpper(i-1) * histUpper(i))
			return min(max(middle, h.min), h.max)
		}
	}
	return h.max
}

// Text is the compact form in which a Hist travels through a store as one string field:
//
//	4;count;sum;min;max;zero;i:n,i:n,…
//
// The first number is the schema; bucket indices after the first are relative to the one before. ParseHist reads it back
// without loss.
func (h *Hist) Text() string {
	b := make([]byte, 0, 64+6*len(h.buckets))
	b = append(b, strconv.Itoa(HistSchema)...)
	b = strconv.AppendUint(append(b, ';'), h.count, 10)
	for _, v := range []float64{h.sum, h.min, h.max} {
		b = strconv.AppendFloat(append(b, ';'), v, 'g', -1, 64)
	}
	b = strconv.AppendUint(append(b, ';'), h.zero, 10)
	b = append(b, ';')
	previous := int32(0)
	for i, n := range h.Buckets() {
		if b[len(b)-1] != ';' {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(i-previous), 10)
		b = strconv.AppendUint(append(b, ':'), n, 10)
		previous = i
	}
	return string(b)
}

// maxHistBuckets is the highest bucket index, 2^64 at 16 buckets an octave; larger values count there. It bounds what a
// stranger's text can make us allocate.
const maxHistBuckets = 1024

// ParseHist reads what Text wrote. It refuses anything that no Hist could have written: another schema, counts that do
// not add up, indices out of range.
func ParseHist(text string) (*Hist, error) {
	parts := strings.Split(text, ";")
	if len(parts) != 7 || parts[0] != strconv.Itoa(HistSchema) {
		return nil, fmt.Errorf("histogram: want %d;count;sum;min;max;zero;buckets", HistSchema)
	}
	var h Hist
	var errs [5]error
	h.count, errs[0] = strconv.ParseUint(parts[1], 10, 64)
	h.sum, errs[1] = strconv.ParseFloat(parts[2], 64)
	h.min, errs[2] = strconv.ParseFloat(parts[3], 64)
	h.max, errs[3] = strconv.ParseFloat(parts[4], 64)
	h.zero, errs[4] = strconv.ParseUint(parts[5], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	if err := h.parseBuckets(parts[6]); err != nil {
		return nil, err
	}
	return &h, h.validate()
}

func (h *Hist) parseBuckets(text string) error {
	if text == "" {
		return nil
	}
	i := int64(0)
	for n, pair := range strings.Split(text, ",") {
		gap, number, _ := strings.Cut(pair, ":")
		step, err1 := strconv.ParseInt(gap, 10, 32)
		count, err2 := strconv.ParseUint(number, 10, 64)
		i += step
		switch {
		case err1 != nil || err2 != nil || count == 0 || (n > 0 && step <= 0):
			return fmt.Errorf("histogram: bucket %q: want a growing index and a count, like 3:12", pair)
		case i < -maxHistBuckets || i > maxHistBuckets:
			return fmt.Errorf("histogram: bucket index %d is out of range", i)
		}
		*h.bucket(int32(i)) += count
	}
	return nil
}

func (h *Hist) validate() error {
	total := h.zero
	for _, n := range h.Buckets() {
		if total+n < total {
			return errors.New("histogram: counts overflow")
		}
		total += n
	}
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	switch {
	case total != h.count:
		return fmt.Errorf("histogram: buckets hold %d values, the count says %d", total, h.count)
	case bad(h.sum) || bad(h.min) || bad(h.max) || h.min > h.max:
		return errors.New("histogram: sum, min and max do not fit together")
	}
	return nil
}

// histJSON is the form of a Hist in JSON: buckets are [index, count] pairs.
type histJSON struct {
	Schema int        `json:"schema"`
	Count  uint64     `json:"count"`
	Sum    float64    `json:"sum"`
	Min    float64    `json:"min"`
	Max    float64    `json:"max"`
	Zero   uint64     `json:"zero"`
	Pairs  [][2]int64 `json:"buckets"`
}

// MarshalJSON implements json.Marshaler.
func (h *Hist) MarshalJSON() ([]byte, error) {
	j := histJSON{Schema: HistSchema, Count: h.count, Sum: h.sum, Min: h.min, Max: h.max, Zero: h.zero, Pairs: [][2]int64{}}
	for i, n := range h.Buckets() {
		j.Pairs = append(j.Pairs, [2]int64{int64(i), int64(n)})
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements json.Unmarshaler, with the checks of ParseHist.
func (h *Hist) UnmarshalJSON(text []byte) error {
	var j histJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	if j.Schema != HistSchema {
		return fmt.Errorf("histogram: schema %d is not %d", j.Schema, HistSchema)
	}
	fresh := Hist{count: j.Count, sum: j.Sum, min: j.Min, max: j.Max, zero: j.Zero}
	for _, p := range j.Pairs {
		if p[0] < -maxHistBuckets || p[0] > maxHistBuckets || p[1] <= 0 {
			return fmt.Errorf("histogram: bucket %v is out of range", p)
		}
		*fresh.bucket(int32(p[0])) += uint64(p[1])
	}
	if err := fresh.validate(); err != nil {
		return err
	}
	*h = fresh
	return nil
}
