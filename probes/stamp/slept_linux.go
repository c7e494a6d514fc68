package stamp

import (
	"time"

	"golang.org/x/sys/unix"
)

// hostSlept is how long the host has been suspended in all since it was started: what one of two clocks counts that are
// otherwise the same. It is 0 where the kernel does not say.
func hostSlept() time.Duration {
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
		return 0
	}
	// The readings are some nanoseconds apart, and more when the process is interrupted: sleep is told in whole
	// milliseconds.
	return time.Duration(all.Nano() - awake.Nano()).Truncate(time.Millisecond)
}
