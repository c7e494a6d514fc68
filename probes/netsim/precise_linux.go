package netsim

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for the kernel wakes a thread (prctl(2), PR_SET_TIMERSLACK: 50 µs by default).
const slack = 50 * time.Microsecond

// nap sleeps for a short time, or for less: callers ask again until the moment has come. Go's own timers wake from
// epoll_wait, which an idle process leaves on whole milliseconds.
func nap(d time.Duration) {
	if d <= slack {
		runtime.Gosched()
		return
	}
	left := unix.NsecToTimespec(int64(d - slack))
	_ = unix.Nanosleep(&left, nil) // a signal only ends it early
}
