package agent

import (
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// exampleConfig has the keys of the kinds that the example file uses.
type exampleConfig struct {
	Interval  time.Duration `yaml:"interval"`
	Window    time.Duration `yaml:"window"`
	Transport string        `yaml:"transport"`
	Direction string        `yaml:"direction"`
	MaxBytes  unit.Bytes    `yaml:"max_bytes"`
}

// WorstCase implements probes.Priced.
func (c *exampleConfig) WorstCase() unit.Bytes { return c.MaxBytes }

// Timeout implements probes.Config.
func (c *exampleConfig) Timeout() time.Duration {
	if c.Window > 0 {
		return 0
	}
	return time.Minute
}

// TestExampleFile holds the commented example against the configuration: it loads, and what it says of defaults is so.
func TestExampleFile(t *testing.T) {
	kind := func(name string, lane probes.Lane) probes.Kind {
		return probes.Define(probes.Kind{Name: name, Lane: lane, Port: 7, Continuous: true}, func() exampleConfig { return exampleConfig{} },
			func(exampleConfig, probes.Env, probes.Target) (probes.Probe, error) { return nil, nil })
	}
	kinds := catalog.New("probe kind", kind("stamp", probes.Latency), kind("tcp", probes.Latency), kind("quic", probes.Latency), kind("throughput", probes.Load))
	c, err := Load("../configs/agent.yaml", kinds)
	if err != nil {
		t.Fatal(err)
	}
	d := Default()
	if c.Outbox != d.Outbox || c.Metrics != d.Metrics {
		t.Errorf("the example has %+v and %+v, the defaults are %+v and %+v", c.Outbox, c.Metrics, d.Outbox, d.Metrics)
	}
	want := d.Uplink
	want.URL, want.Org, want.TokenFile = c.Uplink.URL, c.Uplink.Org, c.Uplink.TokenFile
	if c.Uplink != want {
		t.Errorf("the example has %+v, the defaults are %+v", c.Uplink, want)
	}
	if len(c.Probes) != 4 || !c.Probes[0].continuous(kinds.All()[0]) {
		t.Errorf("probes %+v", c.Probes)
	}
}
