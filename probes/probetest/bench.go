package probetest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// Bench is an edge device and a far host with a link between them, inside a bubble, until the test ends.
type Bench struct {
	Net       *netsim.Network
	Edge, Far *netsim.Host
	Up, Down  *netsim.Link // from the edge device to the far host, and back
	// Env is what probes get: that of the edge device, which a test may change.
	Env probes.Env
	// Kill ends what Serve began. The far host stays, and says nothing more.
	Kill context.CancelFunc

	t       *testing.T
	ctx     context.Context
	serving sync.WaitGroup
}

// NewBench makes a bench whose far host is FarName. A direction that is nil takes 10 ms and loses nothing.
func NewBench(t *testing.T, up, down netsim.Profile) *Bench {
	t.Helper()
	return NewBenchOf(t, 1, up, down)
}

// NewBenchOf is NewBench with the seed of what the links lose and reorder.
func NewBenchOf(t *testing.T, seed uint64, up, down netsim.Profile) *Bench {
	t.Helper()
	if up == nil {
		up = netsim.State{Delay: 10 * time.Millisecond}
	}
	if down == nil {
		down = netsim.State{Delay: 10 * time.Millisecond}
	}
	b := &Bench{Net: netsim.New(seed), t: t}
	b.ctx, b.Kill = context.WithCancel(context.Background())
	b.Edge = b.Net.Host("edge", "10.0.0.1", "fd00::1")
	b.Far = b.Net.Host(FarName, FarAddress4, FarAddress6)
	b.Up, b.Down = b.Net.Connect(b.Edge, b.Far, up, down)
	b.Env = Env(t, b.Edge)
	t.Cleanup(func() {
		b.Kill()
		b.serving.Wait()
		if err := b.Net.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Serve runs a far end on the far host until the test ends, and returns when it listens. serve returns when its context
// has ended and everything that it started; its error fails the test.
func (b *Bench) Serve(serve func(context.Context, probes.Network) error) {
	b.t.Helper()
	b.serving.Go(func() {
		if err := serve(b.ctx, b.Far); err != nil {
			b.t.Errorf("far end: %v", err)
		}
	})
	synctest.Wait()
}

// Run runs a kind once, as the agent would. The target is a host, with or without a port. Of several Results it returns the
// last. It is safe for concurrent use.
func (b *Bench) Run(ctx context.Context, k probes.Kind, config any, target string) *probes.Result {
	b.t.Helper()
	results := run(ctx, k, b.build(k, config, target), config)
	return results[len(results)-1]
}

// Measure is Run for a probe that runs alone: it finds sockets that were left open.
func (b *Bench) Measure(ctx context.Context, k probes.Kind, config any, target string) *probes.Result {
	b.t.Helper()
	defer b.checkClosed()
	return b.Run(ctx, k, config, target)
}

func (b *Bench) build(k probes.Kind, config any, target string) probes.Probe {
	b.t.Helper()
	t, err := probes.ParseTarget(target, k.Port)
	if err != nil {
		b.t.Fatal(err)
	}
	env := b.Env
	env.Rand = seeded() // which is for one probe
	probe, err := k.Build(config, env, t)
	if err != nil {
		b.t.Fatal(err)
	}
	return probe
}

// endlessRun is how long a continuous probe, which has no end of its own, measures in one run.
const endlessRun = 20 * time.Second

// run runs a probe as the agent would: one Result, or a continuous probe's windows.
func run(ctx context.Context, k probes.Kind, probe probes.Probe, config any) []*probes.Result {
	timeout := k.Timeout(config)
	if timeout == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		timer := time.AfterFunc(endlessRun, cancel)
		defer timer.Stop()
	}
	runner := probes.Runner{Agent: "edge", Boot: "boot"}
	var results []*probes.Result
	runner.Run(ctx, probes.Job{Kind: k.Name, Name: "suite", Target: FarName, Probe: probe, Timeout: timeout},
		func(r *probes.Result) { results = append(results, r) })
	return results
}

// checkClosed finds sockets that a probe left open.
func (b *Bench) checkClosed() {
	b.t.Helper()
	if n := b.Edge.Sockets(); n > 0 {
		b.t.Errorf("the probe returned and left %d sockets open", n)
	}
}
