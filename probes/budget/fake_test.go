package budget

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
)

// echoConfig is the configuration of the kind that tests measure with.
type echoConfig struct {
	Count    int           `yaml:"count" help:"packets a run" min:"1" max:"10000"`
	Interval time.Duration `yaml:"interval" help:"time between packets" min:"1ms" max:"1s"`
	Window   time.Duration `yaml:"window" help:"measure without end"`
}

// Timeout implements probes.Config.
func (c *echoConfig) Timeout() time.Duration {
	if c.Window > 0 {
		return 0
	}
	return time.Duration(c.Count)*c.Interval + time.Second
}

// fakeLink says what a packet to a target meets.
type fakeLink func(target string, at time.Duration, r *rand.Rand) (rtt time.Duration, lost bool)

// kinds has one kind, "stamp", that measures a fake link in the time of its bubble, "tcp", that is refused, and "throughput", that gets no turn.
func kinds(link fakeLink) catalog.Catalog[probes.Kind] {
	began := time.Now()
	stamp := probes.Define(probes.Kind{Name: "stamp", Port: 8620, Metrics: []*probes.Metric{probes.RTT, probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost}},
		func() echoConfig { return echoConfig{Count: 100, Interval: 10 * time.Millisecond} },
		func(c echoConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
			return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
				return echo(ctx, r, c, func() (time.Duration, bool) { return link(target.Text, time.Since(began), env.Rand) })
			}), nil
		})
	connect := probes.Define(probes.Kind{Name: "tcp", Port: 8620, Metrics: []*probes.Metric{probes.ConnectTime}},
		func() echoConfig { return echoConfig{Count: 1, Interval: 10 * time.Millisecond} },
		func(echoConfig, probes.Env, probes.Target) (probes.Probe, error) {
			return probes.ProbeFunc(func(context.Context, *probes.Recorder) error {
				return probes.Fail(probes.Refused, "connection refused")
			}), nil
		})
	waits := probes.Define(probes.Kind{Name: "throughput", Port: 8620, Metrics: []*probes.Metric{probes.Goodput}},
		func() echoConfig { return echoConfig{Count: 1, Interval: 10 * time.Millisecond} },
		func(echoConfig, probes.Env, probes.Target) (probes.Probe, error) {
			return probes.ProbeFunc(func(context.Context, *probes.Recorder) error {
				return probes.Fail(probes.Busy, "another load test has the lease")
			}), nil
		})
	return catalog.New("probe kind", stamp, connect, waits)
}

// echo sends a run of packets.
func echo(ctx context.Context, r *probes.Recorder, c echoConfig, packet func() (time.Duration, bool)) error {
	r.Add(probes.PacketsLost, probes.Both, 0)
	received := 0
	for range c.Count {
		rtt, lost := packet()
		r.Add(probes.PacketsSent, probes.Both, 1)
		r.Observe(probes.ScheduleError, probes.Both, 0) // the instrument's own, which says nothing about the far end
		if lost {
			r.Add(probes.PacketsLost, probes.Both, 1)
		} else {
			received++
			r.Add(probes.PacketsReceived, probes.Both, 1)
			r.ObserveDuration(probes.RTT, probes.Both, rtt)
		}
		select {
		case <-time.After(c.Interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if received == 0 {
		return probes.Fail(probes.Timeout, "no reply to %d packets", c.Count)
	}
	return nil
}

// around is a link with round-trip times of about that much.
func around(middle time.Duration) fakeLink {
	return func(_ string, _ time.Duration, r *rand.Rand) (time.Duration, bool) {
		return middle + time.Duration(r.NormFloat64()*0.1*float64(middle)), false
	}
}

// checkLive runs a check in the bubble that it is called in.
func checkLive(ctx context.Context, yaml string, link fakeLink, adjust ...func(*Options)) (*Report, error) {
	catalog := kinds(link)
	plan, err := Parse("budgets.yaml", []byte(yaml), nil, catalog)
	if err != nil {
		return nil, err
	}
	o := Options{Kinds: catalog, Live: &Live{
		Target: "edge.example", Runner: &probes.Runner{Agent: "ci", Boot: "b"}, Version: "v1",
		Env: probes.Env{Rand: rand.New(rand.NewPCG(1, 2))},
	}}
	for _, f := range adjust {
		f(&o)
	}
	return Check(ctx, plan, o)
}
