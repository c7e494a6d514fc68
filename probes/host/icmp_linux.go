package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nrprobe/nrprobe/probes"
)

// oobSize has room for what tellHeader asks for: a time stamp and a TTL.
const oobSize = 128

// dialDatagram opens a datagram socket of ICMP (icmp(7)). Its kind is bound to the interface before it is connected, as
// all others are.
func (b binding) dialDatagram(to netip.Addr) (probes.ICMPConn, error) {
	family, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if to.Is4() {
		family, protocol = unix.AF_INET, unix.IPPROTO_ICMP
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "icmp")
	defer func() { _ = f.Close() }() // net has a copy of its own
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := b.listenControl("", "", raw); err != nil {
		return nil, err
	}
	if source := b.pick(to.Is4()); source.IsValid() {
		if err := os.NewSyscallError("bind", unix.Bind(fd, sockaddr(source))); err != nil {
			return nil, fmt.Errorf("binding to %s: %w", source, err)
		}
	}
	if err := os.NewSyscallError("connect", unix.Connect(fd, sockaddr(to))); err != nil {
		return nil, fmt.Errorf("route to %s: %w", to, err)
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	c, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T is no datagram socket", pc), pc.Close())
	}
	tellHeader(c)
	return datagramICMP{c}, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16()}
	if i, err := net.InterfaceByName(a.Zone()); err == nil {
		sa.ZoneId = uint32(i.Index)
	}
	return sa
}

// tellHeader makes the kernel tell TTL and time of each message, as far as it can: a socket of one family refuses the
// options of the other.
func tellHeader(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed already, which the first use will tell
	}
	_ = raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{{unix.IPPROTO_IP, unix.IP_RECVTTL}, {unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}} {
			_ = unix.SetsockoptInt(int(fd), option[0], option[1], 1)
		}
	})
}

// arrival reads what the kernel told beside a message.
func arrival(oob []byte) probes.ICMPArrival {
	a := probes.ICMPArrival{Time: time.Now()}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return a
	}
	for _, m := range messages {
		switch level, kind := int(m.Header.Level), int(m.Header.Type); {
		case level == unix.IPPROTO_IP && kind == unix.IP_TTL, level == unix.IPPROTO_IPV6 && kind == unix.IPV6_HOPLIMIT:
			if len(m.Data) >= 4 {
				a.TTL = int(binary.NativeEndian.Uint32(m.Data))
			}
		case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS:
			a.Time = monotonic(a.Time, m.Data)
		}
	}
	return a
}

// longestAge is longer than any message waits to be read; a stamp beyond it tells of a clock that was set meanwhile.
const longestAge = time.Second

// monotonic puts the kernel's stamp, a timespec of the wall clock, on the monotonic clock by its age.
func monotonic(now time.Time, timespec []byte) time.Time {
	var stamp time.Time
	switch len(timespec) {
	case 16:
		stamp = time.Unix(int64(binary.NativeEndian.Uint64(timespec)), int64(binary.NativeEndian.Uint64(timespec[8:])))
	case 8:
		stamp = time.Unix(int64(int32(binary.NativeEndian.Uint32(timespec))), int64(binary.NativeEndian.Uint32(timespec[4:])))
	default:
		return now
	}
	if age := now.Sub(stamp); age > 0 && age < longestAge {
		return now.Add(-age)
	}
	return now
}
