package load

import (
	"net"

	"golang.org/x/sys/unix"
)

// NotSentLimit is how many bytes KeepShort lets wait unsent, one record of TLS. At 10 Mbit/s they take 13 ms, at 1 Gbit/s the
// sender is woken up 8,000 times a second.
const NotSentLimit = 16 << 10

// KeepShort has the kernel take no more of c than is about to leave (TCP_NOTSENT_LOWAT, tcp(7)), so that what is written
// next does not queue up behind megabytes in the own host. It is an effort: without it everything works as ever.
func KeepShort(c net.Conn) {
	if raw := rawOf(c); raw != nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, NotSentLimit)
		})
	}
}
