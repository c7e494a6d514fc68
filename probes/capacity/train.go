package capacity

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

const (
	// trainTime is how long a train is to take on the narrowest link: many scheduling periods of a radio, and more than a
	// shaper lets pass at once.
	trainTime = 100 * time.Millisecond
	// firstTrain and longestTrain are in datagrams. The first finds out how long the others may be.
	firstTrain, longestTrain = 16, 128
	// shortestTrain is the least worth sending, and enough how many of a train must arrive to tell a rate: a shallow queue
	// drops the rest.
	shortestTrain, enough = 8, 4
	// trainSilence is how long nothing may come before the rest of a train counts as lost: one datagram at 100 kbit/s.
	trainSilence = 100 * time.Millisecond
	// trainWait is how long the sender waits for the word that a train has arrived, trainPause how long it rests then.
	trainWait  = time.Second
	trainPause = 50 * time.Millisecond
)

// train is one row of datagrams that were sent back to back, as it arrived.
type train struct {
	id              uint16
	length, arrived uint32
	first, last     time.Time
	// middle is when the first of the second half arrived, and late how many of that half did.
	middle   time.Time
	late     uint32
	complete bool
}

// rate is what the train tells, in bytes per second. A shaper lets the beginning of a train pass at once, as much as its
// bucket holds, so that only the second half counts, unless too little of it arrived.
func (t *train) rate(wire int) (rate float64, ok bool) {
	arrived, spread := t.late, t.last.Sub(t.middle)
	if arrived < enough {
		arrived, spread = t.arrived, t.last.Sub(t.first)
	}
	if arrived < enough || spread <= 0 {
		return 0, false
	}
	return float64(arrived-1) * float64(wire) / spread.Seconds(), true
}

// trains estimates the rate of the narrowest link from how far datagrams that were sent together arrive apart
// (RFC 5136 section 2.3 has the quantity; the method is packet dispersion). It is not safe for concurrent use.
type trains struct {
	wire    int // IP-layer bytes of a datagram
	current train
	ended   train // the latest that is complete
	rates   []trainRate
}

// trainRate is what one train told, in IP-layer bytes per second.
type trainRate struct {
	length uint32
	rate   float64
}

// add takes in a load datagram that is no copy.
func (t *trains) add(d datagram, now time.Time) {
	length := binary.BigEndian.Uint32(d.rest[4:])
	switch {
	case d.train > t.current.id:
		t.finish()
		t.current = train{id: d.train, length: length, first: now}
	case d.train < t.current.id || t.current.complete:
		return // a straggler: its train has been judged
	}
	t.current.arrived++
	t.current.last = now
	if place := binary.BigEndian.Uint32(d.rest); place >= t.current.length/2 {
		if t.current.late++; t.current.late == 1 {
			t.current.middle = now
		}
	}
}

// complete says, once for each train, that nothing more of it is to be waited for.
func (t *trains) complete(now time.Time) bool {
	c := &t.current
	if c.id == 0 || c.complete || c.arrived < c.length && now.Sub(c.last) < trainSilence {
		return false
	}
	t.finish()
	return true
}

func (t *trains) finish() {
	c := &t.current
	if c.id == 0 || c.complete {
		return
	}
	c.complete = true
	t.ended = *c
	if rate, ok := c.rate(t.wire); ok && len(t.rates) < maxTrains {
		t.rates = append(t.rates, trainRate{length: c.length, rate: rate})
	}
}

// last is the latest complete train: its number, how many of it arrived and how far the first and the last are apart.
func (t *trains) last() (id uint16, arrived uint32, spread time.Duration) {
	return t.ended.id, t.ended.arrived, t.ended.last.Sub(t.ended.first)
}

// estimate is the median over the trains that are at least half as long as the longest, and its error: how far the
// distribution-free 95 % confidence interval of the median reaches to the farther side. With fewer than six trains, for
// which there is none, it is how far the farthest lies off.
func (t *trains) estimate() (rate, bound float64) {
	longest := uint32(0)
	for _, r := range t.rates {
		longest = max(longest, r.length)
	}
	var rates []float64
	for _, r := range t.rates {
		if r.length*2 >= longest {
			rates = append(rates, r.rate)
		}
	}
	if len(rates) == 0 {
		return 0, 0
	}
	slices.Sort(rates)
	n := len(rates)
	rate = (rates[(n-1)/2] + rates[n/2]) / 2
	rank := medianRank(n)
	return rate, max(rate-rates[rank], rates[n-1-rank]-rate)
}

// medianRank is the largest rank, from 0, such that the values of this rank from both ends enclose the median with at
// least 95 % confidence; 0 where no rank does.
func medianRank(n int) int {
	rank, tail, term := 0, 0., math.Pow(0.5, float64(n))
	for k := range n / 2 { // the tail is P(Bin(n, 1/2) <= k)
		tail += term
		if tail > 0.025 {
			break
		}
		rank = k
		term *= float64(n-k) / float64(k+1)
	}
	return rank
}

// trainLength is how many datagrams the next train has: as many as take trainTime at the rate that the feedback tells,
// within what the budget of bytes leaves for each train; 0 when it leaves none.
func trainLength(f feedback, wire int, budget int64, left int) int {
	n := firstTrain
	if f.spread > 0 && f.arrived >= enough {
		n = int(float64(f.arrived-1) * min(float64(trainTime)/float64(f.spread), longestTrain))
	} else if f.train > 0 && f.arrived >= enough {
		n = longestTrain // it all arrived at once
	}
	n = min(max(n, firstTrain), longestTrain)
	share := int(min(budget/int64(wire)/int64(left), longestTrain))
	if share < shortestTrain {
		return 0
	}
	return min(n, share)
}
