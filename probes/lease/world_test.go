package lease_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/capacity"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
	"github.com/nrprobe/nrprobe/probes/reflector"
	"github.com/nrprobe/nrprobe/probes/throughput"
)

const (
	ms = time.Millisecond
	// owd is the one-way delay of every link. A lease takes a round trip to connect and one to ask.
	owd = 10 * ms
	rtt = 2 * owd
)

// mbit10 is a link of 10 Mbit/s each way with 50 ms of queue.
func mbit10() netsim.State { return netsim.State{Delay: owd, Rate: 1.25e6, Queue: 62_500} }

// world is a reflector and any number of agents, each on a link of its own.
type world struct {
	t      *testing.T
	net    *netsim.Network
	far    *netsim.Host
	config reflector.Config
	agents int

	book    *lease.Book
	kill    context.CancelFunc
	running sync.WaitGroup
}

// newWorld starts a reflector on its plain TCP port.
func newWorld(t *testing.T, change func(*lease.Config)) *world {
	t.Helper()
	w := &world{t: t, net: netsim.New(1)}
	w.far = w.net.Host(probetest.FarName, probetest.FarAddress4)
	w.config = reflector.Config{Streams: reflector.Defaults().Streams, Limits: reflector.Defaults().Limits, Leases: lease.Defaults()}
	if change != nil {
		change(&w.config.Leases)
	}
	w.serve(true)
	t.Cleanup(func() {
		w.stop()
		if err := w.net.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// serve starts a reflector, with leases or, as an older one, without.
func (w *world) serve(leases bool) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	w.book = nil
	if leases {
		w.book = lease.NewBook(w.config.Leases, log)
	}
	loads, searches := throughput.DefaultLimits(), capacity.DefaultLimits()
	loads.Leases, searches.Leases = w.book, w.book
	services := []farend.Service{throughput.FarEndWithin(loads, log), capacity.FarEndWithin(searches, w.far.ListenPacket, log)}
	if w.book != nil {
		services = append(services, w.book.FarEnd())
	}
	r, err := reflector.New(w.config, w.far, log, services...)
	if err != nil {
		w.t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.kill = context.WithCancel(context.Background())
	w.running.Go(func() {
		if err := r.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	<-r.Ready()
}

// stop ends the reflector, at once: there is no grace.
func (w *world) stop() {
	w.kill()
	w.running.Wait()
}

// agent adds an agent whose link has the profile, at a site.
func (w *world) agent(link netsim.Profile, site string) probes.Env {
	w.t.Helper()
	w.agents++
	host := w.net.Host(fmt.Sprintf("agent-%d", w.agents), fmt.Sprintf("10.0.0.%d", w.agents))
	w.net.Connect(host, w.far, link, link)
	env := probetest.Env(w.t, host)
	env.Agent, env.Site = host.String(), site
	return env
}

// request asks for a lease as the agent does.
func (w *world) request(env probes.Env) *lease.Request {
	return &lease.Request{
		Net: env.Net, Address: probetest.FarAddress4 + ":8620", Wait: time.Hour,
		Ask: lease.Ask{Site: env.Site, Agent: env.Agent, Kind: "throughput"},
	}
}

// acquire asks for a lease, which must be granted.
func (w *world) acquire(env probes.Env) *lease.Lease {
	w.t.Helper()
	l, err := w.request(env).Acquire(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// settled is when everything that is on its way has arrived.
func (w *world) settled() lease.Stats {
	time.Sleep(time.Second)
	synctest.Wait()
	return w.book.Stats()
}

// checkFree holds that nobody has or awaits a lease.
func (w *world) checkFree() {
	w.t.Helper()
	if s := w.settled(); s.Active != 0 || s.Waiting != 0 {
		w.t.Errorf("the reflector still has %d leases and %d who wait", s.Active, s.Waiting)
	}
}

// load runs a kind as the agent's probe would.
func (w *world) load(ctx context.Context, env probes.Env, name string, settings map[string]string) *probes.Result {
	w.t.Helper()
	kind, err := all.Kinds().Find(name)
	if err != nil {
		w.t.Fatal(err)
	}
	config := kind.NewConfig()
	set(w.t, config, settings)
	target, err := probes.ParseTarget(probetest.FarName, kind.Port)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := kind.Build(config, env, target)
	if err != nil {
		w.t.Fatal(err)
	}
	var result *probes.Result
	job := probes.Job{Kind: name, Name: name, Probe: p, Timeout: kind.Timeout(config)}
	(&probes.Runner{Agent: env.Agent}).Run(ctx, job, func(r *probes.Result) { result = r })
	if n := env.Net.(*netsim.Host).Sockets(); n > 0 && lease.ID(ctx) == "" {
		w.t.Errorf("%d sockets are left open at %s", n, env.Agent)
	}
	return result
}

// set sets keys of a kind's configuration as flags do.
func set(t *testing.T, config any, settings map[string]string) {
	t.Helper()
	left := maps.Clone(settings)
	for _, f := range catalog.Fields(config) {
		if text, ok := left[f.Key]; ok {
			delete(left, f.Key)
			if err := f.Set(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(left) > 0 {
		t.Fatalf("the kind has no settings %v", left)
	}
}
