//go:build !linux

package host

import (
	"fmt"
	"runtime"
	"syscall"
)

func bindToDevice(_ syscall.RawConn, name string) error {
	return fmt.Errorf("binding to interface %s: %w: nrprobe can do that on Linux and Android only, not on %s: leave the interface away", name, errDenied, runtime.GOOS)
}
