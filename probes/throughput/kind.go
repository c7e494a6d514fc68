package throughput

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Config is what one run does. The zero value is not usable: take the one that Kind().NewConfig returns.
type Config struct {
	Transport         string        `yaml:"transport" help:"transport protocol of the load" oneof:"tcp,quic"`
	Direction         string        `yaml:"direction" help:"down is from the far end to here; both at the same time" oneof:"down,up,both"`
	Streams           int           `yaml:"streams" help:"TCP connections, or streams of each QUIC connection, per direction" min:"1" max:"64"`
	Connections       int           `yaml:"connections" help:"QUIC connections, each with all the streams; TCP ignores it" min:"1" max:"16"`
	Duration          time.Duration `yaml:"duration" help:"how long data flows, ramp included; with volume, at most so long" min:"100ms" max:"5m"`
	Volume            unit.Bytes    `yaml:"volume" help:"transfer exactly so much per direction, instead of for a fixed time; 0 is off" max:"1TB"`
	MaxBytes          unit.Bytes    `yaml:"max_bytes" help:"end before more than this is transferred, all directions together; 0 is no limit" max:"1TB"`
	Warmup            time.Duration `yaml:"warmup" help:"leave out exactly so much at the start; 0 finds the end of the ramp by the rule" min:"0s" max:"1m"`
	Interval          time.Duration `yaml:"interval" help:"how often the receiver's count is taken" min:"20ms" max:"1s"`
	Settle            float64       `yaml:"settle" help:"stop early when the rate is known to this share of it, as in 0.1: what the whole duration would give lies so near with the confidence asked for; 0 is off" min:"0" max:"0.5"`
	Confidence        float64       `yaml:"confidence" help:"confidence that settle asks for, from what the seconds behind the ramp have shown so far; three of them at least" min:"0.5" max:"0.999"`
	Capacity          unit.Rate     `yaml:"capacity" help:"IP-layer rate of the path where it is known, as the kind capacity measures it: tcp_transfer_time_ratio is against it (RFC 6349); 0 is not known" max:"100Gbit/s"`
	Quiet             time.Duration `yaml:"quiet" help:"wait at most so long until others leave the interface alone for half a second, below 1 Mbit/s, and flag cross_traffic if they do not; 0 does not wait (Linux)" min:"0s" max:"4m"`
	CongestionControl string        `yaml:"congestion_control" help:"TCP congestion control of the sender, as its kernel names it; the kernel's default when empty (Linux)"`
	lease.Terms
}

func defaults() Config {
	return Config{
		Transport: "tcp", Direction: "down", Streams: 4, Connections: 1, Duration: 10 * time.Second,
		Interval: 100 * time.Millisecond, Confidence: 0.8, Terms: lease.DefaultTerms(),
	}
}

// setupTime is how much longer than its duration a run may take: name, handshakes, control messages and the last count,
// each of which is given up after idleLimit.
const setupTime = 4 * idleLimit

// Timeout implements probes.Config.
func (c *Config) Timeout() time.Duration { return c.LeaseWait + c.Quiet + c.Duration + setupTime }

// ways lists the directions that are measured.
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

// target is how many bytes one direction transfers at most; 0 is no limit. With both directions each has half of
// max_bytes: shares that followed the rates would let one direction starve the other of its measurement.
func (c *Config) target() int64 {
	limit := int64(c.MaxBytes) / int64(len(c.ways()))
	if volume := int64(c.Volume); volume > 0 && (limit == 0 || volume < limit) {
		return volume
	}
	return limit
}

// Kind describes the kind "throughput".
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "throughput",
		Summary: "how fast data moves, over TCP or QUIC, up, down or both",
		Help: `Sends as much as the path takes and publishes what the receiver counted: goodput above transport headers.
The ramp at the start is left out: it ends with the first interval whose rate reaches 90 % of the median of
those behind it, or which the following second exceeds by less than 10 %. What was left out is published as
ramp_up_seconds and ramp_down_seconds; warmup sets it by hand.
Uses as much data as it can: bound it by duration, volume or max_bytes, or let settle end it early. On recorded
5G links, settle 0.15 took 37 % of the bytes of ten seconds, with a median error of 2 % (make bench-early-stop).
What others move over the interface meanwhile is noted and, beyond 1 Mbit/s, flagged as cross_traffic; a host whose
processors were taken is flagged as cpu_starved (Linux).
Port 8620 for TCP and 8443 for QUIC when the target names none. Over QUIC the congestion control is New Reno.
Asks the reflector for a lease first, so that one load test of a site runs at a time, and waits for it (lease_wait).
Against a server that grants none it runs all the same.`,
		Example: "nrprobe probe throughput 127.0.0.1 --direction both --duration 5s",
		Lane:    probes.Load,
		Port:    farend.StreamPort,
		Metrics: []*probes.Metric{
			probes.Goodput, probes.IntervalRate, probes.Ramp, probes.Transferred, probes.Retransmitted,
			probes.TCPEfficiency, probes.TransferTimeRatio, probes.BufferDelay,
			probes.ConnectTime, probes.HandshakeTime,
			probes.TransportRTT, probes.TransportMinRTT, probes.TransportLost, probes.CongestionWindow,
		},
	}, defaults, buildGuarded)
}

// buildGuarded makes a probe that asks for a lease first.
func buildGuarded(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	p, err := build(c, env, target)
	if err != nil {
		return nil, err
	}
	return lease.Guard(p, lease.Gate{
		Env: env, Target: target, Plain: c.Transport == "tcp", Terms: c.Terms,
		Ask: lease.Ask{Kind: "throughput", Bytes: int64(c.WorstCase()), Duration: c.Quiet + c.Duration + setupTime},
	}), nil
}

// minTarget is the least that one direction transfers: some packets for each of the most streams that there may be.
const minTarget = 1 << 20

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if c.Volume > 0 && c.MaxBytes > 0 && int64(c.Volume)*int64(len(c.ways())) > int64(c.MaxBytes) {
		return nil, fmt.Errorf("volume: %v per direction is more than max_bytes (%v) allows: raise max_bytes or lower volume", c.Volume, c.MaxBytes)
	}
	if limit := c.target(); limit > 0 && limit < minTarget {
		return nil, fmt.Errorf("volume, max_bytes: %d bytes per direction are too few to measure: want at least %v", limit, unit.Bytes(minTarget))
	}
	if c.Warmup >= c.Duration {
		return nil, fmt.Errorf("warmup: %v leaves nothing of the duration of %v to measure", c.Warmup, c.Duration)
	}
	if c.Transport == "quic" {
		if c.CongestionControl != "" {
			return nil, fmt.Errorf("congestion_control: %q cannot be chosen over QUIC, where it is New Reno: leave it out", c.CongestionControl)
		}
		return &quicProbe{config: c, env: env, target: quicTarget(target)}, nil
	}
	return &tcpProbe{config: c, env: env, target: target}, nil
}

// quicTarget gives the target the TLS port when the user named none: the kind's default is the TCP one.
func quicTarget(t probes.Target) probes.Target {
	if plain, err := probes.ParseTarget(t.Text, 0); err == nil && plain.Port == 0 {
		t.Port = farend.TLSPort
	}
	return t
}
