package load

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKeepShort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	KeepShort(c)
	got := 0
	if err := rawOf(c).Control(func(fd uintptr) {
		got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	}); err != nil || got != NotSentLimit {
		t.Errorf("%d bytes may wait, want %d: %v", got, NotSentLimit, err)
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	KeepShort(near) // which is not the kernel's, and has nothing to be kept short
}
