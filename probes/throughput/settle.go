package throughput

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The settle rule: what lies behind the ramp is cut into blocks of a second, or of more seconds where there would be more
// than settleMost of them, and when one more is complete the Student confidence interval of the mean of their rates is
// compared with the tolerance. Rates within a second depend on each other, by a scheduler's bursts, by congestion windows
// and by how a cell shares itself out; those of neighbouring seconds do so much less. The interval is about what the whole
// duration would give, of which a part has been seen: the variance of a mean of n seconds out of N is less by 1 − n/N (the
// finite population correction; Cochran, Sampling Techniques, section 2.6). Who looks until the answer is yes meets one by
// chance more often than who looks once: each look has settleSpent of the error that the confidence allows, by which the
// rates of TestSettledCovers keep to it. TestEarlyStopOnRecordedRates has how well all this fits recorded links; nobody
// foresees a link that is switched off behind three calm seconds.
const (
	settleBlock = time.Second
	settleLeast = 3
	settleMost  = 20
	settleSpent = 0.5
)

// settleRule is what a configuration asks of a rate.
type settleRule struct {
	tolerance, confidence float64
	whole                 time.Duration // of the test
}

// settling is how far one direction has come by the rule.
type settling struct {
	blocks int // that the latest look had
	yes    bool
}

// look takes in the samples so far, of which the first skip are left out, and says whether the rate has settled. It judges
// when one more block is complete: who looks at every moment meets a yes by chance.
func (l *settling) look(r settleRule, s series, skip int) bool {
	rates := s.blocks(skip, settleBlock)
	if len(rates) <= l.blocks {
		return l.yes
	}
	l.blocks = len(rates)
	if each := (len(rates) + settleMost - 1) / settleMost; each > 1 {
		rates = s.blocks(skip, time.Duration(each)*settleBlock)
	}
	start, end := s.before(skip).at, s[len(s)-1].at
	left := 1 - float64(end-start)/float64(max(r.whole, end)-start)
	l.yes = r.met(rates, left)
	return l.yes
}

// met says whether the mean of the rates is known well enough when the share left of what they are a sample of is still to
// come.
func (r settleRule) met(rates []float64, left float64) bool {
	if len(rates) < settleLeast {
		return false
	}
	mean, deviation := moments(rates)
	half := studentQuantile(1-settleSpent*(1-r.confidence)/2, len(rates)-1) * deviation / math.Sqrt(float64(len(rates))) * math.Sqrt(left)
	return mean > 0 && half <= r.tolerance*mean
}

// blocks are the mean rates of the whole blocks of that length behind the first skip samples, cut where the nearest samples
// are. Two that one sample ends are one.
func (s series) blocks(skip int, length time.Duration) []float64 {
	var rates []float64
	from := s.before(skip)
	for next := from.at + length; ; next += length {
		i, _ := slices.BinarySearchFunc(s, next, func(x sample, at time.Duration) int { return cmp.Compare(x.at, at) })
		if i > 0 && next-s[i-1].at < settleSlack {
			i--
		}
		if i == len(s) {
			return rates
		}
		if s[i] != from {
			rates = append(rates, float64(s[i].bytes-from.bytes)/(s[i].at-from.at).Seconds())
			from = s[i]
		}
	}
}

// settleSlack is how early a sample may be that ends a block: by what a busy machine moves two ticks towards each other.
const settleSlack = 20 * time.Millisecond

// studentQuantile is the quantile p, from 0.5 to 0.9999, of Student's t distribution.
func studentQuantile(p float64, freedom int) float64 {
	low, high := 0.0, 1.0
	for studentCDF(high, freedom) < p {
		low, high = high, 2*high
	}
	for range 60 {
		middle := (low + high) / 2
		if studentCDF(middle, freedom) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// studentCDF is Student's t distribution for t ≥ 0 (Abramowitz and Stegun 26.7.3 and 26.7.4).
func studentCDF(t float64, freedom int) float64 {
	theta := math.Atan(t / math.Sqrt(float64(freedom)))
	sin, cos2 := math.Sin(theta), math.Cos(theta)*math.Cos(theta)
	sum, term := 0.0, 1.0
	if freedom%2 == 1 {
		term = math.Cos(theta)
	}
	for i := freedom % 2; i <= freedom-2; i += 2 {
		sum += term
		term *= cos2 * float64(i+1) / float64(i+2)
	}
	if freedom%2 == 1 {
		return 0.5 + (theta+sin*sum)/math.Pi
	}
	return 0.5 + sin*sum/2
}
