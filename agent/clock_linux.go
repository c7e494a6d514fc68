package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// hostSlept is how long the host has been suspended since it was started: CLOCK_BOOTTIME goes on meanwhile,
// CLOCK_MONOTONIC does not (clock_gettime(2)). 0 where the kernel does not tell.
func hostSlept() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
