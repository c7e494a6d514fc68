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

// The settle rule: what lies behind the ramp is cut into ten batches of equal length, which grow with the measurement, so
// that the rates of neighbouring batches come to depend on each other less and less; the rate has settled when the
// Student confidence interval of their mean is narrow enough. Batches below 200 ms would see the bursts of a scheduler
// and of a congestion window, not the link. Who looks at each interval until the answer is yes will also meet a yes by
// chance, so that five in a row are asked for; the rates of TestSettledCovers then settle within the tolerance of the truth
// in more than 90 % of the runs.
const (
	settleBatches  = 10
	settleMinBatch = 200 * time.Millisecond
	settleLooks    = 5
)

// looks counts the times in a row that the rate was found settled.
type looks int

// enough takes in one more look and says whether it is time to stop.
func (l *looks) enough(settled bool) bool {
	*l++
	if !settled {
		*l = 0
	}
	return *l >= settleLooks
}

// settled says whether the mean rate behind the first skip samples is known to within the share tolerance to either side
// with that confidence.
func (s series) settled(skip int, tolerance, confidence float64) bool {
	size := (len(s) - skip) / settleBatches
	if size == 0 {
		return false
	}
	first := len(s) - size*settleBatches
	rates := make([]float64, settleBatches)
	for i := range rates {
		from, to := s.before(first+i*size), s[first+(i+1)*size-1]
		if to.at-from.at < settleMinBatch {
			return false
		}
		rates[i] = float64(to.bytes-from.bytes) / (to.at - from.at).Seconds()
	}
	mean, deviation := moments(rates)
	half := studentQuantile((1+confidence)/2, settleBatches-1) * deviation / math.Sqrt(settleBatches)
	return mean > 0 && half <= tolerance*mean
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

// studentQuantile is the quantile p > 0.5 of Student's t distribution, by the expansion around the normal quantile
// (Abramowitz and Stegun 26.7.5); with 9 degrees of freedom it is off by less than 0.3 % up to p = 0.995.
func studentQuantile(p float64, freedom int) float64 {
	x, n := math.Sqrt2*math.Erfinv(2*p-1), float64(freedom)
	x2 := x * x
	g1 := x * (x2 + 1) / 4
	g2 := x * (5*x2*x2 + 16*x2 + 3) / 96
	g3 := x * (3*x2*x2*x2 + 19*x2*x2 + 17*x2 - 15) / 384
	g4 := x * (79*x2*x2*x2*x2 + 776*x2*x2*x2 + 1482*x2*x2 - 1920*x2 - 945) / 92160
	return x + g1/n + g2/(n*n) + g3/(n*n*n) + g4/(n*n*n*n)
}
