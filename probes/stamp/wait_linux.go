package stamp

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// sleepWaiter sleeps in the kernel on a thread of its own, which wakes some tens of microseconds late.
type sleepWaiter struct {
	clock *sessionClock
	long  *timerWaiter
	zero  int64 // the kernel's monotonic clock at session time 0, nanoseconds
}

func newSleepWaiter(clock *sessionClock) *sleepWaiter {
	return &sleepWaiter{clock: clock, long: newTimerWaiter(clock), zero: monotonicZero(clock)}
}

// monotonicZero relates the kernel's monotonic clock to session time by the reading that took the least time.
func monotonicZero(clock *sessionClock) (zero int64) {
	narrowest := time.Duration(1<<63 - 1)
	for range 5 {
		before := clock.now()
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			continue // Go's own clock would not work either
		}
		if width := clock.now() - before; width < narrowest {
			narrowest, zero = width, ts.Nano()-int64(before+width/2)
		}
	}
	return zero
}

// hold keeps the goroutine on its thread and lets the kernel wake that thread without slack. Where it refuses, the
// thread wakes up to 50 µs later, which the schedule error shows.
func (w *sleepWaiter) hold() (release func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to the thread's default
		runtime.UnlockOSThread()
	}
}

// asleep is the longest time to sleep in the kernel, where the end of ctx is not seen.
const asleep = 20 * time.Millisecond

func (w *sleepWaiter) until(ctx context.Context, at time.Duration) bool {
	if ahead := at - w.clock.now(); ahead > asleep && !w.long.until(ctx, at-asleep/4) {
		return false
	}
	deadline := unix.NsecToTimespec(w.zero + int64(at))
	for w.clock.now() < at {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil)
		if err != nil && err != unix.EINTR {
			return w.long.until(ctx, at)
		}
	}
	return ctx.Err() == nil
}
