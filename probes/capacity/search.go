package capacity

import "time"

// The parameters of the search, as RFC 9097 section 8.1 and its table of defaults have them.
const (
	feedbackInterval = 50 * time.Millisecond // FT
	lossThreshold    = 10                    // sequence errors in one interval that are let pass
	lowThreshold     = 30 * time.Millisecond // below this delay range the rate goes up
	highThreshold    = 90 * time.Millisecond // above this one it goes down
	fastSteps        = 10                    // of the table at once, until congestion is confirmed
	resetFactor      = 3                     // fast steps down when it is
	confirmations    = 3                     // bad feedbacks in a row that confirm congestion
	// stopAfter ends a session in which a sender hears or a receiver gets nothing.
	stopAfter = time.Second
	// startLimit is how long the first datagram may take: a modem wakes up, and a path may have a long round trip.
	startLimit = 3 * time.Second
)

// The table of rates: 0.5 Mbit/s, then steps of 1 Mbit/s to 1 Gbit/s, of 100 Mbit/s to 10 Gbit/s, and of 1 Gbit/s beyond.
const (
	gigabitIndex    = 1000
	tenGigabitIndex = gigabitIndex + 90
	lastIndex       = tenGigabitIndex + 90
	megabit         = 1e6 / 8 // in bytes
)

// rateOf is a rate of the table, in IP-layer bytes per second.
func rateOf(index int) float64 {
	switch {
	case index <= 0:
		return 0.5 * megabit
	case index <= gigabitIndex:
		return float64(index) * megabit
	case index <= tenGigabitIndex:
		return (1000 + 100*float64(index-gigabitIndex)) * megabit
	default:
		return (10_000 + 1000*float64(min(index, lastIndex)-tenGigabitIndex)) * megabit
	}
}

// indexOf is the place of the highest rate of the table that is not above the one given; 0 for lower ones.
func indexOf(rate float64) int {
	low, high := 0, lastIndex
	for low < high {
		middle := (low + high + 1) / 2
		if rateOf(middle) <= rate {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// search is the load-rate adjustment algorithm of RFC 9097 appendix A, type B. It is not safe for concurrent use.
type search struct {
	index, highest int
	maxRate        float64 // 0 is no limit
	bad            int     // feedbacks that told of congestion, since the last good one until congestion is confirmed
	// steps counts adjustments down; the search has found the path's limit when there was one.
	steps int
}

func newSearch(initial, maxRate float64) *search {
	s := &search{index: indexOf(initial), highest: lastIndex, maxRate: maxRate}
	if maxRate > 0 {
		s.highest = indexOf(maxRate)
		if rateOf(s.highest) < maxRate {
			s.highest = min(s.highest+1, lastIndex) // the limit itself is then the rate of this step
		}
	}
	s.index = min(s.index, s.highest)
	return s
}

// rate is the sending rate in IP-layer bytes per second.
func (s *search) rate() float64 {
	if r := rateOf(s.index); s.maxRate == 0 || r <= s.maxRate {
		return r
	}
	return s.maxRate
}

// confirmed says whether congestion has been.
func (s *search) confirmed() bool { return s.bad >= confirmations }

// judge adjusts the rate to one feedback. One that tells of no datagram at all is like one that was lost.
func (s *search) judge(f feedback) {
	switch n := f.anomalies(); {
	case n > lossThreshold || f.delayRange > highThreshold || f.received == 0:
		s.down()
	case f.delayRange < lowThreshold:
		s.up()
	}
}

func (s *search) up() {
	if s.confirmed() || s.index >= gigabitIndex {
		s.index = min(s.index+1, s.highest)
		return
	}
	s.bad = 0
	s.index = min(s.index+fastSteps, s.highest)
}

func (s *search) down() {
	s.bad++
	s.steps++
	if s.bad == confirmations && s.index < gigabitIndex {
		s.index = max(0, s.index-resetFactor*fastSteps)
		return
	}
	s.index = max(0, s.index-1)
}

// backoff says when feedback that has not come counts as lost, after the last one that did: w is how many did already.
func backoff(w int) time.Duration {
	return highThreshold + time.Duration(2+w)*feedbackInterval
}
