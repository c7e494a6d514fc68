package capacity

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
	Mode        string        `yaml:"mode" help:"search finds the capacity by filling the path (RFC 9097 type B), train estimates it with few bytes" oneof:"search,train"`
	Direction   string        `yaml:"direction" help:"down is from the far end to here" oneof:"down,up"`
	Duration    time.Duration `yaml:"duration" help:"how long load is sent; trains mostly end before" min:"100ms" max:"1m"`
	MaxBytes    unit.Bytes    `yaml:"max_bytes" help:"send no more than this, IP headers included; 0 is no limit for search and 2 MB for train" max:"1TB"`
	MaxRate     unit.Rate     `yaml:"max_rate" help:"IP-layer rate that the load never exceeds; 0 is no limit" max:"100Gbit/s"`
	InitialRate unit.Rate     `yaml:"initial_rate" help:"IP-layer rate at which the search begins; 0 is the lowest, 500 kbit/s" max:"100Gbit/s"`
	Size        int           `yaml:"size" help:"UDP payload of each datagram in bytes" min:"64" max:"1222"`
	Trains      int           `yaml:"trains" help:"packet trains that mode train sends" min:"4" max:"100"`
	lease.Terms
}

// trainBytes is what mode train sends at most, unless max_bytes says less.
const trainBytes = 2_000_000

func defaults() Config {
	return Config{Mode: "search", Direction: "down", Duration: 10 * time.Second, Size: maxSize, Trains: 16, Terms: lease.DefaultTerms()}
}

// Timeout implements probes.Config.
func (c *Config) Timeout() time.Duration { return c.LeaseWait + c.Duration + 4*patience }

// plan is what the configuration asks of the far end.
func (c *Config) plan() open {
	o := open{
		Version: protocolVersion, Up: c.Direction == "up", Duration: c.Duration, Size: c.Size, MaxBytes: int64(c.MaxBytes),
		MaxRate: float64(c.MaxRate), InitialRate: float64(c.InitialRate),
	}
	if c.Mode == "train" {
		o.Train, o.Trains = true, c.Trains
		if o.MaxBytes == 0 {
			o.MaxBytes = trainBytes
		}
	}
	return o
}

// Kind describes the kind "capacity".
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "capacity",
		Summary: "IP-layer capacity of a path by UDP load, up or down (RFC 9097)",
		Help: `Sends UDP load at rates that climb until datagrams are lost, reordered or late, by the search of RFC 9097
(type B, feedback each 50 ms), and publishes the most that arrived within one second, IP headers included.
Mode train estimates the same with short trains of packets and at most 2 MB, and states the error that
the scatter of the trains leaves. What misleads all trains alike is not in it: cross traffic, links that
deliver in bursts, and a receiver that is slower than the link, which on many is so from 1 Gbit/s on.
Others' traffic on the interface is noted and, beyond 1 Mbit/s, flagged as cross_traffic (Linux).
The far end is asked on its plain TCP port and opens a UDP port of its own for each test, which firewalls
must let through. The search loads the link without regard for others: bound it by duration, max_bytes
or max_rate. Asks the far end for a lease first, so that one load test of a site runs at a time (lease_wait).`,
		Example: "nrprobe probe capacity 127.0.0.1 --direction up --duration 5s --max-rate 1Gbit/s",
		Lane:    probes.Load,
		Port:    farend.StreamPort,
		Metrics: []*probes.Metric{
			probes.IPCapacity, probes.IPCapacityError, probes.Transferred, probes.DelayVariation, probes.ConnectTime,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsDuplicated, probes.PacketsReordered,
			probes.PacketsRefused, probes.PacketsSkipped, probes.LossRatio,
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
		Env: env, Target: target, Plain: true, Terms: c.Terms,
		Ask: lease.Ask{Kind: "capacity", Rate: float64(c.MaxRate), Bytes: int64(c.WorstCase()), Duration: c.Duration + 4*patience},
	}), nil
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	switch {
	case c.Mode == "train" && c.MaxBytes > 0 && int64(c.MaxBytes) < int64(c.Trains*shortestTrain*(c.Size+48)):
		return nil, fmt.Errorf("max_bytes: %v is too little for %d trains: want at least %v, or fewer trains", c.MaxBytes, c.Trains, unit.Bytes(c.Trains*shortestTrain*(c.Size+48)))
	case c.MaxRate > 0 && float64(c.MaxRate) < rateOf(0):
		return nil, fmt.Errorf("max_rate: %v is below the lowest rate of the search, %v", c.MaxRate, unit.Rate(rateOf(0)))
	case c.MaxRate > 0 && c.InitialRate > c.MaxRate:
		return nil, fmt.Errorf("initial_rate: %v is above max_rate, %v", c.InitialRate, c.MaxRate)
	}
	return &prober{config: c, env: env, target: target}, nil
}
