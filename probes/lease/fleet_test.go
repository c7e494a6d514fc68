package lease_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/iperf3"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestFleetMeasuresOneByOne: ten agents of a site run a throughput test at the same moment. Each has the far end to itself,
// and moves exactly its bytes.
func TestFleetMeasuresOneByOne(t *testing.T) {
	for _, name := range []string{"throughput", "capacity"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				settings := map[string]string{"duration": "2s", "direction": "up"}
				if name == "throughput" {
					settings["volume"] = "1250000" // a second at the link's rate
				}
				results := make([]*probes.Result, 10)
				var all sync.WaitGroup
				for i := range results {
					env := w.agent(mbit10(), "depot")
					all.Go(func() {
						time.Sleep(time.Duration(i) * ms)
						results[i] = w.load(t.Context(), env, name, settings)
					})
				}
				all.Wait()
				var end time.Time
				for i, r := range results {
					if r.Outcome != probes.OK || r.Info["lease"] != "granted" {
						t.Fatalf("agent %d: %s (%s), lease %s", i, r.Outcome, r.Error, r.Info["lease"])
					}
					waited, _ := time.ParseDuration(r.Info["lease_waited"])
					began := r.Start.Add(2*rtt + waited) // it is told its place after two round trips
					if began.Before(end) {
						t.Errorf("agent %d began %v before the one ahead of it had ended", i, end.Sub(began))
					}
					if !end.IsZero() && began.Sub(end) > 3*rtt {
						t.Errorf("agent %d began %v after the one ahead of it had ended", i, began.Sub(end))
					}
					end = r.End()
					if got := r.Values["transferred_up_bytes"]; name == "throughput" && got != 1_250_000 {
						t.Errorf("agent %d moved %v bytes", i, got)
					}
				}
				w.checkFree()
				if s := w.book.Stats(); s != (lease.Stats{Granted: 10}) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestLoadOfAVanishedHolder: the link of one that measures is dead for 20 s from its third second on. It says so with what it
// has measured, its load is gone from the far end, and the next one measures.
func TestLoadOfAVanishedHolder(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		t.Run(direction, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				begun := time.Now()
				holder := w.agent(netsim.WithOutages(mbit10(), netsim.Interval{Start: 3 * time.Second, End: 23 * time.Second}), "depot")
				next := w.agent(mbit10(), "depot")
				settings := map[string]string{"duration": "30s", "direction": direction}
				var lost, after *probes.Result
				var all sync.WaitGroup
				all.Go(func() { lost = w.load(t.Context(), holder, "throughput", settings) })
				all.Go(func() {
					time.Sleep(time.Second)
					after = w.load(t.Context(), next, "throughput", map[string]string{"volume": "1250000", "direction": direction})
				})
				all.Wait()
				if lost.Outcome != probes.Timeout || !lost.Quality.Has(probes.Partial) {
					t.Errorf("the holder ends with %s (%s), flags %v", lost.Outcome, lost.Error, lost.Quality)
				}
				if ended := lost.End().Sub(begun); ended < 7*time.Second || ended > 8300*ms {
					t.Errorf("the holder gives up after %v, want 5 s after what it heard last, before 3 s", ended)
				}
				for way := range strings.FieldsSeq(strings.ReplaceAll(direction, "both", "down up")) {
					// 2.8 s at 1.25 MB/s, and what the last messages did not tell of.
					if got := lost.Values["transferred_"+way+"_bytes"]; got < 2.5*1.25e6 || got > 3.1*1.25e6 {
						t.Errorf("the holder moved %v bytes %s", got, way)
					}
				}
				waited, err := time.ParseDuration(after.Info["lease_waited"])
				if took := after.Start.Add(waited).Sub(begun); err != nil || after.Outcome != probes.OK || took < 7*time.Second || took > 8200*ms {
					t.Errorf("the next one: %s (%s), begun after %v", after.Outcome, after.Error, took)
				}
				w.checkFree()
				if s := w.book.Stats(); s != (lease.Stats{Granted: 2, Lost: 1}) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestKilledClient: its connections are reset, and the next one has the lease at once.
func TestKilledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		first, second := w.agent(mbit10(), "depot"), w.agent(mbit10(), "depot")
		killed, kill := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if r := w.load(killed, first, "throughput", map[string]string{"duration": "30s"}); r.Outcome != probes.Canceled || !r.Quality.Has(probes.Partial) {
				t.Errorf("%s (%s)", r.Outcome, r.Error)
			}
		})
		time.Sleep(time.Second)
		var granted time.Time
		all.Go(func() {
			l := w.acquire(second)
			granted = time.Now()
			l.Release()
		})
		time.Sleep(2 * time.Second)
		at := time.Now()
		kill()
		all.Wait()
		// What lies in the queue of 50 ms is ahead of the last word.
		if took := granted.Sub(at); took > rtt+100*ms {
			t.Errorf("the next one has its lease %v after the kill", took)
		}
		w.checkFree()
	})
}

