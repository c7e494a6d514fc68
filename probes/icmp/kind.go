// Package icmp measures round trips of ICMP echo, to any host that answers: what ping measures, on a schedule, with every
// packet accounted for.
package icmp

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Config is what can be set of a run.
type Config struct {
	Count    int           `yaml:"count" help:"packets to send" min:"1" max:"100000"`
	Interval time.Duration `yaml:"interval" help:"time between two packets" min:"1ms" max:"1h"`
	Size     int           `yaml:"size" help:"bytes of payload behind the ICMP header" min:"24" max:"65000"`
	Late     time.Duration `yaml:"late" help:"a reply that takes longer counts as late, and not as lost" min:"1ms" max:"1m"`
	Wait     time.Duration `yaml:"timeout" help:"how long to wait for the replies to the last packets" min:"10ms" max:"1m"`
}

func defaults() Config {
	return Config{
		Count: 20, Interval: 200 * time.Millisecond, Size: 56,
		Late: time.Second,     // where most tools have given up
		Wait: 3 * time.Second, // radio links hold packets back for a second and more while they wake up or hand over
	}
}

// Timeout implements probes.Config: the planned length, the wait for the last reply, and slack for resolving the name.
func (c *Config) Timeout() time.Duration {
	return time.Duration(c.Count)*c.Interval + c.Wait + 10*time.Second
}

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "icmp",
		Summary: "ICMP echo round trips, as ping measures them",
		Help: `Sends ICMP echo requests, over IPv4 or IPv6, at a fixed interval whatever became of the ones before, and measures until
the replies are there. It needs no far end of ours; but routers may answer slowly, seldom or not at all, and the
direction of a loss cannot be told: the kind stamp tells it. A reply counts whenever it comes before the run ends: late
ones are counted apart, copies and overtaking ones too, and only what never came is lost. It uses a datagram socket,
which needs no privilege where net.ipv4.ping_group_range allows it, and a raw one (CAP_NET_RAW) where it does not. On
Linux the kernel stamps the replies, and the program the requests. Each run has an identifier of its own, so that a
firewall that has dropped the flow of one run does not fail the next one. Errors that routers send back are not read:
they show as losses.`,
		Example: "nrprobe probe icmp 127.0.0.1 --count 5",
		Lane:    probes.Latency,
		Metrics: []*probes.Metric{
			probes.RTT, probes.ResolveTime, probes.ScheduleError,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsLate,
			probes.PacketsDuplicated, probes.PacketsReordered, probes.PacketsRefused, probes.LossRatio,
		},
	}, defaults, build)
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if target.Port != 0 {
		return nil, fmt.Errorf("target: ICMP has no ports: write %s", target.Host)
	}
	return &probe{config: c, env: env, target: target}, nil
}
