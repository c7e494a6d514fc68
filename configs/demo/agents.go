package demo

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/nrprobe/nrprobe/agent"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
)

// agentYAML is the configuration of the demo's agents; the values in ${} differ from agent to agent.
//
//go:embed agent.yaml
var agentYAML []byte

// runAgents drives until ctx ends and returns when every agent has delivered what it could. What the agents need of the
// far side lives on servers, which ends later.
func runAgents(ctx, servers context.Context, o Options, s scene, running *group) error {
	agents := &group{}
	driving, stop := context.WithCancel(ctx)
	defer stop()
	var err error
	var in entrances
	for _, d := range s.links {
		var a *agent.Agent
		if in, err = d.relays(servers, o, s, running); err == nil {
			a, err = newAgent(o, s, d, in)
		}
		if err != nil {
			stop()
			break
		}
		agents.run(func() error { return a.Run(driving) })
	}
	if err == nil {
		announce(o, s, in)
	}
	if waitErr := agents.wait(); err == nil {
		err = waitErr
	}
	return err
}

func newAgent(o Options, s scene, d drive, in entrances) (*agent.Agent, error) {
	values := map[string]string{
		"NAME": d.agent, "STAMP": in.stamp, "STREAMS": in.streams, "QUIC": in.quic,
		"PIN": s.far.Pin(), "COLLECTOR": "http://" + s.collector,
	}
	lookup := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	config, err := agent.Parse("demo agent", agentYAML, lookup, o.Kinds)
	if err != nil {
		return nil, err
	}
	return agent.New(config, agent.Deps{
		Kinds: o.Kinds,
		Network: func(w agent.Way) (probes.Network, error) {
			return host.New(host.Config{Interface: w.Interface, Family: w.Family, DNS: w.DNS, SourceFallback: w.SourceFallback, Log: o.Log})
		},
		Radio:   d.course.Radio(d.start),
		Log:     o.Log.With("role", "agent", "agent", d.agent),
		Version: o.Version,
	})
}

// announce says where to look, and where to measure across one of the links oneself.
func announce(o Options, s scene, in entrances) {
	what := fmt.Sprintf("a seeded drive (seed %d)", o.Seed)
	if o.Trace != nil {
		what = "the recorded drive " + o.Trace.path
	}
	fmt.Fprintf(o.Out, `nrprobe demo: %d agents measure over %s

  page       http://%[3]s/
  query API  http://%[3]s/api/v1/query?query=histogram_quantile(0.95,rate(nrprobe_rtt_seconds[1m]))
  metrics    http://%[3]s/metrics

Measure across the last link yourself:

  nrprobe probe stamp %[4]s
  nrprobe check --profile gaming --target %[4]s

Ctrl-C ends it.
`, len(s.links), what, s.collector, in.stamp)
}