// TestReflectorKilledUnderLoad: the test ends at once, with what it has measured.
func TestReflectorKilledUnderLoad(t *testing.T) {
	for _, name := range []string{"throughput", "capacity"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			time.AfterFunc(3*time.Second, w.kill)
			r := w.load(t.Context(), w.agent(mbit10(), "depot"), name, map[string]string{"duration": "30s"})
			if r.Outcome != probes.Error || !r.Quality.Has(probes.Partial) || r.Elapsed < 3*time.Second || r.Elapsed > 3300*ms {
				t.Errorf("%s: %s (%s), flags %v, after %v", name, r.Outcome, r.Error, r.Quality, r.Elapsed)
			}
		})
	}
}

// TestPlanExhausted: a test that has moved what it may ends, and the next one goes on at once.
func TestPlanExhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		results := make([]*probes.Result, 2)
		var all sync.WaitGroup
		for i := range results {
			env := w.agent(mbit10(), "depot")
			all.Go(func() {
				time.Sleep(time.Duration(i) * ms)
				results[i] = w.load(t.Context(), env, "throughput", map[string]string{"direction": "both", "max_bytes": "5MB"})
			})
		}
		all.Wait()
		for i, r := range results {
			if got := r.Values["transferred_down_bytes"] + r.Values["transferred_up_bytes"]; r.Outcome != probes.OK || r.Info["ended_by"] != "max_bytes" || got != 5e6 {
				t.Errorf("test %d: %s (%s), ended by %s, %v bytes", i, r.Outcome, r.Error, r.Info["ended_by"], got)
			}
		}
		if first, second := results[0].Elapsed, results[1].Elapsed; second > 2*first+3*rtt {
			t.Errorf("the tests took %v and, with the wait for the first, %v", first, second)
		}
		w.checkFree()
	})
}

// TestLeaseTakenBackEndsTheLoad: the reflector takes a lease back in the middle of a test, which ends with its reason.
func TestLeaseTakenBackEndsTheLoad(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"throughput": {"duration": "30s", "direction": "up"},
		"capacity":   {"duration": "30s", "max_rate": "5Mbit/s"}, // a full queue would have no room for the word that ends it
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			env := w.agent(mbit10(), "depot")
			gate := lease.Gate{Env: env, Target: probes.Target{Host: probetest.FarName, Port: 8620}, Plain: true, Ask: lease.Ask{Duration: 3 * time.Second}}
			held, leave, err := gate.Enter(t.Context(), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			r := w.load(held, env, name, settings)
			if r.Outcome != probes.Timeout || !strings.Contains(r.Error, "the lease was for 3s, which are over") || !r.Quality.Has(probes.Partial) {
				t.Errorf("%s: %s (%s), flags %v", name, r.Outcome, r.Error, r.Quality)
			}
			if r.Info["lease"] != "granted" || r.Elapsed > 3100*ms {
				t.Errorf("%s: lease %q, after %v", name, r.Info["lease"], r.Elapsed)
			}
			w.checkFree()
		})
	}
}

// TestOlderReflector grants no leases, and everything is measured as ever.
func TestOlderReflector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.stop()
		w.serve(false)
		r := w.load(t.Context(), w.agent(mbit10(), "depot"), "throughput", map[string]string{"duration": "1s"})
		if r.Outcome != probes.OK || r.Info["lease"] != "none offered" {
			t.Errorf("%s (%s), lease %q", r.Outcome, r.Error, r.Info["lease"])
		}
	})
}

// TestBusyIsAnOutcomeOfItsOwn: a test that has no turn within its patience says nothing of the link.
func TestBusyIsAnOutcomeOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.acquire(w.agent(mbit10(), "depot"))
		r := w.load(t.Context(), w.agent(mbit10(), "depot"), "throughput", map[string]string{"lease_wait": "20s"})
		if r.Outcome != probes.Busy || r.Elapsed.Round(ms) != 20*time.Second+2*rtt || r.Info["lease"] != "waiting: position 1" {
			t.Errorf("%s (%s) after %v, lease %q", r.Outcome, r.Error, r.Elapsed, r.Info["lease"])
		}
		if moved := r.Values["transferred_down_bytes"]; moved != 0 {
			t.Errorf("%v bytes were moved", moved)
		}
		l.Release()
		w.checkFree()
	})
}

