package stamp

import (
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarmWaiter waits with a timer of the kernel that the runtime's poller watches. It wakes some tens of microseconds
// late, where Go's own timers round up to the next millisecond, and unlike a sleeping system call it keeps no processor
// of the scheduler from being idle.
type alarmWaiter struct {
	clock *sessionClock
	long  *timerWaiter
	alarm *os.File // a timerfd
	fd    int
	zero  int64 // the kernel's monotonic clock at session time 0, nanoseconds
}

// newHostWaiter returns the best waiter that the host has.
func newHostWaiter(clock *sessionClock, log *slog.Logger) waiter {
	long := newTimerWaiter(clock)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		log.Debug("packets are sent on time as well as Go's timers can", "reason", os.NewSyscallError("timerfd_create", err).Error())
		return long
	}
	return &alarmWaiter{clock: clock, long: long, alarm: os.NewFile(uintptr(fd), "timerfd"), fd: fd, zero: monotonicZero(clock)}
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

// blind is the longest wait during which the end of ctx goes unseen.
const blind = 20 * time.Millisecond

func (w *alarmWaiter) until(ctx context.Context, at time.Duration) bool {
	if ahead := at - w.clock.now(); ahead > blind && !w.long.until(ctx, at-blind/4) {
		return false
	}
	for w.clock.now() < at {
		if w.wait(at) != nil {
			return w.long.until(ctx, at)
		}
	}
	return ctx.Err() == nil
}

// wait blocks until the kernel's timer for that moment has fired.
func (w *alarmWaiter) wait(at time.Duration) error {
	moment := unix.ItimerSpec{Value: unix.NsecToTimespec(w.zero + int64(at))}
	if err := unix.TimerfdSettime(w.fd, unix.TFD_TIMER_ABSTIME, &moment, nil); err != nil {
		return err
	}
	var expirations [8]byte
	_, err := w.alarm.Read(expirations[:])
	return err
}

func (w *alarmWaiter) close() error { return w.alarm.Close() }
