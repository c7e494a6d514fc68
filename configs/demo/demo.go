// Package demo runs the whole pipeline in one process, without root and without another server: a reflector, an emulated
// 5G link for each of several agents, and a collector whose page shows what they measure. It is the quickest way to see
// nrprobe work, and the widest test of it.
//
//	agent ── relays (emulated drive) ── reflector
//	  └───── line protocol ──> collector ── page, query API, /metrics
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/nrprobe/nrprobe/collector"
	sinksall "github.com/nrprobe/nrprobe/collector/sinks/all"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/reflector"
)

// Options are what a demo needs and what a user may choose.
type Options struct {
	Kinds   catalog.Catalog[probes.Kind]
	FarEnds func(log *slog.Logger, leases *lease.Book) []farend.Service
	Log     *slog.Logger
	Version string
	// Seed makes the emulated drives; the same seed drives the same way.
	Seed uint64
	// Trace is a recorded drive that all agents replay instead; nil for the seeded ones.
	Trace *Trace
	// Agents is how many drive, at least 1.
	Agents int
	// Listen is the collector's address; a free port of the loopback interface when empty.
	Listen string
	// Data keeps queue and store; a temporary folder, removed at the end, when empty.
	Data string
	// Out is where the addresses are printed once everything runs.
	Out io.Writer
}

// Run starts everything, prints where to look, and blocks until ctx ends. It stops in the direction of the data: agents
// first, then what they measured against, then the collector that takes their last results.
// Liveness: returns when all of them have ended.
func Run(ctx context.Context, o Options) error {
	if o.Data == "" {
		dir, err := os.MkdirTemp("", "nrprobe-demo-")
		if err != nil {
			return fmt.Errorf("making a folder for the demo: %w", err)
		}
		defer os.RemoveAll(dir)
		o.Data = dir
	}
	links := newLinks(o)
	servers, stopServers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServers()
	running := &group{}

	c, err := startCollector(servers, o, running)
	var far *reflector.Reflector
	if err == nil {
		far, err = startReflector(servers, o, running)
	}
	if err == nil {
		err = runAgents(ctx, servers, o, scene{links: links, far: far, collector: c.Addr().String()}, running)
	}
	stopServers()
	return errors.Join(err, running.wait())
}

// scene is what the agents drive through.
type scene struct {
	links     []drive
	far       *reflector.Reflector
	collector string
}

func startCollector(ctx context.Context, o Options, running *group) (*collector.Collector, error) {
	config, err := collector.Default(filepath.Join(o.Data, "collector"), sinksall.Kinds())
	if err != nil {
		return nil, err
	}
	config.Listen = o.Listen
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	c, err := collector.New(config, collector.Deps{Log: o.Log.With("role", "collector"), Version: o.Version}) // it opens its port at once or not at all
	if err != nil {
		return nil, err
	}
	return c, running.start("collector", c.Ready(), func() error { return c.Run(ctx) })
}

func startReflector(ctx context.Context, o Options, running *group) (*reflector.Reflector, error) {
	network, err := host.New(host.Config{})
	if err != nil {
		return nil, err
	}
	config := reflector.Defaults()
	config.Data = filepath.Join(o.Data, "reflector")
	free := reflector.Listen{Addresses: []string{"127.0.0.1:0"}}
	config.STAMP.Listen, config.Streams, config.TLS, config.QUIC = free, free, free, free
	log := o.Log.With("role", "reflector")
	r, err := reflector.New(config, network, log, o.FarEnds(log, lease.NewBook(config.Leases, log))...)
	if err != nil {
		return nil, err
	}
	return r, running.start("reflector", r.Ready(), func() error { return r.Run(ctx) })
}

// group owns goroutines and gathers their errors.
type group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *group) run(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil && !errors.Is(err, context.Canceled) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, err)
		}
	})
}

// start runs f and waits until it is ready, or has ended before.
func (g *group) start(what string, ready <-chan struct{}, f func() error) error {
	over := make(chan struct{})
	g.run(func() error { defer close(over); return f() })
	select {
	case <-ready:
		return nil
	case <-over:
		return fmt.Errorf("the %s ended before it was ready", what)
	}
}

func (g *group) wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}
