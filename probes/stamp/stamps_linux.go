package stamp

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a socket is asked to stamp (Documentation/networking/timestamping.rst). Departures come back on the error queue
// without the packet, named by the number of packets that were to be stamped before.
const (
	stampArrivals   = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE
	stampDepartures = unix.SOF_TIMESTAMPING_TX_SOFTWARE
	nameDepartures  = unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
)

// rawConn is a UDP socket for system calls of its own.
func rawConn(c any) (syscall.RawConn, error) {
	u, ok := c.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("a %T is no UDP socket of the kernel", c)
	}
	return u.SyscallConn()
}

// setStamps says what the kernel is to stamp. Setting it without names and with them again begins the names at 0.
func setStamps(raw syscall.RawConn, flags int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt SO_TIMESTAMPING", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags))
	})
	if err != nil {
		return err
	}
	return failed
}

// dropsOf returns how to ask how many datagrams the socket dropped so far because its queue was full; always 0 before
// Linux 4.12.
func dropsOf(raw syscall.RawConn) func() uint64 {
	var memory [9]uint32 // SK_MEMINFO_VARS
	const drops = 8      // SK_MEMINFO_DROPS
	ask := func(fd uintptr) {
		size := uint32(unsafe.Sizeof(memory))
		_, _, _ = unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&memory)), uintptr(unsafe.Pointer(&size)), 0)
	}
	return func() uint64 {
		_ = raw.Control(ask) // of a closed socket nobody hears
		return uint64(memory[drops])
	}
}

// askForHeader makes the kernel tell TTL, type of service and destination of each datagram, as far as it can: a socket
// of one family refuses the options of the other. A socket for both tells the destination of IPv4 packets as IPv6 does,
// and need not tell it twice.
func askForHeader(raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{
			{unix.IPPROTO_IP, unix.IP_RECVTTL},
			{unix.IPPROTO_IP, unix.IP_RECVTOS},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
		} {
			_ = unix.SetsockoptInt(int(fd), option[0], option[1], 1)
		}
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
}
