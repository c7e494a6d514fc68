package iperf3

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Config is what one run does. The zero value is not usable: take the one that Kind().NewConfig returns.
type Config struct {
	Transport         string        `yaml:"transport" help:"transport protocol of the load" oneof:"tcp,udp"`
	Direction         string        `yaml:"direction" help:"up is from here to the server, down is iperf3's reverse, both its bidirectional mode" oneof:"up,down,both"`
	Streams           int           `yaml:"streams" help:"parallel streams, per direction" min:"1" max:"128"`
	Duration          time.Duration `yaml:"duration" help:"how long data flows behind what is omitted" min:"100ms" max:"1h"`
	Omit              time.Duration `yaml:"omit" help:"how long data flows before it counts, in whole seconds" min:"0s" max:"1m"`
	Volume            unit.Bytes    `yaml:"volume" help:"end when so much has been transferred in each direction; 0 is off" max:"1TB"`
	MaxBytes          unit.Bytes    `yaml:"max_bytes" help:"end when so much has been transferred, all directions together, what is omitted included; what is on its way then still arrives; 0 is no limit" max:"1TB"`
	Rate              unit.Rate     `yaml:"rate" help:"rate of each UDP stream; 0 is as fast as it goes"`
	Size              int           `yaml:"size" help:"bytes of a UDP datagram, above IP and UDP" min:"16" max:"65507"`
	CongestionControl string        `yaml:"congestion_control" help:"TCP congestion control of the sender, as its kernel names it; the kernel's default when empty (Linux)"`
	LeasePort         uint16        `yaml:"lease_port" help:"plain TCP port of the nrprobe reflector that serves iperf3, as in 8620, to have a lease from it first; 0 asks for none"`
	LeaseWait         time.Duration `yaml:"lease_wait" help:"how long to wait for the lease while other load tests of the site run; 0 does not wait" min:"0s" max:"1h"`
}

func defaults() Config {
	return Config{Transport: "tcp", Direction: "down", Streams: 1, Duration: 10 * time.Second, Rate: 1e6 / 8, Size: udpBlock, LeaseWait: lease.DefaultTerms().LeaseWait}
}

// stepLimit is how long each step beside the transfer may take: connecting, opening all streams, exchanging results. It is
// far below iperf3's own limits and above a radio link's worst wake-up.
const stepLimit = 5 * time.Second

// Timeout implements probes.Config.
func (c *Config) Timeout() time.Duration {
	if c.LeasePort != 0 {
		return c.LeaseWait + c.runTime()
	}
	return c.runTime()
}

// runTime is how long a run may take once it may begin.
func (c *Config) runTime() time.Duration { return c.Omit + c.Duration + 5*stepLimit }

func (c *Config) ways() []probes.Direction {
	switch c.Direction {
	case "up":
		return []probes.Direction{probes.Up}
	case "both":
		return []probes.Direction{probes.Up, probes.Down}
	default:
		return []probes.Direction{probes.Down}
	}
}

// params asks a server for what the configuration says.
func (c *Config) params() params {
	p := params{
		TCP: c.Transport == "tcp", UDP: c.Transport == "udp", Omit: number(c.Omit / time.Second), Time: number((c.Duration + time.Second - 1) / time.Second),
		Num: number(c.Volume), Parallel: number(c.Streams), Len: tcpBlock, NoDelay: true,
		Reverse: c.Direction == "down", Bidirectional: c.Direction == "both", Congestion: word(c.CongestionControl),
		PacingTimer: number(pacingInterval / time.Microsecond), ClientVersion: "3.12",
	}
	if c.Volume > 0 {
		p.Time = 0 // iperf3 takes one condition for the end
	}
	if p.UDP {
		p.NoDelay, p.Len, p.Bandwidth, p.Counters64 = false, number(c.Size), number(float64(c.Rate)*8), 1
	}
	return p
}

// Kind describes the kind "iperf3".
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "iperf3",
		Summary: "throughput, or UDP loss and jitter, against any iperf3 server",
		Help: `Speaks iperf3's own protocol, so that figures can be compared with those of iperf3 itself: TCP or UDP, up, down or
both, parallel streams. What the receiver counted is published, over the whole time behind "omit", as iperf3 does.
UDP losses are counted against what the sender says it sent.
An iperf3 server sends until it is told to stop, so that max_bytes holds up to what is on its way at that moment: a data
plan reserves a full receive window more for each TCP stream, and a second at the rate for UDP. A server that is busy with another test gives the
outcome "busy".`,
		Example: "nrprobe probe iperf3 127.0.0.1 --direction down --duration 5s",
		Lane:    probes.Load,
		Port:    DefaultPort,
		Metrics: []*probes.Metric{
			probes.Goodput, probes.Transferred, probes.Retransmitted, probes.TCPEfficiency, probes.BufferDelay,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsReordered, probes.PacketsRefused, probes.LossRatio, probes.Jitter,
			probes.ConnectTime, probes.TransportRTT, probes.TransportMinRTT, probes.CongestionWindow,
		},
	}, defaults, buildGuarded)
}

// buildGuarded makes a probe that asks for a lease first, where the server is known to be a reflector.
func buildGuarded(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	p, err := build(c, env, target)
	if err != nil || c.LeasePort == 0 {
		return p, err
	}
	ask := lease.Ask{Kind: "iperf3", Bytes: int64(c.WorstCase()), Duration: c.runTime()}
	if c.Transport == "udp" {
		ask.Rate = float64(c.Rate) * float64(c.Streams*len(c.ways()))
	}
	return lease.Guard(p, lease.Gate{Env: env, Target: target, Terms: lease.Terms{LeaseWait: c.LeaseWait, LeasePort: c.LeasePort}, Ask: ask}), nil
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	switch {
	case c.Omit%time.Second != 0:
		return nil, fmt.Errorf("omit: %v is not in whole seconds, which is all that iperf3 knows", c.Omit)
	case c.Transport == "udp" && c.CongestionControl != "":
		return nil, fmt.Errorf("congestion_control: %q has no meaning over UDP: leave it out", c.CongestionControl)
	}
	return &probe{config: c, env: env, target: target}, nil
}
