package tcp

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nrprobe/nrprobe/probes"
)

// observeKernel takes down what the kernel itself makes of the connection (TCP_INFO, tcp(7)). A connection that is none
// of the kernel's, or a kernel that does not tell, leaves the values out.
func observeKernel(r *probes.Recorder, c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	var info *unix.TCPInfo
	if controlErr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); controlErr != nil || err != nil {
		return
	}
	r.Set(probes.TransportRTT, probes.Both, (time.Duration(info.Rtt) * time.Microsecond).Seconds())
	if info.Min_rtt > 0 { // since Linux 4.6
		r.Set(probes.TransportMinRTT, probes.Both, (time.Duration(info.Min_rtt) * time.Microsecond).Seconds())
	}
	r.Set(probes.CongestionWindow, probes.Both, float64(info.Snd_cwnd)*float64(info.Snd_mss))
	r.Add(probes.Retransmitted, probes.Both, float64(info.Total_retrans))
}
