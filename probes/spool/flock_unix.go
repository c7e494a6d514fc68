//go:build unix

package spool

import (
	"errors"
	"os"
	"syscall"
)

// flock locks a file as long as it is open. It returns ErrInUse when somebody else has.
func flock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	if err := conn.Control(func(fd uintptr) { locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(locked, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return locked
}
