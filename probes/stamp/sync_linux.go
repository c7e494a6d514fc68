//go:build linux && !android

package stamp

import (
	"time"

	"golang.org/x/sys/unix"
)

// hostClock asks the kernel whether its clock is kept by a time service, and how far off it may be at most. Android is
// left out: it ends applications that ask.
func hostClock() (bound time.Duration, synced bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil || state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return 0, false
	}
	return time.Duration(t.Maxerror) * time.Microsecond, t.Maxerror > 0
}
