package netsim

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for a short time to within the kernel's timer slack, about 50 µs. Go's own timers wake from epoll_wait,
// which an idle process leaves on whole milliseconds.
func nap(d time.Duration) {
	left := unix.NsecToTimespec(int64(d))
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}
