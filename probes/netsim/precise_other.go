//go:build !linux

package netsim

import "time"

// nap sleeps for a short time, as precisely as Go's timers are here.
func nap(d time.Duration) { time.Sleep(d) }
