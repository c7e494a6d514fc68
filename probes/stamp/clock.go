package stamp

import "time"

// sessionClock counts from the beginning of a session on the monotonic clock. Everything local is kept in its time, so
// that no step of the wall clock can enter a difference.
type sessionClock struct{ began time.Time }

func newSessionClock() sessionClock { return sessionClock{began: time.Now()} }

// now is the present moment in session time.
func (c sessionClock) now() time.Duration { return time.Since(c.began) }

// time is a moment of session time as the wall clock showed it at the beginning, monotonic reading included.
func (c sessionClock) time(d time.Duration) time.Time { return c.began.Add(d) }

// epoch is the wall clock at session time 0 as it is reckoned now, in nanoseconds since 1970. It changes when the wall
// clock is set.
func (c sessionClock) epoch() int64 {
	now := time.Now()
	return now.UnixNano() - int64(now.Sub(c.began))
}

// clockStep is by how much the wall clock has to be set until it counts as a step. Adjusting its rate moves the
// monotonic clock along with it; what is left is the time between reading one clock and the other.
const clockStep = 10 * time.Millisecond

// stepped returns the present epoch and by how much it moved from a known one, if that is a step. Otherwise it returns
// the known one, so that windows join without a seam.
func (c sessionClock) stepped(known int64) (epoch int64, by time.Duration) {
	// The two clocks are not read at the same instant. A step is there however often one looks; being interrupted
	// between the readings is not.
	for range 3 {
		epoch = c.epoch()
		by = time.Duration(epoch - known)
		if by.Abs() < clockStep {
			return known, 0
		}
	}
	return epoch, by
}
