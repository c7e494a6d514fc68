//go:build !linux

package stamp

import "time"

// hostSlept knows of no way to ask how long the host has been suspended.
func hostSlept() time.Duration { return 0 }
