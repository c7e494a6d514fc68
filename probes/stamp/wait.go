package stamp

import (
	"context"
	"time"
)

// waiter waits for moments of session time. until belongs to the goroutine that sends, which ends with the session.
type waiter interface {
	// until blocks until the moment has come, not at all when it has passed, or until ctx ends: then it returns false.
	until(ctx context.Context, at time.Duration) bool
	// thread says what had to be done about the thread that sends; empty when nothing had. It is safe for concurrent use.
	thread() string
	close() error
}

// timerWaiter waits with Go's timers, which wake up to about a millisecond late.
type timerWaiter struct {
	clock *sessionClock
	timer *time.Timer
}

func newTimerWaiter(clock *sessionClock) *timerWaiter {
	timer := time.NewTimer(0)
	timer.Stop()
	return &timerWaiter{clock: clock, timer: timer}
}

func (w *timerWaiter) until(ctx context.Context, at time.Duration) bool {
	ahead := at - w.clock.now()
	if ahead <= 0 {
		return ctx.Err() == nil
	}
	w.timer.Reset(ahead)
	select {
	case <-w.timer.C:
		return true
	case <-ctx.Done():
		w.timer.Stop()
		return false
	}
}

func (w *timerWaiter) thread() string { return "" }

func (w *timerWaiter) close() error { return nil }
