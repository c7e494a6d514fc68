//go:build !linux

package netsim

import "time"

// nap sleeps for a short time, or for less: callers ask again until the moment has come.
func nap(d time.Duration) { time.Sleep(d) }
