// Package quic measures a QUIC connection to the reflector: its full handshake, its resumed handshake with 0-RTT data,
// and the round trips of datagrams (RFC 9221), with what the QUIC implementation itself saw beside.
package quic

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Config is what can be set of a run.
type Config struct {
	Count            int           `yaml:"count" help:"datagrams to send" min:"1" max:"100000"`
	Interval         time.Duration `yaml:"interval" help:"time between two datagrams" min:"1ms" max:"1h"`
	Size             int           `yaml:"size" help:"bytes of one datagram" min:"8" max:"1150"`
	Resume           bool          `yaml:"resume" help:"connect a second time with the session of the first and 0-RTT data"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout" help:"how long to wait for a handshake" min:"10ms" max:"2m"`
	DatagramTimeout  time.Duration `yaml:"timeout" help:"how long to wait for the last datagrams" min:"10ms" max:"2m"`
}

func defaults() Config {
	return Config{
		Count: 20, Interval: 50 * time.Millisecond, Size: 64, Resume: true,
		HandshakeTimeout: 5 * time.Second, // an Initial is sent again after 0.2, 0.4, … s (RFC 9002 section 6.2.2)
		DatagramTimeout:  3 * time.Second,
	}
}

// Timeout implements probes.Config: every wait at its longest, and a second for name resolution and the like.
func (c *Config) Timeout() time.Duration {
	total := time.Duration(c.Count)*c.Interval + c.HandshakeTimeout + c.DatagramTimeout + time.Second
	if c.Resume {
		total += c.HandshakeTimeout
	}
	return total
}

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "quic",
		Summary: "QUIC handshake, resumed 0-RTT handshake and datagram round trips",
		Help: `Connects to the reflector by QUIC and measures the full handshake (TLS 1.3, certificate verified), sends datagrams at
a fixed interval and measures until they are back, then connects again with the session of the first connection and
measures until 0-RTT data is answered. Datagrams are not sent again, so that losses, duplicates and reordering show as
they do with plain UDP; but the congestion control may hold them back. Time stamps are taken by the program, not by the
kernel. Only the preferred address of a name is tried. The far end must be an nrprobe reflector.`,
		Example: "nrprobe probe quic 127.0.0.1 --count 20",
		Lane:    probes.Latency,
		Port:    farend.TLSPort,
		Metrics: []*probes.Metric{
			probes.RTT, probes.ResolveTime, probes.HandshakeTime, probes.ResumedTime, probes.ScheduleError,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsDuplicated, probes.PacketsReordered, probes.LossRatio,
			probes.TransportRTT, probes.TransportMinRTT, probes.TransportLost, probes.CongestionWindow,
		},
	}, defaults, func(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
		return &probe{config: c, env: env, target: target}, nil
	})
}
