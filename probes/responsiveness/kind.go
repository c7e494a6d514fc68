package responsiveness

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Config is what one run does. The zero value is not usable: take the one that Kind().NewConfig returns. Names in brackets
// are the draft's.
type Config struct {
	HTTP        string        `yaml:"http" help:"version of HTTP that load and probes use" oneof:"2,3"`
	Direction   string        `yaml:"direction" help:"which way the link is loaded; both at the same time" oneof:"both,down,up"`
	Duration    time.Duration `yaml:"duration" help:"end after so long even when nothing has become stable" min:"1s" max:"2m"`
	MaxBytes    unit.Bytes    `yaml:"max_bytes" help:"end before more than this is transferred, all directions together; 0 is no limit" max:"1TB"`
	Interval    time.Duration `yaml:"interval" help:"length of an interval (ID); the draft has 5s at present and had 1s before" min:"100ms" max:"10s"`
	Distance    int           `yaml:"distance" help:"intervals in a moving average (MAD)" min:"2" max:"20"`
	Trim        float64       `yaml:"trim" help:"share of the probes, the fastest ones, that count (TMP)" min:"0.5" max:"1"`
	Tolerance   float64       `yaml:"tolerance" help:"deviation below which a moving average is stable, as a share (SDT)" min:"0.001" max:"0.5"`
	Initial     int           `yaml:"initial" help:"load-generating connections at first, per direction (INP)" min:"1" max:"64"`
	Added       int           `yaml:"added" help:"connections added each interval, per direction (INC)" min:"0" max:"64"`
	Connections int           `yaml:"connections" help:"most load-generating connections, per direction (MNP)" min:"1" max:"64"`
	ProbeRate   int           `yaml:"probe_rate" help:"most probes a second (MPS)" min:"2" max:"1000"`
	ProbeShare  float64       `yaml:"probe_share" help:"most that probes take of the capacity (PTC)" min:"0.001" max:"0.5"`
	lease.Terms
}

func defaults() Config {
	return Config{
		HTTP: "2", Direction: "both", Duration: 20 * time.Second, Interval: time.Second, Distance: 4, Trim: 0.95, Tolerance: 0.05,
		Initial: 1, Added: 1, Connections: 16, ProbeRate: 100, ProbeShare: 0.05,
		Terms: lease.DefaultTerms(),
	}
}

// stepLimit is how long one step beside the measurement may take: resolving, connecting, asking for the configuration.
const stepLimit = 5 * time.Second

// Timeout implements probes.Config.
func (c *Config) Timeout() time.Duration { return c.LeaseWait + c.Duration + 4*stepLimit }

func (c *Config) ways() []probes.Direction {
	switch c.Direction {
	case "up":
		return []probes.Direction{probes.Up}
	case "down":
		return []probes.Direction{probes.Down}
	default:
		return []probes.Direction{probes.Up, probes.Down}
	}
}

// Kind describes the kind "responsiveness".
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "responsiveness",
		Summary: "round trips per minute while the link is loaded, over HTTP/2 or HTTP/3",
		Help: `Loads the link with more and more HTTP connections until the rate grows no more, and asks for single bytes meanwhile,
by turns on new connections and on loaded ones. Follows ` + Draft + `, and works against
any server that has /.well-known/nq. The infos "confidence", in the round trips, and "confidence_goodput" are the
draft's: low, medium or high. Confidence in the round trips is low, too, while load or more of the probes than trim
leaves out are lost ("probes_lost"); when most are, the run fails. Intervals are 1 s, not
the draft's 5 s, because a radio link does not hold still for longer; interval sets them.
Uses as much data as it can: bound it by duration or max_bytes. Asks a reflector of ours for a lease first, so that one
load test of a site runs at a time (lease_wait).`,
		Example: "nrprobe probe responsiveness 127.0.0.1 --duration 10s",
		Lane:    probes.Load,
		Port:    farend.TLSPort,
		Metrics: []*probes.Metric{
			probes.Responsiveness, probes.ForeignResponsiveness, probes.LoadedResponsiveness, probes.LoadedLatency,
			probes.ConnectTime, probes.HandshakeTime, probes.FirstByteTime, probes.Goodput, probes.Transferred,
		},
	}, defaults, build)
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if c.Initial > c.Connections {
		return nil, fmt.Errorf("initial: %d connections are more than connections (%d) allows", c.Initial, c.Connections)
	}
	if shortest := 2 * time.Duration(c.Distance) * c.Interval; c.Duration < c.Interval {
		return nil, fmt.Errorf("duration: %v is less than one interval of %v: %v is the least in which anything can become stable", c.Duration, c.Interval, shortest)
	}
	return &probe{config: c, env: env, target: target}, nil
}
