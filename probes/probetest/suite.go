// Package probetest is what every kind of probe must satisfy, as a suite that a kind's own test runs in a few lines, and
// the environment to test probes in. All of it happens on an emulated network in the virtual time of synctest bubbles.
package probetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// Delay is the one-way delay, the same in both directions, of the perfect link that a probe measures.
const Delay = 5 * time.Millisecond

// Suite is the contract of a kind, and how to test that one fulfils it.
type Suite struct {
	// Kind is the kind under test.
	Kind probes.Kind
	// FarEnd is served on the far host when Serve is nil: Packets on the kind's UDP port, Streams on its TCP port behind
	// their preamble.
	FarEnd farend.Service
	// Serve is the far end of kinds that need more, TLS or QUIC: it opens what it needs on the network, serves with
	// ServerTLS, and returns when ctx ends and everything it started has ended.
	Serve func(ctx context.Context, network probes.Network) error
	// Config changes the kind's defaults so that one run is short; nil leaves them.
	Config func(config any)
	// Whole says that a run measures one thing, so that a canceled one has nothing to show.
	Whole bool
	// Closed is the outcome against a host whose ports are all closed: probes.Refused for TCP. The default is
	// probes.Timeout, as a closed UDP port is silent here.
	Closed probes.Outcome
}

// Run runs the whole suite. The kind's test calls it from a plain test, not from within a bubble.
func (s Suite) Run(t *testing.T) {
	t.Run("described", s.testDescribed)
	t.Run("configuration", s.testConfiguration)
	t.Run("build opens nothing", s.testBuildOpensNothing)
	t.Run("perfect link", s.bubble(s.testPerfect))
	t.Run("writes to the recorder only", s.testQuiet)
	t.Run("measures again", s.bubble(s.testAgain))
	t.Run("lossy link", s.bubble(s.testLossy))
	for _, share := range []int{0, 25, 50, 75} {
		t.Run("canceled after "+percent(share), func(t *testing.T) { s.testCanceled(t, share) })
	}
	t.Run("closed ports", s.bubble(s.testClosed))
	t.Run("silent far end", s.bubble(s.testSilent))
	t.Run("no such name", s.bubble(s.testNoName))
	t.Run("no route", s.bubble(s.testNoRoute))
	for _, g := range garbages() {
		t.Run("garbage, "+g.name, s.bubble(func(t *testing.T) { s.testGarbage(t, g) }))
	}
}

func (s Suite) bubble(f func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func (s Suite) testPerfect(t *testing.T) {
	b := s.bench(t)
	s.serve(b)
	results := s.measure(b.ctx, b)
	for _, p := range s.checkGood(results) {
		t.Error(p)
	}
	b.checkClosed()
}

func (s Suite) testAgain(t *testing.T) {
	b := s.bench(t)
	s.serve(b)
	config := s.config()
	probe := b.build(s.Kind, config, FarName)
	for i := range 3 {
		for _, p := range s.checkGood(run(b.ctx, s.Kind, probe, config)) {
			t.Errorf("run %d: %s", i+1, p)
		}
		b.checkClosed()
		time.Sleep(time.Second)
	}
}

// testLossy only asks that a run ends in time with a sane Result: what loss does to a kind is for the kind's own tests.
func (s Suite) testLossy(t *testing.T) {
	lossy := s.perfect()
	lossy.Jitter, lossy.Loss, lossy.Duplicate = 2*time.Millisecond, 0.05, 0.05
	lossy.Reorder, lossy.ReorderBy = 0.05, 3*time.Millisecond
	lossy.Burst = netsim.Burst{Enter: 0.01, Leave: 0.3, Loss: 0.9}
	b := NewBench(t, lossy, lossy)
	s.serve(b)
	for _, r := range s.measure(b.ctx, b) {
		if r.Outcome != probes.OK && r.Outcome != probes.Timeout && r.Outcome != probes.Canceled {
			t.Errorf("outcome %s (%s), want ok or timeout", r.Outcome, r.Error)
		}
		for _, p := range checkValues(s.Kind, r) {
			t.Error(p)
		}
	}
	b.checkClosed()
}

// promptly is how long a probe may take to return once its context has ended: time enough to say goodbye to the far end.
const promptly = time.Second

// testCanceled cancels a run when a share of the time has passed that a whole one takes.
func (s Suite) testCanceled(t *testing.T, share int) {
	var whole time.Duration
	synctest.Test(t, func(t *testing.T) {
		b := s.bench(t)
		s.serve(b)
		start := time.Now()
		s.measure(b.ctx, b)
		whole = time.Since(start)
	})
	synctest.Test(t, func(t *testing.T) {
		b := s.bench(t)
		s.serve(b)
		after := whole * time.Duration(share) / 100
		ctx, cancel := context.WithCancel(b.ctx)
		if after == 0 {
			cancel()
		}
		timer := time.AfterFunc(after, cancel)
		defer timer.Stop()
		start := time.Now()
		results := s.measure(ctx, b)
		if took := time.Since(start); took > after+promptly {
			t.Errorf("returned %v after it was canceled, want at most %v", took-after, promptly)
		}
		b.checkClosed()
		if s.endless() && share == 0 && len(results) == 0 {
			return // a continuous probe that never began has no Result
		}
		last := results[len(results)-1]
		if last.Outcome != probes.Canceled {
			t.Errorf("outcome %s (%s), want canceled", last.Outcome, last.Error)
		}
		for _, p := range checkValues(s.Kind, last) {
			t.Error(p)
		}
		if share == 75 && !s.Whole && len(last.Values) == 0 {
			t.Errorf("nothing was taken down of what three quarters of the run had measured")
		}
	})
}

// perfect is the link that loses nothing. Probes that fill it get one with an end, 100 Mbit/s with 20 ms of queue, that
// a test need not carry what 4 MiB a window and 10 ms a round trip come to.
func (s Suite) perfect() netsim.State {
	if s.Kind.Lane == probes.Load {
		return netsim.State{Delay: Delay, Rate: 12.5e6, Queue: 250_000}
	}
	return netsim.State{Delay: Delay}
}

func (s Suite) bench(t *testing.T) *Bench {
	t.Helper()
	link := s.perfect()
	return NewBench(t, link, link)
}

// serve starts the far end and returns when it listens. How it ends says nothing when it was told to.
func (s Suite) serve(b *Bench) {
	b.t.Helper()
	serve := s.Serve
	if serve == nil {
		serve = func(ctx context.Context, network probes.Network) error {
			return servePlain(ctx, network, s.FarEnd, s.Kind.Port)
		}
	}
	b.Serve(func(ctx context.Context, network probes.Network) error {
		if err := serve(ctx, network); ctx.Err() == nil {
			return err
		}
		return nil
	})
}

func (s Suite) config() any {
	config := s.Kind.NewConfig()
	if s.Config != nil {
		s.Config(config)
	}
	return config
}

// endless says whether a run ends only when it is canceled.
func (s Suite) endless() bool { return s.Kind.Timeout(s.config()) == 0 }

// measure builds a probe for the far host and runs it once.
func (s Suite) measure(ctx context.Context, b *Bench) []*probes.Result {
	b.t.Helper()
	config := s.config()
	return run(ctx, s.Kind, b.build(s.Kind, config, FarName), config)
}
