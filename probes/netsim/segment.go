package netsim

import (
	"errors"
	"time"
)

const (
	// streamShare is the part of a queue that streams fill. They would keep it full to the last byte otherwise, as no
	// congestion control backs off, and no datagram would ever find room beside them.
	streamShare = 0.75
	// minimumRTO is what a stream waits, on top of the round trip, before it sends a lost segment again. Linux uses 200 ms.
	minimumRTO = 200 * time.Millisecond
	// synRTO is the wait before the first repetition of a SYN (RFC 6298 section 2).
	synRTO = time.Second
	// maxTries ends a connection that gets nothing through. Linux gives up on a SYN after 6 repetitions and on data after
	// 15 (tcp(7), tcp_syn_retries and tcp_retries2).
	maxSYNTries, maxTries = 7, 16
	// maxBackoff limits one wait between two tries (RFC 6298 section 2.5 allows a limit of 60 s or more).
	maxBackoff = 120 * time.Second
)

var errGivenUp = errors.New("no answer after the last retransmission")

// attempt is how a stream segment tries to get through.
type attempt struct {
	rto   time.Duration
	tries int
}

// segmentSize is how much of a stream goes into the link at once: a millisecond's worth, so that datagrams find their
// turn in between, in whole TCP segments.
func (l *Link) segmentSize(now time.Duration) int {
	const mss = 1448 // Ethernet MTU less IPv4 and TCP headers with time stamps
	s := l.profile.At(now)
	if s.Rate <= 0 {
		return 32 * mss
	}
	return min(max(int(s.Rate/1000)/mss, 1), 32) * mss
}

// segment passes stream bytes through the link. Where the queue has no room, wait is how long until it has, and nothing
// was passed. Otherwise arrival is when the bytes come out: lost ones are sent again after the attempt's time-out, doubled
// each time, until one gets through; repetitions take no capacity. An outage is a loss, and the share of loss is per segment,
// bursts averaged. Segments without bytes (SYN, FIN, RST) always find room.
func (l *Link) segment(now time.Duration, size int, a attempt) (arrival, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain(now)
	if wait := l.room(now, size); wait > 0 && size > 0 {
		return 0, wait, nil
	}
	n := l.segments
	l.segments++
	begin, s := l.turn(now)
	sent := l.transmit(begin, size, s)
	backoff := a.rto
	if backoff == 0 {
		backoff = minimumRTO + 2*s.Delay
	}
	for try := range uint64(a.tries) {
		if !s.Down && uniform(l.seed, n, drawSegmentLoss+purpose(try)<<8) >= s.meanLoss() {
			return sent + s.Delay + s.jitter(l.seed, n, drawSegmentJitter), 0, nil
		}
		sent += backoff
		backoff = min(2*backoff, maxBackoff)
		s = l.profile.At(sent)
		sent += s.Stall
	}
	return 0, 0, errGivenUp
}

// room is how long a stream waits until its share of the queue has room for size bytes; 0 when it has.
func (l *Link) room(now time.Duration, size int) time.Duration {
	s := l.profile.At(now)
	if s.Queue <= 0 || l.backlog == 0 {
		return 0
	}
	limit := int(streamShare * float64(s.Queue))
	left := l.backlog
	for _, w := range l.waiting {
		if left == 0 || left+size <= limit {
			break
		}
		left -= w.size
		if left == 0 || left+size <= limit {
			return max(w.done-now, 1)
		}
	}
	return 0
}

// meanLoss is the long-run share of packets lost, bursts included.
func (s *State) meanLoss() float64 {
	b := s.Burst
	if b.Enter <= 0 {
		return s.Loss
	}
	bad := b.Enter / (b.Enter + b.Leave)
	return (1-bad)*s.Loss + bad*b.Loss
}
