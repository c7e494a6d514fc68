package stamp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openMTUSocket takes the connection over. Its packets have Don't Fragment set and are held only against the interface's
// MTU (IP_PMTUDISC_PROBE, ip(7)); what routers say comes through the error queue.
func openMTUSocket(conn net.Conn) (mtuSocket, error) {
	raw, err := rawConn(conn)
	if err != nil {
		return &plainMTUSocket{conn: conn, buffer: make([]byte, maxPacketSize)}, nil
	}
	s := &kernelMTUSocket{conn: conn, raw: raw, buffer: make([]byte, maxPacketSize), control: make([]byte, 512)}
	s.level, s.mtu = unix.IPPROTO_IPV6, unix.IPV6_MTU
	options := [][2]int{{unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE}, {unix.IPV6_RECVERR, 1}, {unix.IPV6_RECVFRAGSIZE, 1}}
	if addrPort(conn.RemoteAddr()).Addr().Is4() {
		s.level, s.mtu = unix.IPPROTO_IP, unix.IP_MTU
		options = [][2]int{{unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}, {unix.IP_RECVERR, 1}, {unix.IP_RECVFRAGSIZE, 1}}
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for _, o := range options {
			failed = errors.Join(failed, unix.SetsockoptInt(int(fd), s.level, o[0], o[1]))
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("path_mtu: sending without fragments: %w", err)
	}
	return s, nil
}

// kernelMTUSocket is a UDP socket of the kernel.
type kernelMTUSocket struct {
	conn       net.Conn
	raw        syscall.RawConn
	level, mtu int // of socket options
	buffer     []byte
	control    []byte
	news       mtuNews
}

// send tries once more where the first failure may be news of an earlier packet.
func (s *kernelMTUSocket) send(packet []byte) (bool, error) {
	var failed error
	for range 2 {
		err := s.raw.Control(func(fd uintptr) {
			failed = ignoringEINTR(func() error { _, err := unix.Write(int(fd), packet); return err })
			s.drain(int(fd))
		})
		if err != nil {
			return false, err
		}
		if failed == nil {
			return true, nil
		}
	}
	if errors.Is(failed, unix.EMSGSIZE) {
		return false, nil
	}
	return false, os.NewSyscallError("send", failed)
}

func (s *kernelMTUSocket) receive(deadline time.Time) (packet []byte, whole bool, err error) {
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return nil, false, err
	}
	var failed error
	n, oob := 0, 0
	err = s.raw.Read(func(fd uintptr) bool {
		failed = ignoringEINTR(func() (err error) {
			n, oob, _, _, err = unix.Recvmsg(int(fd), s.buffer, s.control, unix.MSG_DONTWAIT)
			return err
		})
		if failed != nil && !errors.Is(failed, unix.EAGAIN) { // news that the error queue has, too
			s.hear(failed)
			failed = unix.EAGAIN
		}
		whole = s.wasWhole(s.control[:max(oob, 0)])
		s.drain(int(fd))
		return failed == nil
	})
	switch {
	case err != nil && isStopped(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return s.buffer[:n], whole, nil
}

// wasWhole says whether a datagram came in one packet: of one in fragments the kernel tells the largest fragment.
func (s *kernelMTUSocket) wasWhole(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range messages {
		fragments := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVFRAGSIZE ||
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVFRAGSIZE
		if fragments && readInt(m.Data) > 0 {
			return false
		}
	}
	return true
}

// drain empties the error queue.
func (s *kernelMTUSocket) drain(fd int) {
	var control [512]byte
	var payload [1]byte
	for {
		oob := 0
		err := ignoringEINTR(func() (err error) {
			_, oob, _, _, err = unix.Recvmsg(fd, payload[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			return err
		})
		if err != nil {
			return
		}
		messages, err := unix.ParseSocketControlMessage(control[:oob])
		if err != nil {
			continue
		}
		for _, m := range messages {
			s.learn(&m)
		}
	}
}

// hear takes in an error that came up after its packet had left.
func (s *kernelMTUSocket) hear(err error) {
	if !errors.Is(err, unix.EMSGSIZE) {
		s.news.failure = os.NewSyscallError("receive", err)
	}
}

// learn takes in what the error queue says of a packet that was too long (RFC 1191, RFC 8201).
func (s *kernelMTUSocket) learn(m *unix.SocketControlMessage) {
	isError := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR ||
		m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
	if !isError || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
		return
	}
	e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
	if errno := syscall.Errno(e.Errno); errno != unix.EMSGSIZE {
		s.hear(errno)
		return
	}
	switch e.Origin {
	case unix.SO_EE_ORIGIN_LOCAL:
		s.news.local = int(e.Info)
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
		s.news.router = int(e.Info)
		s.news.messages++
	}
}

func (s *kernelMTUSocket) heard() mtuNews {
	err := s.raw.Control(func(fd uintptr) {
		s.drain(int(fd))
		s.news.cached, _ = unix.GetsockoptInt(int(fd), s.level, s.mtu) // 0 when it does not say
	})
	if err != nil {
		return mtuNews{}
	}
	return s.news
}

func (s *kernelMTUSocket) close() error { return s.conn.Close() }

// ignoringEINTR repeats a system call that Go's preemption signal interrupted.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