// TestIperf3AsksWhereItIsToldTo, and where leases are required it must.
func TestIperf3AsksWhereItIsToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *lease.Config) { c.Required = true })
		limits := iperf3.DefaultLimits()
		limits.Leases = w.book
		s, err := iperf3.Listen(t.Context(), w.far, ":5201", limits, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer serving.Wait()
		defer stop()
		r := w.load(t.Context(), w.agent(mbit10(), "depot"), "iperf3", map[string]string{"duration": "1s", "lease_port": "8620"})
		if r.Outcome != probes.OK || r.Info["lease"] != "granted" {
			t.Errorf("with a lease: %s (%s), lease %q", r.Outcome, r.Error, r.Info["lease"])
		}
		w.checkFree()
		r = w.load(t.Context(), w.agent(mbit10(), "depot"), "iperf3", map[string]string{"duration": "1s"})
		if r.Outcome != probes.Busy || r.Info["lease"] != "" {
			t.Errorf("without: %s (%s), lease %q", r.Outcome, r.Error, r.Info["lease"])
		}
	})
}

// TestRequiredLeasesShutOthersOut: where leases are required, load without one is refused, and our own clients notice nothing.
func TestRequiredLeasesShutOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *lease.Config) { c.Required = true })
		w.stop()
		w.serve(true)
		for i, name := range []string{"throughput", "capacity"} {
			if r := w.load(t.Context(), w.agent(mbit10(), strconv.Itoa(i)), name, map[string]string{"duration": "1s"}); r.Outcome != probes.OK {
				t.Errorf("%s: %s (%s)", name, r.Outcome, r.Error)
			}
		}
		w.checkFree()
		// One that asks for its lease elsewhere, where there is none.
		for _, name := range []string{"throughput", "capacity"} {
			env := w.agent(mbit10(), "depot")
			older, err := w.far.Listen(t.Context(), "tcp", fmt.Sprintf(":%d", 9000+w.agents))
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					c, err := older.Accept()
					if err != nil {
						return
					}
					_ = c.Close()
				}
			})
			r := w.load(t.Context(), env, name, map[string]string{"duration": "1s", "lease_port": strconv.Itoa(9000 + w.agents)})
			if r.Outcome != probes.Refused || !strings.Contains(r.Error, "leases.required") {
				t.Errorf("%s without a lease: %s (%s)", name, r.Outcome, r.Error)
			}
			_ = older.Close()
			serving.Wait()
		}
	})
}

// TestLoadProbesCanEnter: those who run them need not wait for a lease within Measure, with an interface held.
func TestLoadProbesCanEnter(t *testing.T) {
	network := netsim.New(1)
	env := probetest.Env(t, network.Host("agent", "10.0.0.1"))
	for _, kind := range all.Kinds().All() {
		if kind.Lane != probes.Load {
			continue
		}
		config := kind.NewConfig()
		set(t, config, map[string]string{"lease_port": "8620"})
		p, err := kind.Build(config, env, probes.Target{Host: probetest.FarName, Port: kind.Port, Text: probetest.FarName})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := p.(interface {
			Enter(ctx context.Context, told func(state string)) (held context.Context, leave func(), err error)
		}); !ok {
			t.Errorf("%s waits for its lease within Measure", kind.Name)
		}
	}
	if err := network.Close(); err != nil {
		t.Error(err)
	}
}

// TestLongestTestFits: what may be configured is granted by a reflector that is told nothing else. An hour of iperf3 is
// for servers of other people.
func TestLongestTestFits(t *testing.T) {
	for _, kind := range all.Kinds().All() {
		if kind.Lane != probes.Load || kind.Name == "iperf3" {
			continue
		}
		config := kind.NewConfig()
		longest := map[string]string{"lease_wait": "0s"}
		for _, f := range catalog.Fields(config) {
			if f.Key == "duration" || f.Key == "quiet" {
				longest[f.Key] = f.Max
			}
		}
		set(t, config, longest)
		if takes, granted := kind.Timeout(config), lease.Defaults().MaxDuration; takes > granted {
			t.Errorf("%s takes up to %v, %v are granted", kind.Name, takes, granted)
		}
	}
}
