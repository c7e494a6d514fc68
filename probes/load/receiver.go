package load

import (
	"sync"
	"sync/atomic"
	"time"
)

// Receiver is what all receiving streams of one direction share. On Linux, the kernel drops what arrives unread, and wakes
// a fast stream once in two milliseconds rather than for every segment: what waits in the kernel meanwhile is counted when
// Sweep is called. Received is set before first use; all methods are safe for concurrent use.
type Receiver struct {
	// Received counts what arrived.
	Received *Counter

	waiting atomic.Int64 // the sum of the streams' thresholds
	relaxed atomic.Bool  // so near to the limit that every segment wakes

	mu      sync.Mutex           // is held when waiting or relaxed change
	streams map[*inflow]struct{} // those in Receive
}

// The threshold of a stream is how much must have arrived before it is woken up: two milliseconds' worth, which saves the
// processor most of the work that is not the network's. Below half a gigabit per second there is little to save, and more
// than 2 MiB is not to be had where tcp_rmem has its default of 6 MiB.
const (
	wakeEvery    = 2 * time.Millisecond
	minThreshold = 128 << 10
	maxThreshold = 2 << 20
	rateWindow   = 10 * time.Millisecond // over what the rate of a stream is measured
)

// pace follows the rate of one stream and says which threshold it should have.
type pace struct {
	since time.Time // when the window began
	bytes int64     // that came in it
}

// threshold takes in n bytes that came by now. ok is false while the window lasts. A threshold of 1 wakes for every segment.
func (p *pace) threshold(n int, now time.Time) (bytes int, ok bool) {
	if p.since.IsZero() {
		p.since = now
		return 0, false
	}
	p.bytes += int64(n)
	took := now.Sub(p.since)
	if took < rateWindow {
		return 0, false
	}
	worth := float64(p.bytes) * wakeEvery.Seconds() / took.Seconds()
	p.since, p.bytes = now, 0
	if worth < minThreshold {
		return 1, true
	}
	return int(min(worth, maxThreshold)), true
}

// Count is how many bytes have arrived, what waits in the kernel included, and how long after start. Both are of one moment: a
// reading that a busy machine interrupted is taken again. loose says that each try was interrupted: then the bytes are of some
// moment before the time that is told, and a rate from there on would be too high.
func (r *Receiver) Count(start time.Time) (bytes int64, at time.Duration, loose bool) {
	for range 3 {
		before := time.Since(start)
		r.Sweep()
		bytes, at = r.Received.Total(), time.Since(start)
		if at-before < time.Millisecond {
			return bytes, at, false
		}
	}
	return bytes, at, true
}

// nearLimit says whether what waits uncounted may be what is missing to the limit, and streams still wait for more than a
// segment. Up to there a wake-up is certain to come before all of it has arrived.
func (r *Receiver) nearLimit() bool {
	return !r.relaxed.Load() && r.Received.Left() < 2*r.waiting.Load()+2*maxThreshold
}
