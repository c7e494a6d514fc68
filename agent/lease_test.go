package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/agent/plan"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/reflector"
)

// patience is how long the kind leased waits for its lease.
const patience = 20 * time.Second

func (d *diary) buildLeased(c fakeConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
	p, err := d.buildRun(c, env, target)
	if err != nil {
		return nil, err
	}
	return lease.Guard(p, lease.Gate{
		Env: env, Target: target, Plain: true, Terms: lease.Terms{LeaseWait: patience}, Ask: lease.Ask{Kind: "leased", Duration: time.Minute},
	}), nil
}

// site is a reflector, the device's way to it, and another host of the same site.
type site struct {
	t       *testing.T
	book    *lease.Book
	network func(Way) (probes.Network, error)
	other   *netsim.Host
}

// newSite serves leases 10 ms away from the device.
func newSite(t *testing.T) *site {
	t.Helper()
	n := netsim.New(1)
	device, other, far := n.Host("device", "10.0.0.1"), n.Host("other", "10.0.0.2"), n.Host("far", "192.0.2.1")
	link := netsim.State{Delay: 10 * time.Millisecond}
	n.Connect(device, far, link, link)
	n.Connect(other, far, link, link)
	s := &site{t: t, book: lease.NewBook(lease.Defaults(), slog.New(slog.DiscardHandler)), other: other}
	s.network = func(Way) (probes.Network, error) { return device, nil }
	config := reflector.Config{Streams: reflector.Defaults().Streams, Limits: reflector.Defaults().Limits}
	r, err := reflector.New(config, far, slog.New(slog.DiscardHandler), s.book.FarEnd())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	<-r.Ready()
	t.Cleanup(func() {
		cancel()
		serving.Wait()
		_ = n.Close()
	})
	return s
}

// hold has the site's lease from the other host, and gives it back after some time.
func (s *site) hold(d time.Duration) {
	s.t.Helper()
	r := lease.Request{Net: s.other, Address: "192.0.2.1:8620", Ask: lease.Ask{Site: "depot"}}
	l, err := r.Acquire(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	time.AfterFunc(d, l.Release)
}

const leasedLoad = `
agent: {name: a, labels: {site: depot}}
probes:
  - {name: s, kind: stream, target: s, window: 10s}
  - {name: l, kind: leased, target: far, every: 10m, takes: 5s, moves: 1360kB, max_bytes: 2MB}
plan: {"": {per_day: 1GB}}
outbox: {path: `

// TestLatencyGoesOnWhileALoadTestWaits for its lease: the interface is taken when the far end lets the test begin.
func TestLatencyGoesOnWhileALoadTestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		begins := time.Duration(at("l", 10*time.Minute, 0) * float64(time.Second))
		began := time.Now()
		r := run(t, leasedLoad+t.TempDir()+"}", func(d *Deps) { d.Network = s.network })
		time.Sleep(begins - 5*time.Second)
		s.hold(15 * time.Second) // until ten seconds after the load test wants to begin
		released := time.Since(began) + 15*time.Second
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r.stop(t)
		granted := released + 20*time.Millisecond
		end := time.Since(began).Seconds()
		again := granted.Seconds() + 5
		want := []string{span("far", granted.Seconds(), 5), span("s", 0, granted.Seconds()), span("s", again, end-again)}
		if got := r.diary.sorted(); !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
		if got := r.outcomes("l"); !slices.Equal(got, []probes.Outcome{probes.OK}) {
			t.Errorf("the load test ended %v", got)
		}
		if st := s.book.Stats(); st != (lease.Stats{Granted: 2}) {
			t.Errorf("leases: %+v", st)
		}
	})
}

// TestBusyFarEnd: a load test that has no turn says so, in time, costs no data and interrupts nothing.
func TestBusyFarEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hold(time.Hour)
		r := run(t, leasedLoad+t.TempDir()+"}", func(d *Deps) { d.Network = s.network })
		begins := time.Duration(at("l", 10*time.Minute, 0) * float64(time.Second))
		time.Sleep(begins + patience - time.Second)
		synctest.Wait()
		if got := r.outcomes("l"); got != nil {
			t.Errorf("while it waits: %v", got)
		}
		if st := s.book.Stats(); st.Waiting != 1 {
			t.Errorf("leases: %+v, want one to wait", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.outcomes("l"); !slices.Equal(got, []probes.Outcome{probes.Busy}) {
			t.Errorf("ended %v", got)
		}
		windows := int64((begins + patience + time.Second) / (10 * time.Second)) // of the stream, 286.4 kB each
		if got := r.plan.Usage(); got[0].Used != unit.Bytes(windows*286_400)+waitBytes || got[0].Reserved != 0 {
			t.Errorf("the plan stands at %+v, want the windows of the stream, and the wait", got)
		}
		r.stop(t)
		if got := r.diary.sorted(); len(got) != 1 || !strings.HasPrefix(got[0], "s 0-") {
			t.Errorf("ran at %v, want the stream alone, without a pause", got)
		}
		if st := s.book.Stats(); st.Waiting != 0 {
			t.Errorf("leases: %+v, want nobody to wait", st)
		}
	})
}

// TestSpentPlanAsksForNoLease: what will not run keeps nobody else waiting.
func TestSpentPlanAsksForNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		text := `
agent: {name: a}
probes: [{name: l, kind: leased, target: far, every: 1m, takes: 5s, moves: 1360kB, max_bytes: 2MB}]
plan: {"": {per_day: 3MB}}
outbox: {path: ` + t.TempDir() + "}"
		r := run(t, text, func(d *Deps) { d.Network = s.network })
		time.Sleep(3 * time.Minute)
		r.stop(t)
		if got := r.outcomes("l"); !slices.Equal(got, []probes.Outcome{probes.OK, probes.OverPlan, probes.OverPlan}) {
			t.Errorf("ended %v", got)
		}
		if st := s.book.Stats(); st != (lease.Stats{Granted: 1}) {
			t.Errorf("leases: %+v", st)
		}
		if got := r.plan.Usage(); len(got) != 1 || got[0] != (plan.Usage{Period: plan.Day, Limit: 3e6, Used: 1468e3}) {
			t.Errorf("the plan stands at %+v", got)
		}
	})
}
