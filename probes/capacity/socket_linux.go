package capacity

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offload is generic segmentation and receive offload of UDP (udp(7)): one system call for many datagrams.
type offload struct {
	kernel  *net.UDPConn // nil for an emulated socket
	raw     syscall.RawConn
	to      unix.Sockaddr
	gso     bool
	gro     bool
	control []byte    // of received datagrams; empty while nothing is to come with them
	arrived time.Time // when the kernel got what was received last, by the wall clock; zero when it does not tell
}

// controlSize has room for a segment size and a time stamp.
const controlSize = 128

// prepare finds out what the kernel can do for sending to the peer.
func (s *socket) prepare() {
	c, ok := s.packetConn.(*net.UDPConn)
	if !ok || s.peer.Addr().Zone() != "" {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return // the plain path works without
	}
	s.kernel, s.raw, s.to = c, raw, sockaddr(s.peer)
	_ = raw.Control(func(fd uintptr) { // what fails here is simply not used
		_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.gso = err == nil
	})
}

// coalesce asks the kernel to hand over many datagrams at once.
func (s *socket) coalesce() {
	if s.raw == nil {
		return
	}
	_ = s.raw.Control(func(fd uintptr) {
		s.gro = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	})
	s.control = make([]byte, controlSize)
}

// stamp asks the kernel to tell when datagrams arrive: however late we come to read them, their distances are true.
func (s *socket) stamp() {
	if s.raw == nil {
		return
	}
	_ = s.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) == nil {
			s.control = make([]byte, controlSize)
		}
	})
}

// dropped is how often the socket's receive buffer was full when something arrived (SO_MEMINFO). What was put together by
// then counts once.
func (s *socket) dropped() (n int64) {
	if s.raw == nil {
		return 0
	}
	const drops, counts = 8, 9 // SK_MEMINFO_DROPS, SK_MEMINFO_VARS of linux/sock_diag.h
	_ = s.raw.Control(func(fd uintptr) {
		var info [counts]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			n = int64(info[drops])
		}
	})
	return n
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// send sends the datagrams in b, each of size bytes, and returns how many the kernel took and how many it refused. While
// its buffer is full it waits; with a full queue of the interface it does not.
func (s *socket) send(b []byte, size int) (taken, refused int, err error) {
	if s.raw == nil {
		taken, err = s.writeEach(b, size)
		if err != nil {
			refused = len(b)/size - taken
		}
		return taken, refused, err
	}
	step := size
	if s.gso {
		step = len(b)
	}
	for ; len(b) > 0; b = b[step:] {
		again, err := s.sendOne(b[:step], size)
		refused += again
		switch {
		case err == nil:
			taken += step / size
		case s.gso && (errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE)):
			s.gso = false // the interface cannot (no checksum offload, a small MTU): one by one from here on
			more, again, err := s.send(b, size)
			return taken + more, refused + again, err
		default:
			return taken, refused + step/size, err
		}
	}
	return taken, refused, nil
}

// sendOne is one system call, repeated once there is room in the socket's buffer; refused counts the times there was none.
func (s *socket) sendOne(b []byte, size int) (refused int, err error) {
	control := s.segmentation(len(b), size)
	waitErr := s.raw.Write(func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), b, control, s.to, 0)
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				refused += len(b) / size
				return false
			default:
				return true
			}
		}
	})
	if waitErr != nil {
		return refused, waitErr
	}
	return refused, os.NewSyscallError("sendmsg", err)
}

// segmentation is the control message that has the kernel cut a buffer into datagrams; nil where there is one only.
func (s *socket) segmentation(length, size int) []byte {
	if length == size {
		return nil
	}
	b := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	return b
}

// receive reads datagrams, as many as the kernel has put together.
func (s *socket) receive(b []byte) (n, segment int, from netip.AddrPort, err error) {
	if len(s.control) == 0 {
		n, from, err = s.ReadFromUDPAddrPort(b)
		return n, n, from, err
	}
	n, controlled, _, from, err := s.kernel.ReadMsgUDPAddrPort(b, s.control)
	if err != nil {
		return n, n, from, err
	}
	segment, s.arrived = n, time.Time{}
	for rest := s.control[:controlled]; len(rest) >= unix.SizeofCmsghdr; {
		header, data, more, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break // what is known by then will do
		}
		switch {
		case header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(data) >= 4:
			segment = int(binary.NativeEndian.Uint32(data))
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			at := *(*unix.Timespec)(unsafe.Pointer(unsafe.SliceData(data)))
			s.arrived = time.Unix(at.Unix())
		}
		rest = more
	}
	return n, segment, from, nil
}
