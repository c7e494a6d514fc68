// Package tcp measures how long a TCP connection takes to be established, and how long a few bytes take to come back
// over one that is: what applications that keep a connection feel of a link, retransmissions and all.
package tcp

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Config is what can be set of a run.
type Config struct {
	Count          int           `yaml:"count" help:"echoes to ask for, or connections to make without echo" min:"1" max:"100000"`
	Interval       time.Duration `yaml:"interval" help:"time between two echoes or connections" min:"1ms" max:"1h"`
	Size           int           `yaml:"size" help:"bytes of one echo" min:"8" max:"16384"`
	Echo           bool          `yaml:"echo" help:"measure echoes; false measures the connect time alone, against any TCP port"`
	ConnectTimeout time.Duration `yaml:"connect_timeout" help:"how long to wait for a connection" min:"10ms" max:"2m"`
	EchoTimeout    time.Duration `yaml:"timeout" help:"how long to wait for the last echo" min:"10ms" max:"2m"`
}

func defaults() Config {
	return Config{
		Count: 10, Interval: 200 * time.Millisecond, Size: 64, Echo: true,
		ConnectTimeout: 7 * time.Second, // room for two SYNs to be lost: they are repeated after 1 s and 3 s (RFC 6298)
		EchoTimeout:    3 * time.Second,
	}
}

// Timeout implements probes.Config: every wait at its longest, and a second for name resolution and the like.
func (c *Config) Timeout() time.Duration {
	total := time.Duration(c.Count)*c.Interval + c.ConnectTimeout + c.EchoTimeout + time.Second
	if !c.Echo {
		total += time.Duration(c.Count-1) * c.ConnectTimeout
	}
	return total
}

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "tcp",
		Summary: "TCP connect time and echo round trips",
		Help: `Makes one TCP connection to the reflector, sends a few bytes at a fixed interval and measures until they are back.
A lost packet is sent again by TCP, so it shows as a late echo and not as a loss; an echo counts as lost only when it
does not come in time. Time stamps are taken by the program, not by the kernel. With --echo=false only the time from SYN
to established connection is measured, anew each time, against any TCP port. Only the preferred address of a name is
tried. On Linux the kernel's own round-trip time and its count of retransmissions stand beside.`,
		Example: "nrprobe probe tcp 127.0.0.1 --count 5",
		Lane:    probes.Latency,
		Port:    farend.StreamPort,
		Metrics: []*probes.Metric{
			probes.RTT, probes.ResolveTime, probes.ConnectTime, probes.ScheduleError,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.LossRatio,
			probes.TransportRTT, probes.TransportMinRTT, probes.Retransmitted, probes.CongestionWindow,
		},
	}, defaults, func(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
		return &probe{config: c, env: env, target: target}, nil
	})
}
