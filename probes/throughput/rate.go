package throughput

import (
	"math"
	"slices"
	"time"
)

// sample is a receiver's count at one moment, both since the start of the session.
type sample struct {
	at    time.Duration
	bytes int64
	loose bool // the count is of some moment before
}

// series is the samples of one direction in order, without the zero at the start.
type series []sample

// before is the sample ahead of index i.
func (s series) before(i int) sample {
	if i == 0 {
		return sample{}
	}
	return s[i-1]
}

// rate is bytes per second in the interval that sample i ends.
func (s series) rate(i int) float64 {
	p := s.before(i)
	return float64(s[i].bytes-p.bytes) / (s[i].at - p.at).Seconds()
}

func (s series) rates() []float64 {
	rates := make([]float64, len(s))
	for i := range s {
		rates[i] = s.rate(i)
	}
	return rates
}

// The ramp rule, as Kind's help states it. 90 % of the median is where a ramp that ends in a steady rate ends. On a link
// whose rate grows later, the median of the rest lies far above what the link gave at first, and waiting for it would cut
// the slow part off a measurement that is about just that; there, the ramp ends where growth pauses: slow start doubles
// each round trip and would have grown by more than 10 % in a second on any path.
const (
	rampShare  = 0.9
	rampGrowth = 1.1
	rampPause  = time.Second
)

// ramp is how many samples at the start belong to the ramp. It is never all of them.
func (s series) ramp() int {
	rates := s.rates()
	for i := range rates {
		if rates[i] >= rampShare*median(rates[i:]) || s.paused(rates, i) {
			return i
		}
	}
	return 0
}

// paused says whether the rates of the rampPause behind sample i all stay below rampGrowth times its rate. Without so much
// behind it the answer is no. A rate of 0 is no plateau: nothing has begun.
func (s series) paused(rates []float64, i int) bool {
	if rates[i] == 0 {
		return false
	}
	for j := i + 1; j < len(s); j++ {
		if rates[j] >= rampGrowth*rates[i] {
			return false
		}
		if s[j].at-s[i].at >= rampPause {
			return true
		}
	}
	return false
}

// warm is how many samples lie within a warm-up that was set by hand, but not all of them.
func (s series) warm(d time.Duration) int {
	n, _ := slices.BinarySearchFunc(s, d, func(x sample, d time.Duration) int {
		if x.at <= d {
			return -1
		}
		return 1
	})
	return min(n, max(len(s)-1, 0))
}

// mean is the rate over everything behind the first skip samples.
func (s series) mean(skip int) float64 {
	if len(s) == 0 {
		return 0
	}
	first, last := s.before(skip), s[len(s)-1]
	return float64(last.bytes-first.bytes) / (last.at - first.at).Seconds()
}

// moments are the mean and the sample standard deviation of two or more values.
func moments(v []float64) (mean, deviation float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		deviation += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(v)-1))
}

// median is the middle value, the mean of the two middle ones of an even number. v is not changed; it is not empty.
func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
