package stamp

import (
	"sync/atomic"
	"time"
)

// sessionClock counts from the beginning of a session on the monotonic clock. Everything local is kept in its time, so
// that no step of the wall clock can enter a difference. It is safe for concurrent use.
type sessionClock struct {
	began time.Time
	first int64        // the first epoch
	known atomic.Int64 // the present epoch, see epoch
	slept atomic.Int64 // how long the host has slept in all, when it was last asked
}

func newSessionClock() *sessionClock {
	c := &sessionClock{}
	c.begin()
	return c
}

// begin makes the present moment session time 0. Nobody else may use the clock meanwhile.
func (c *sessionClock) begin() {
	c.began = time.Now()
	c.first = c.measure()
	c.known.Store(c.first)
	c.slept.Store(int64(hostSlept()))
}

// now is the present moment in session time.
func (c *sessionClock) now() time.Duration { return time.Since(c.began) }

// epoch is the wall clock at session time 0, in nanoseconds since 1970, as it was last reckoned.
func (c *sessionClock) epoch() int64 { return c.known.Load() }

// time is a moment of session time by a wall clock that showed that epoch. It keeps its monotonic reading unless the
// wall clock was set since the beginning.
func (c *sessionClock) time(at time.Duration, epoch int64) time.Time {
	if epoch == c.first {
		return c.began.Add(at)
	}
	return time.Unix(0, epoch+int64(at))
}

// measure reads both clocks. They cannot be read at the same instant, and the process may be interrupted in between, so
// that of some readings the one that took the least time is used.
func (c *sessionClock) measure() (epoch int64) {
	const readings = 5
	narrowest := time.Duration(1<<63 - 1)
	for range readings {
		before := c.now()
		wall := time.Now().UnixNano()
		width := c.now() - before
		if width < narrowest {
			narrowest, epoch = width, wall-int64(before+width/2)
		}
	}
	return epoch
}

// clockState says whether the wall clock follows a source of time, and its largest error if it does. Package time does not
// know; the host's kernel may, see hostClock. The nil state knows nothing, which is so for emulated networks.
type clockState func() (bound time.Duration, synced bool)

func (s clockState) estimate() errorEstimate {
	if s == nil {
		return newErrorEstimate(0, false, formatNTP)
	}
	bound, synced := s()
	return newErrorEstimate(bound, synced, formatNTP)
}

// clockStep is by how much the wall clock has to be set until it counts as a step. Adjusting its rate moves the
// monotonic clock along with it; what is left is the error of reading them.
const clockStep = time.Millisecond

// disturbance is what can happen to the clocks and around the session during a window.
type disturbance struct {
	stepped time.Duration // by how much the wall clock was set
	slept   time.Duration // how long the host was suspended, which stops the monotonic clock
	surrounding
}

// check reckons the epoch again and says what happened since the last time. Without a step the epoch stays exactly the
// same, so that windows join without a seam.
func (c *sessionClock) check() disturbance {
	var d disturbance
	slept := hostSlept()
	d.slept = slept - time.Duration(c.slept.Swap(int64(slept)))
	epoch := c.measure()
	by := time.Duration(epoch - c.epoch())
	if by.Abs() < clockStep {
		return d
	}
	c.known.Store(epoch)
	// The wall clock goes on while the host sleeps; only what it moved beyond that is a step.
	if by -= d.slept; by.Abs() >= clockStep {
		d.stepped = by
	}
	return d
}
