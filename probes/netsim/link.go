package netsim

import (
	"sync"
	"time"
)

// Link is one direction of a path: the state of its queue, and the counters that make its decisions reproducible.
// Whether datagram n (counted from 0 over everything that enters the link) is lost by chance, doubled or held back, and
// its jitter, depend only on the seed, on n and on the profile, never on who sends or when. Losses to outages, to a full
// queue and to the MTU depend on time and size.
// A Link is safe for concurrent use; datagrams are numbered in the order in which they come in.
type Link struct {
	profile Profile
	seed    uint64
	start   time.Time

	mu       sync.Mutex
	n        uint64        // datagrams that came in
	segments uint64        // stream segments that came in; they have their own numbers and draws
	bad      bool          // state of the Gilbert-Elliott chain
	free     time.Duration // when the transmitter is done with all that was accepted
	last     time.Duration // arrival of the latest datagram that keeps its place
	waiting  []waiting     // what was accepted and is not sent yet, oldest first
	backlog  int           // bytes in waiting
	stats    LinkStats
}

// waiting is a packet in the queue: its size, and when its last byte has left.
type waiting struct {
	done time.Duration
	size int
}

// LinkStats counts what became of the datagrams and the stream bytes that entered a link.
// Sent = Delivered − Duplicated + Lost + Outage + Overflow + Oversize.
type LinkStats struct {
	Sent       uint64 // datagrams that came in
	Delivered  uint64 // copies that go out at the far end, or will
	Lost       uint64 // lost by chance
	Outage     uint64 // lost in an outage
	Overflow   uint64 // found the queue full
	Oversize   uint64 // larger than the MTU
	Duplicated uint64 // second copies
	Reordered  uint64 // held back
	Bytes      uint64 // payload of datagrams and streams that was sent, lost or not
}

// NewLink makes a link whose time begins at start.
func NewLink(seed uint64, start time.Time, p Profile) *Link {
	return &Link{profile: p, seed: seed, start: start}
}

// Stats returns the counters so far.
func (l *Link) Stats() LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Lost says whether datagram n (from 0) is lost by chance, for a link whose Loss and Burst do not change over time.
// It takes time in proportion to n when Burst is set.
func (l *Link) Lost(n uint64) bool {
	s := l.profile.At(0)
	bad := false
	if s.Burst.Enter > 0 {
		for i := range n + 1 {
			bad = s.chain(l.seed, i, bad)
		}
	}
	return s.lost(l.seed, n, bad)
}

// Losses lists which of the first count datagrams are lost by chance, for a link whose Loss and Burst do not change over
// time.
func (l *Link) Losses(count uint64) []uint64 {
	s := l.profile.At(0)
	var lost []uint64
	bad := false
	for n := range count {
		bad = s.chain(l.seed, n, bad)
		if s.lost(l.seed, n, bad) {
			lost = append(lost, n)
		}
	}
	return lost
}

// chain steps the Gilbert-Elliott chain before datagram n.
func (s *State) chain(seed, n uint64, bad bool) bool {
	u := uniform(seed, n, drawChain)
	if bad {
		return u >= s.Burst.Leave
	}
	return u < s.Burst.Enter
}

func (s *State) lost(seed, n uint64, bad bool) bool {
	share := s.Loss
	if bad {
		share = s.Burst.Loss
	}
	return uniform(seed, n, drawLoss) < share
}

// arrivals are the moments, reckoned from the link's start, at which the copies of a datagram come out.
type arrivals struct {
	at    [2]time.Duration
	count int
}

// Datagram passes one datagram through the link and returns when its copies come out at the other end: none when it is
// lost, two when it is doubled.
func (l *Link) Datagram(now time.Time, size int) []time.Time {
	a := l.datagram(now.Sub(l.start), size)
	times := make([]time.Time, a.count)
	for i := range times {
		times[i] = l.start.Add(a.at[i])
	}
	return times
}

func (l *Link) datagram(now time.Duration, size int) arrivals {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.n
	l.n++
	l.stats.Sent++
	s := l.profile.At(now)
	l.bad = s.chain(l.seed, n, l.bad)
	switch {
	case s.MTU > 0 && size > s.MTU:
		l.stats.Oversize++
		return arrivals{}
	case s.Down:
		l.stats.Outage++
		return arrivals{}
	}
	l.drain(now)
	if s.Queue > 0 && l.backlog > 0 && l.backlog+size > s.Queue {
		l.stats.Overflow++
		return arrivals{}
	}
	begin, s := l.turn(now)
	if s.Down {
		l.stats.Outage++
		return arrivals{}
	}
	sent := l.transmit(begin, size, s)
	if s.lost(l.seed, n, l.bad) {
		l.stats.Lost++
		return arrivals{}
	}
	return l.arrive(n, sent, s)
}

// arrive draws when datagram n comes out, and whether twice.
func (l *Link) arrive(n uint64, sent time.Duration, s State) arrivals {
	at := sent + s.Delay + s.jitter(l.seed, n, drawJitter)
	if !s.Overtake {
		at = max(at, l.last)
	}
	if uniform(l.seed, n, drawReorder) < s.Reorder {
		l.stats.Reordered++
		at += s.ReorderBy
	} else {
		l.last = max(at, l.last)
	}
	a := arrivals{at: [2]time.Duration{at, at}, count: 1}
	if uniform(l.seed, n, drawDuplicate) < s.Duplicate {
		l.stats.Duplicated++
		a.count = 2
	}
	l.stats.Delivered += uint64(a.count)
	return a
}

// turn is when a packet that comes in now begins to be sent, and the link's state then.
func (l *Link) turn(now time.Duration) (time.Duration, State) {
	begin := max(now, l.free)
	s := l.profile.At(begin)
	for range 8 { // stalls may follow one another; a profile that stalls for ever must not hang the link
		if s.Stall <= 0 {
			break
		}
		begin += s.Stall
		s = l.profile.At(begin)
	}
	return begin, s
}

// transmit occupies the link from begin for as long as size bytes take, and returns when the last byte has left.
func (l *Link) transmit(begin time.Duration, size int, s State) time.Duration {
	done := begin
	if s.Rate > 0 {
		done += time.Duration(float64(size) / s.Rate * float64(time.Second))
	}
	l.free = max(done, l.free)
	l.stats.Bytes += uint64(size)
	l.waiting = append(l.waiting, waiting{done: done, size: size})
	l.backlog += size
	return done
}

// drain forgets what has left by now.
func (l *Link) drain(now time.Duration) {
	gone := 0
	for gone < len(l.waiting) && l.waiting[gone].done <= now {
		l.backlog -= l.waiting[gone].size
		gone++
	}
	if gone > 0 {
		l.waiting = append(l.waiting[:0], l.waiting[gone:]...)
	}
}
