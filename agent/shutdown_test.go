package agent

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// behind puts a server behind an emulated link and returns the device's side of it.
func behind(t *testing.T, h http.Handler, link netsim.Profile) func(Way) (probes.Network, error) {
	t.Helper()
	n := netsim.New(1)
	device, far := n.Host("device", "10.0.0.1"), n.Host("collector.example", "192.0.2.1")
	n.Connect(device, far, link, link)
	l, err := far.Listen(t.Context(), "tcp", ":8086")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		_ = n.Close()
		wg.Wait()
	})
	return func(Way) (probes.Network, error) { return device, nil }
}

const inMemory = `
agent: {name: a}
probes:
  - {name: s, kind: stream, target: h, window: 10s}
  - {name: p, kind: ping, target: h, every: 30s}
outbox: {storage: ram}
uplink: {url: "http://collector.example:8086", interval: 5s, retry_max: 30s}
`

// complete says whether the store has every result that the agent kept.
func (s *store) complete(t *testing.T, r *running) {
	t.Helper()
	written := r.box().Stats().Written
	got := s.results()
	for seq := range written {
		if got[probes.ID{Agent: "a", Boot: "boot", Seq: seq + 1}] == nil {
			t.Errorf("result %d of %d is lost", seq+1, written)
		}
	}
	if uint64(len(got)) != written || written == 0 {
		t.Errorf("%d results were kept, the server has %d", written, len(got))
	}
}

func TestAnOutageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{got: map[probes.ID]*probes.Result{}}
		link := netsim.WithOutages(netsim.State{Delay: 20 * time.Millisecond, Rate: 1e6}, netsim.Interval{Start: 5 * time.Minute, End: 15 * time.Minute})
		r := run(t, inMemory, func(d *Deps) { d.Network = behind(t, s, link) })
		time.Sleep(14 * time.Minute)
		synctest.Wait()
		if pending := r.box().Stats().Pending; pending < 70 {
			t.Errorf("%d results wait in the middle of the outage, want nine minutes of them", pending)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if pending := r.box().Stats().Pending; pending > 2 {
			t.Errorf("%d results wait five minutes after the outage", pending)
		}
		if took := r.stop(t); took > time.Second {
			t.Errorf("stopping took %v", took)
		}
		s.complete(t, r)
	})
}

func TestShutdownDeliversTheLastWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{got: map[probes.ID]*probes.Result{}}
		r := run(t, inMemory, func(d *Deps) { d.Network = behind(t, s, netsim.State{Delay: 20 * time.Millisecond}) })
		time.Sleep(14 * time.Second)
		took := r.stop(t)
		// One round trip on the connection that is open already.
		if took != 40*time.Millisecond {
			t.Errorf("stopping took %v, want a round trip of 40ms", took)
		}
		s.complete(t, r)
		last := s.results()[probes.ID{Agent: "a", Boot: "boot", Seq: r.box().Stats().Written}]
		if last == nil || last.Probe != "s" || last.Elapsed != 4*time.Second {
			t.Errorf("the last result is %+v, want the window of 4 s that the end cut off", last)
		}
	})
}

func TestShutdownEndsAfterTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{got: map[probes.ID]*probes.Result{}}
		link := netsim.WithOutages(netsim.State{Delay: 20 * time.Millisecond}, netsim.Interval{Start: 0, End: time.Hour})
		var log strings.Builder
		r := run(t, inMemory, func(d *Deps) {
			d.Network = behind(t, s, link)
			d.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		time.Sleep(time.Minute)
		if took := r.stop(t); took != Grace {
			t.Errorf("stopping took %v, want %v", took, Grace)
		}
		if !strings.Contains(log.String(), "stopped before everything was delivered") || !strings.Contains(log.String(), "only in memory") {
			t.Errorf("log: %s", &log)
		}
	})
}
