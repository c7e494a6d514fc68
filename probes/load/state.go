package load

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// State is what the kernels of the sending ends say about all streams of one direction together, in total since
// they were opened. Times are in nanoseconds.
type State struct {
	// Transport is "tcp" or "quic".
	Transport string `json:"transport"`
	// Sockets is how many TCP or QUIC connections were asked.
	Sockets int `json:"sockets"`
	// RTT is the mean of the smoothed round-trip times, MinRTT the smallest of the smallest ones.
	RTT    time.Duration `json:"rtt"`
	MinRTT time.Duration `json:"min_rtt"`
	// CongestionWindow is the sum in bytes.
	CongestionWindow int64 `json:"congestion_window"`
	// PacketsLost is what QUIC declared lost.
	PacketsLost int64 `json:"packets_lost,omitempty"`
	// The rest is TCP's alone. Retransmitted is segments, SentBytes and RetransmittedBytes are payload.
	Retransmitted      int64 `json:"retransmitted,omitempty"`
	SentBytes          int64 `json:"sent_bytes,omitempty"`
	RetransmittedBytes int64 `json:"retransmitted_bytes,omitempty"`
	// AckedBytes is the payload that the receiver's kernel has acknowledged.
	AckedBytes int64 `json:"-"`
	// Busy is how long there was something to send, and of that ReceiveWindow and SendBuffer how long the peer's window
	// and the own buffer held it up.
	Busy          time.Duration `json:"busy,omitempty"`
	ReceiveWindow time.Duration `json:"receive_window,omitempty"`
	SendBuffer    time.Duration `json:"send_buffer,omitempty"`
	// CongestionControl is the algorithm in use.
	CongestionControl string `json:"congestion_control"`
}

// Add joins the state of one more stream to the sum.
func (s *State) Add(one State) {
	if s.Sockets == 0 || one.MinRTT < s.MinRTT {
		s.MinRTT = one.MinRTT
	}
	n := time.Duration(s.Sockets)
	s.RTT = (s.RTT*n + one.RTT) / (n + 1)
	s.Sockets++
	s.CongestionWindow += one.CongestionWindow
	s.PacketsLost += one.PacketsLost
	s.Retransmitted += one.Retransmitted
	s.SentBytes += one.SentBytes
	s.RetransmittedBytes += one.RetransmittedBytes
	s.AckedBytes += one.AckedBytes
	s.Busy += one.Busy
	s.ReceiveWindow += one.ReceiveWindow
	s.SendBuffer += one.SendBuffer
	s.Transport, s.CongestionControl = one.Transport, one.CongestionControl
}

// LimitedBy names what held the sender up for the largest part of the time: "receive_window", "send_buffer",
// "application" (there was nothing to send) or else "congestion_window", which stands for the path. "" when the kernel
// does not tell. elapsed is the time since the streams began to send.
func (s *State) LimitedBy(elapsed time.Duration) string {
	if s.Busy == 0 {
		return ""
	}
	name, longest := "congestion_window", s.Busy-s.ReceiveWindow-s.SendBuffer
	for other, d := range map[string]time.Duration{
		"receive_window": s.ReceiveWindow, "send_buffer": s.SendBuffer,
		"application": elapsed*time.Duration(s.Sockets) - s.Busy,
	} {
		if d > longest {
			name, longest = other, d
		}
	}
	return name
}

// Record publishes the state of the sender of one direction. meanRTT is the mean over the measurement.
func (s *State) Record(rec *probes.Recorder, d probes.Direction, elapsed, meanRTT time.Duration) {
	if s.Transport == "quic" {
		rec.Add(probes.TransportLost, probes.Both, float64(s.PacketsLost))
	} else {
		rec.Add(probes.Retransmitted, probes.Both, float64(s.Retransmitted))
	}
	rec.Set(probes.TransportRTT, probes.Both, s.RTT.Seconds())
	rec.Set(probes.CongestionWindow, probes.Both, float64(s.CongestionWindow))
	rec.Note("congestion_control", s.CongestionControl)
	if s.MinRTT > 0 {
		rec.Set(probes.TransportMinRTT, probes.Both, s.MinRTT.Seconds())
	}
	if s.MinRTT > 0 && s.Transport == "tcp" {
		rec.Set(probes.BufferDelay, d, max(0, (meanRTT-s.MinRTT).Seconds()))
	}
	if s.SentBytes > 0 {
		rec.Set(probes.TCPEfficiency, d, float64(s.SentBytes-s.RetransmittedBytes)/float64(s.SentBytes))
	}
	if by := s.LimitedBy(elapsed); by != "" {
		rec.Note("limited_by_"+d.String(), by)
	}
}
