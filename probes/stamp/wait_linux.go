package stamp

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
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
	// urgent is to have a thread of its own for the goroutine that sends, which the kernel runs before all others.
	urgent bool
}

// newHostWaiter returns the best waiter that the host has for packets at that interval, and says what it is.
func newHostWaiter(clock *sessionClock, interval time.Duration, log *slog.Logger) (waiter, string) {
	long := newTimerWaiter(clock)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		log.Debug("packets are sent on time as well as Go's timers can", "reason", os.NewSyscallError("timerfd_create", err).Error())
		return long, "ordinary: no timer of the kernel"
	}
	w := &alarmWaiter{clock: clock, long: long, alarm: os.NewFile(uintptr(fd), "timerfd"), fd: fd, zero: monotonicZero(clock)}
	if interval > blind {
		return w, "ordinary"
	}
	if err := mayHurry(); err != nil {
		return w, "ordinary: " + err.Error()
	}
	w.urgent = true
	return w, "real-time"
}

// mayHurry says why the process may not have threads that run before all others; root may, and who has CAP_SYS_NICE or a
// limit RLIMIT_RTPRIO of 1 or more.
//
// Liveness: the goroutine returns once it has asked, and mayHurry waits for it. Its thread ends with it.
func mayHurry() error {
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		answer <- hurry()
	}()
	return <-answer
}

// hurry makes the kernel run the calling thread before all that have no deadline. A goroutine that is locked to it takes
// it along when it ends.
func hurry() error {
	if runtime.GOOS == "android" {
		return errors.New("not asked for, as Android ends applications that ask")
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &attr, 0))
}

func (w *alarmWaiter) claim() {
	if !w.urgent {
		return
	}
	runtime.LockOSThread()
	w.urgent = hurry() == nil
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
	wait := w.wait
	if w.urgent {
		wait = w.sleep
	}
	for w.clock.now() < at {
		if wait(at) != nil {
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

// sleep blocks the thread itself: the runtime's poller would wake it through another thread, which has to wait its turn.
func (w *alarmWaiter) sleep(at time.Duration) error {
	moment := unix.NsecToTimespec(w.zero + int64(at))
	err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &moment, nil)
	if errors.Is(err, unix.EINTR) {
		return nil // the runtime's signals; until sleeps on
	}
	return err
}

func (w *alarmWaiter) close() error { return w.alarm.Close() }
