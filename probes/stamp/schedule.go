package stamp

import (
	"math/rand/v2"
	"time"
)

// slot is one planned packet.
type slot struct {
	at      time.Duration // on the session clock
	counted bool          // false for warm-up
	pause   time.Duration // before it, when it is the first one after a pause

	flow  *flow  // whose frame it belongs to; nil without a pattern
	frame uint32 // number of that frame
	part  int    // place of the packet in the frame, from 0
}

// patience is how much later than planned a packet may still leave without crowding the next one of its kind.
func (s *slot) patience(c *Config) time.Duration {
	if s.flow != nil {
		return s.flow.every / 2
	}
	return c.Interval / 2
}

// schedule plans absolute times, so that a late packet delays none of those behind it.
type schedule struct {
	interval time.Duration
	random   *rand.Rand // draws the gaps; nil for equal ones
	warmup   int
	burst    int             // counted slots between pauses; 0 for no pauses
	idle     []time.Duration // lengths of the pauses, in turn
	count    int             // counted slots; 0 when the end goes by time
	end      time.Duration   // no slot at or after; 0 when the end goes by count or never comes
	course   *course         // gives the counted slots where a pattern is worked off; nil otherwise

	next  time.Duration
	given int
}

// newSchedule begins at time at.
func newSchedule(c *Config, random *rand.Rand, at time.Duration) *schedule {
	s := &schedule{interval: c.Interval, warmup: c.Warmup, burst: c.Burst, idle: c.Idle.list(), next: at}
	if c.Spacing == poisson {
		s.random = random
	}
	if p := c.pattern(); p != nil {
		s.course = newCourse(p, s.counted())
	}
	switch {
	case c.Window > 0:
	case c.length() > 0:
		s.end = s.counted() + c.length()
	default:
		s.count = c.Count
	}
	return s
}

// counted is when the counted slots begin: equally spaced behind the warm-up.
func (s *schedule) counted() time.Duration { return s.next + time.Duration(s.warmup)*s.interval }

// take returns the next slot; ok is false when there is none.
func (s *schedule) take() (next slot, ok bool) {
	next = slot{counted: s.given >= s.warmup}
	if next.counted && s.course != nil {
		next = s.course.take()
		s.next = next.at
		return next, s.end == 0 || next.at < s.end
	}
	if given := s.given - s.warmup; next.counted && s.burst > 0 && given%s.burst == 0 {
		next.pause = s.idle[given/s.burst%len(s.idle)]
		s.next += next.pause
	}
	next.at = s.next
	if next.counted && (s.count > 0 && s.given-s.warmup >= s.count || s.end > 0 && s.next >= s.end) {
		return slot{}, false
	}
	s.given++
	gap := s.interval
	if next.counted && s.random != nil {
		gap = time.Duration(s.random.ExpFloat64() * float64(s.interval))
	}
	s.next += gap
	return next, true
}
