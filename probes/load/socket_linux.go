package load

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StateOf asks the kernel about one TCP connection. ok is false when c is none of the kernel's.
func StateOf(c net.Conn) (s State, ok bool) {
	raw := rawOf(c)
	if raw == nil {
		return s, false
	}
	err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil {
			return
		}
		s, ok = fromInfo(info, name), true
	})
	return s, ok && err == nil
}

// fromInfo converts the kernel's units: microseconds, and segments for the congestion window.
func fromInfo(i *unix.TCPInfo, congestionControl string) State {
	return State{
		Transport:          "tcp",
		Sockets:            1,
		RTT:                time.Duration(i.Rtt) * time.Microsecond,
		MinRTT:             time.Duration(i.Min_rtt) * time.Microsecond,
		CongestionWindow:   int64(i.Snd_cwnd) * int64(i.Snd_mss),
		Retransmitted:      int64(i.Total_retrans),
		SentBytes:          int64(i.Bytes_sent),
		RetransmittedBytes: int64(i.Bytes_retrans),
		AckedBytes:         int64(i.Bytes_acked),
		Busy:               time.Duration(i.Busy_time) * time.Microsecond,
		ReceiveWindow:      time.Duration(i.Rwnd_limited) * time.Microsecond,
		SendBuffer:         time.Duration(i.Sndbuf_limited) * time.Microsecond,
		CongestionControl:  congestionControl,
	}
}

// UseCongestionControl has the kernel send with the algorithm of that name.
func UseCongestionControl(c net.Conn, name string) error {
	raw := rawOf(c)
	if raw == nil {
		return fmt.Errorf("congestion_control: %q cannot be set on this connection: leave it out", name)
	}
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	}); controlErr != nil {
		return controlErr
	}
	if err != nil {
		return fmt.Errorf("congestion_control: the sending kernel does not offer %q (see net.ipv4.tcp_allowed_congestion_control): %w", name, err)
	}
	return nil
}

// BufferSizes says how much the kernel granted a UDP socket, as socket(7) counts it: twice what was asked for at most.
func BufferSizes(pc net.PacketConn) (receive, send int, ok bool) {
	s, isKernels := pc.(syscall.Conn)
	if !isKernels {
		return 0, 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var receiveErr, sendErr error
	err = raw.Control(func(fd uintptr) {
		receive, receiveErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		send, sendErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	return receive, send, err == nil && receiveErr == nil && sendErr == nil
}

// abortWrapped is Abort for a connection whose wrapper shows the socket and not its methods.
func abortWrapped(c net.Conn) {
	if raw := rawOf(c); raw != nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
}

// rawOf returns what system calls on a TCP connection of the kernel need; nil when c is none, as in an emulated network.
func rawOf(c net.Conn) syscall.RawConn {
	s, ok := c.(syscall.Conn)
	if _, isTCP := c.RemoteAddr().(*net.TCPAddr); !ok || !isTCP {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
