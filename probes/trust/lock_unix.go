//go:build linux || darwin

package trust

import (
	"errors"
	"os"
	"syscall"
)

// lockFile waits until no other process holds the lock. The file stays behind, empty: to remove it would let two
// processes hold locks on two files of the same name. The kernel frees the lock of a process that dies.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing frees the lock
}
