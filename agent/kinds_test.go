package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// fakeConfig configures all fake kinds.
type fakeConfig struct {
	Takes  time.Duration `yaml:"takes" help:"how long a run takes" min:"0s" max:"1h"`
	Window time.Duration `yaml:"window" help:"length of a window" min:"1s" max:"1h"`
	Fails  bool          `yaml:"fails" help:"whether it fails"`
	Limit  time.Duration `yaml:"limit" help:"when a run is ended" min:"1s" max:"2h"`
	Moves  unit.Bytes    `yaml:"moves" help:"data that a run counts as received"`
	Max    unit.Bytes    `yaml:"max_bytes" help:"data that a run or a window takes at most"`
	Trace  string        `yaml:"trace" help:"file with every packet"`
	ends   bool
}

// WorstCase implements probes.Priced.
func (c *fakeConfig) WorstCase() unit.Bytes { return c.Max }

// Timeout implements probes.Config.
func (c *fakeConfig) Timeout() time.Duration {
	if !c.ends {
		return 0
	}
	return c.Limit
}

// diary takes down when fake probes measured, in seconds since it was made.
type diary struct {
	mu    sync.Mutex
	zero  time.Time
	spans []string
}

func newDiary() *diary { return &diary{zero: time.Now()} }

func (d *diary) write(name string, from time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spans = append(d.spans, fmt.Sprintf("%s %g-%g", name, from.Sub(d.zero).Seconds(), time.Since(d.zero).Seconds()))
}

func (d *diary) sorted() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(slices.Values(d.spans))
}

// kinds are fake kinds: ping and load run for some time, leased does with a lease, stream goes on without end and cuts windows.
func (d *diary) kinds() catalog.Catalog[probes.Kind] {
	finite := func() fakeConfig { return fakeConfig{Takes: time.Second, Limit: time.Minute, ends: true} }
	endless := func() fakeConfig { return fakeConfig{Window: 10 * time.Second} }
	return catalog.New("probe kind",
		probes.Define(probes.Kind{Name: "ping", Port: 7}, finite, d.buildRun),
		probes.Define(probes.Kind{Name: "load", Port: 7, Lane: probes.Load}, finite, d.buildRun),
		probes.Define(probes.Kind{Name: "leased", Port: 8620, Lane: probes.Load}, finite, d.buildLeased),
		probes.Define(probes.Kind{Name: "stream", Port: 7, Continuous: true}, endless, d.buildStream),
	)
}

func (d *diary) buildRun(c fakeConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
	if c.Takes > time.Hour/2 {
		return nil, fmt.Errorf("takes: %v is too long for anybody", c.Takes)
	}
	return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
		defer d.write(target.Host, time.Now())
		r.ObserveDuration(probes.RTT, probes.Both, 20*time.Millisecond)
		if c.Moves > 0 {
			r.Add(probes.Transferred, probes.Down, float64(c.Moves))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Takes):
		}
		if c.Fails {
			return errors.New("failed as it was told to")
		}
		return nil
	}), nil
}

func (d *diary) buildStream(c fakeConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
	return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
		defer d.write(target.Host, time.Now())
		for {
			r.Add(probes.PacketsSent, probes.Both, 100)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(c.Window):
				r.Cut()
			}
			if c.Fails {
				return errors.New("failed as it was told to")
			}
		}
	}), nil
}

// gather collects results.
type gather struct {
	mu   sync.Mutex
	list []*probes.Result
}

func (g *gather) add(r *probes.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, r)
}

func (g *gather) results() []*probes.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.list)
}

// configOf reads a configuration of fake kinds, with no listener and no uplink unless the text has them.
func configOf(t *testing.T, d *diary, text string) *Config {
	t.Helper()
	c, err := Parse("agent.yaml", []byte("metrics: {listen: off}\n"+text), func(string) (string, bool) { return "", false }, d.kinds())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// noNet is a Deps.Network for probes that need none.
func noNet(Way) (probes.Network, error) { return noNetwork{}, nil }
