package stamp

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
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

	longest time.Duration // bound of spin
	spin    time.Duration // how long before a moment the kernel is to wake us

	tooLate      time.Duration
	waits, tardy int  // of the present hundred, or since it is urgent
	stalled      bool // the last wait ended later than that, or had nothing to wait for because one before it did
	urgent       bool // the goroutine has a thread of its own, which the kernel runs before all others
	refused      bool // or would like to
	state        atomic.Value
}

// newHostWaiter returns the best waiter that the host has for packets at that interval.
func newHostWaiter(clock *sessionClock, interval time.Duration, log *slog.Logger) waiter {
	long := newTimerWaiter(clock)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		log.Debug("packets are sent on time as well as Go's timers can", "reason", os.NewSyscallError("timerfd_create", err).Error())
		return long
	}
	longest := min(longestSpin, interval/50)
	return &alarmWaiter{
		clock: clock, long: long, alarm: os.NewFile(uintptr(fd), "timerfd"), fd: fd, zero: monotonicZero(clock),
		longest: longest, spin: longest, tooLate: max(leastTooLate, interval/2), refused: interval > blind,
	}
}

// longestSpin is as long as it mostly takes to be woken where a processor has to be woken first. At most a fiftieth of a
// processor is spent in the loop that waits for the rest of it.
const longestSpin = 150 * time.Microsecond

// aim takes in how late the kernel has woken us. It makes the lead so long that this is early enough 19 times out of 20: on
// a busy processor, which need not be woken itself, a short one does, and the loop costs next to nothing.
func (w *alarmWaiter) aim(late time.Duration) {
	const step = time.Microsecond
	switch {
	case late > w.longest: // no lead would have done
	case late > w.spin:
		w.spin = min(w.spin+19*step, w.longest)
	default:
		w.spin = max(w.spin-step, 0)
	}
}

// The goroutine that sends gets an urgent thread when as many of a hundred waits as tooOften end late by half the interval or
// more, so that packets are no longer spaced as asked, and keeps it for so many waits. It does better without where it can: a
// thread of its own sleeps while another one waits for the stamps of its packets, which takes two processors to be woken where
// one would do, one of them on the packet's time, and Go's scheduler looks after a sleeping thread all the while.
const (
	tooOften = 5
	keepFor  = 6000
)

// leastTooLate is too late whatever the interval: less happens to everybody.
const leastTooLate = time.Millisecond

// learn takes in how late a wait has ended, and whether its moment had passed when it began: then, after one that ended too
// late, it is of the same stall, which counts once however many packets were due meanwhile.
func (w *alarmWaiter) learn(late time.Duration, passed bool) {
	if passed && w.stalled {
		return
	}
	w.waits++
	if w.stalled = late > w.tooLate; w.stalled {
		w.tardy++
	}
	switch {
	case w.refused:
	case !w.urgent && w.tardy >= tooOften:
		w.hurry()
	case !w.urgent && w.waits >= 100:
		w.waits, w.tardy = 0, 0
	case w.urgent && w.waits >= keepFor:
		w.calm()
	}
}

// hurry makes the kernel run this goroutine before all threads that have no deadline. Root may, and who has CAP_SYS_NICE or a
// limit RLIMIT_RTPRIO of 1 or more. Android ends applications that ask.
func (w *alarmWaiter) hurry() {
	if runtime.GOOS == "android" {
		w.refused = true
		return
	}
	runtime.LockOSThread() // a goroutine that is locked to a thread takes it along when it ends
	urgent := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, &urgent, 0); err != nil {
		runtime.UnlockOSThread()
		w.refused = true
		w.state.Store("ordinary, though often late: " + os.NewSyscallError("sched_setattr", err).Error())
		return
	}
	w.urgent, w.waits, w.tardy = true, 0, 0
	w.state.Store("real-time, after an ordinary one was often late")
}

// calm tries again whether an ordinary thread will do.
func (w *alarmWaiter) calm() {
	ordinary := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	w.waits, w.tardy = 0, 0
	if unix.SchedSetAttr(0, &ordinary, 0) == nil {
		w.urgent = false
		w.state.Store("")
		runtime.UnlockOSThread()
	}
}

func (w *alarmWaiter) thread() string {
	state, _ := w.state.Load().(string)
	return state
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
	wake, began := at-w.spin, w.clock.now()
	if wake-began > blind && !w.long.until(ctx, wake-blind/4) {
		return false
	}
	wait := w.wait
	if w.urgent {
		wait = w.sleep
	}
	waited := false
	for ; w.clock.now() < wake; waited = true {
		if wait(wake) != nil {
			return w.long.until(ctx, at)
		}
	}
	now := w.clock.now()
	if waited {
		w.aim(now - wake)
	}
	for now < at {
		now = w.clock.now()
	}
	w.learn(now-at, began >= at)
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
