package probes

import "math"

// Over is how many values are surely above x, and how many may be: the values of the bucket that x falls into cannot be
// told apart, except by the exact smallest and largest value.
func (h *Hist) Over(x float64) (sure, possible uint64) {
	switch {
	case h.count == 0 || x >= h.max:
		return 0, 0
	case x < h.min:
		return h.count, h.count
	}
	for i, n := range h.Buckets() {
		if histUpper(i-1) >= x {
			sure += n
		}
		if histUpper(i) > x {
			possible += n
		}
	}
	if x < HistZeroThreshold {
		possible += h.zero
	}
	// At least the largest value is above x, and the smallest is not.
	return max(sure, 1), min(possible, h.count-1)
}

// AtRank gives bounds of the value of rank r, 1 ≤ r ≤ Count, when all values are put in ascending order: those of its
// bucket, or the exact value at both ends. An empty histogram gives NaN.
func (h *Hist) AtRank(r uint64) (low, high float64) {
	switch {
	case h.count == 0:
		return math.NaN(), math.NaN()
	case r <= 1:
		return h.min, h.min
	case r >= h.count:
		return h.max, h.max
	case r <= h.zero:
		return h.min, min(HistZeroThreshold, h.max)
	}
	below := h.zero
	for i, n := range h.Buckets() {
		if below += n; below >= r {
			return max(histUpper(i-1), h.min), min(histUpper(i), h.max)
		}
	}
	return h.max, h.max
}
