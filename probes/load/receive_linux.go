package load

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// discardSize is how much one system call may take out of the receive buffer: more than Linux lets a buffer grow to by
// default (tcp_rmem, 6 MiB), so that one call empties it.
const discardSize = 8 << 20

// Receive counts what arrives on c until it ends or fails. On Linux, recv with MSG_TRUNC drops the bytes of a TCP socket
// inside the kernel (tcp(7)): they are counted and acknowledged as ever, and never copied.
func Receive(c net.Conn, received *Counter) error {
	raw := rawOf(c)
	if raw == nil {
		return Drain(c, make([]byte, BlockSize), received)
	}
	for {
		n, err := discard(raw)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		received.Add(int64(n))
	}
}

// discard takes bytes off a TCP socket without copying them, and waits while there are none. 0 is the end of the stream.
func discard(raw syscall.RawConn) (n int, err error) {
	waitErr := raw.Read(func(fd uintptr) bool {
		for {
			r, errno := truncate(fd)
			switch errno {
			case 0:
				n, err = r, nil
				return true
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				err = errno
				return true
			}
		}
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

// truncate is one system call that drops what a TCP socket has received.
func truncate(fd uintptr) (n int, errno syscall.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd, 0, discardSize, unix.MSG_TRUNC, 0, 0)
	return int(r), errno
}
