package survey

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
	"github.com/nrprobe/nrprobe/probes/reflector"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// world is an edge device and a reflector on an emulated link.
type world struct {
	t    *testing.T
	edge *netsim.Host
	far  *netsim.Host
	env  probes.Env
	kill func() // ends the reflector
	book *lease.Book
}

// mbit20 is a link of 20 Mbit/s, 20 ms of round trip, and a queue of 50 ms.
func mbit20() netsim.State {
	return netsim.State{Delay: 10 * time.Millisecond, Rate: 2.5e6, Queue: 125_000}
}

// newWorld makes both hosts. change may alter the reflector, or close ports of it.
func newWorld(t *testing.T, up, downLink netsim.Profile, change func(*reflector.Config)) *world {
	t.Helper()
	n := netsim.New(1)
	w := &world{t: t, edge: n.Host("edge", "10.0.0.1"), far: n.Host(probetest.FarName, probetest.FarAddress4)}
	n.Connect(w.edge, w.far, up, downLink)
	config := reflector.Defaults()
	config.Data, config.Grace = t.TempDir(), 0
	if change != nil {
		change(&config)
	}
	log := slog.New(slog.DiscardHandler)
	w.book = lease.NewBook(config.Leases, log)
	r, err := reflector.New(config, w.far, log, all.FarEnds(log, w.book)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-r.Ready()
	w.env, w.kill = probetest.Env(t, w.edge), kill
	w.env.Log = log
	w.env.TLS = trust.Policy{Pin: r.Pin()}.TLS
	t.Cleanup(func() {
		kill()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// survey runs one.
func (w *world) survey(ctx context.Context, c Config) *Report {
	w.t.Helper()
	if c.Host == "" {
		c.Host = probetest.FarName
	}
	s, err := New(c, Deps{Kinds: all.Kinds(), Env: w.env, Runner: &probes.Runner{Agent: "edge", Boot: "boot"}})
	if err != nil {
		w.t.Fatal(err)
	}
	before := w.edge.Sockets()
	r := s.Run(ctx)
	if n := w.edge.Sockets() - before; n > 0 {
		w.t.Errorf("%d sockets are left open", n)
	}
	return r
}

func phaseNames(r *Report) string {
	var names []string
	for _, p := range r.Phases {
		if p.Skipped == "" {
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, " ")
}

const allPhases = "warm_up idle handshakes down up both quic_down quic_up"

func (w *world) near(r *Report, figure string, want, tolerance float64) {
	w.t.Helper()
	got, ok := r.Figures[figure]
	if !ok || math.Abs(got-want) > tolerance {
		w.t.Errorf("%s is %v (%v), want %v ± %v", figure, got, ok, want, tolerance)
	}
}

// TestKnownLink: on a link whose rate, delay and queue are known, so is everything that a survey should find. Emulated
// streams keep three quarters of a queue filled, 37.5 ms; both ways at once a packet waits in two queues.
func TestKnownLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		r := w.survey(t.Context(), Config{})
		if r.Outcome != probes.OK || phaseNames(r) != allPhases {
			t.Fatalf("%s: %s; phases %s", r.Outcome, r.Error, phaseNames(r))
		}
		if r.Elapsed < 26*time.Second || r.Elapsed > 31*time.Second {
			t.Errorf("took %v, want about 30 s", r.Elapsed)
		}
		w.near(r, "rpm_idle", 3000, 60)
		for phase, want := range map[string]float64{down: 0.0375, up: 0.0375, both: 0.075} {
			w.near(r, "added_delay_"+phase+"_p50_seconds", want, 0.05*want)
		}
		if r.Grades[down] != "B" || r.Grades[up] != "B" || r.Grades[both] != "C" {
			t.Errorf("grades %v for 37.5 ms one way and 75 ms both ways", r.Grades)
		}
		for _, figure := range []string{"goodput_tcp_down", "goodput_tcp_up", "goodput_both_down", "goodput_both_up"} {
			w.near(r, figure+"_bytes_per_second", 2.5e6, 0.03*2.5e6)
		}
		w.near(r, "connect_seconds", 0.02, 0.0001)
		w.near(r, "handshake_seconds", 0.02, 0.004) // its packets take up to a millisecond of the link each
		w.near(r, "resumed_seconds", 0.02, 0.004)
		for _, p := range r.Phases {
			if p.Name != handshakes && len(p.rtts) == 0 || p.load() != nil && len(p.rates) == 0 {
				t.Errorf("%s: nothing for the charts", p.Name)
			}
		}
		if r.Quality.Has(probes.LoadConcurrent) || !r.phase(down).latency().Quality.Has(probes.LoadConcurrent) {
			t.Errorf("flags %v of all, %v beside the load", r.Quality, r.phase(down).latency().Quality)
		}
	})
}

func TestQuickTakesTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		r := w.survey(t.Context(), Config{Quick: true})
		if r.Outcome != probes.OK || phaseNames(r) != strings.TrimSuffix(allPhases, " quic_up") {
			t.Errorf("%s: %s; phases %s", r.Outcome, r.Error, phaseNames(r))
		}
		if r.Elapsed < 8*time.Second || r.Elapsed > 11*time.Second {
			t.Errorf("took %v, want about 10 s", r.Elapsed)
		}
		w.near(r, "added_delay_down_p50_seconds", 0.0375, 0.05*0.0375)
	})
}

func TestBytesStayWithinTheLimit(t *testing.T) {
	for limit, want := range map[unit.Bytes]string{
		2e6:  "warm_up idle handshakes down",
		5e6:  "warm_up idle handshakes down up both",
		20e6: allPhases,
		90e6: allPhases,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit20(), mbit20(), nil)
			r := w.survey(t.Context(), Config{MaxBytes: limit})
			if r.Outcome != probes.OK || phaseNames(r) != want {
				t.Errorf("%v: %s: %s; phases %s", limit, r.Outcome, r.Error, phaseNames(r))
			}
			if r.Transferred > int64(limit)*9/10 || r.Transferred < int64(limit)/4 {
				t.Errorf("%v: %d bytes were transferred", limit, r.Transferred)
			}
			if skipped := len(r.Phases) - len(strings.Fields(want)); skipped != strings.Count(strings.Join(r.Notes, "\n"), "left out") {
				t.Errorf("%v: %d phases left out, and the notes are %q", limit, skipped, r.Notes)
			}
			for _, name := range strings.Fields(want)[3:] {
				p := r.phase(name)
				if p.latency().Hists["rtt"] == nil && !strings.Contains(strings.Join(r.Notes, "\n"), p.Label) {
					t.Errorf("%v: %s: no latency, and no note on it", limit, name)
				}
				if p.load().Info["ended_by"] == "max_bytes" && p.latency().Info["ended_by"] != "the load beside it" {
					t.Errorf("%v: %s: latency was measured behind the load", limit, name)
				}
			}
		})
	}
}

func TestCanceledKeepsWhatCame(t *testing.T) {
	for after, want := range map[time.Duration]string{
		time.Second:      "warm_up",
		3 * time.Second:  "warm_up idle",
		9 * time.Second:  "warm_up idle handshakes down",
		14 * time.Second: "warm_up idle handshakes down up",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit20(), mbit20(), nil)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(after, cancel)
			r := w.survey(ctx, Config{})
			if r.Outcome != probes.Canceled || phaseNames(r) != want || r.Elapsed > after+time.Second || !r.Reached() {
				t.Errorf("%v: %s: %s; phases %s after %v", after, r.Outcome, r.Error, phaseNames(r), r.Elapsed)
			}
			if after > 9*time.Second {
				w.near(r, "goodput_tcp_up_bytes_per_second", 2.5e6, 0.05*2.5e6)
			}
			if after > 3*time.Second {
				w.near(r, "added_delay_down_p50_seconds", 0.0375, 0.05*0.0375)
			}
		})
	}
}

// TestFarEndThatIsNotThere: nothing can be measured, and that is said within seconds.
func TestFarEndThatIsNotThere(t *testing.T) {
	closed := func(c *reflector.Config) { c.STAMP.Addresses, c.Streams.Addresses = nil, nil }
	for name, test := range map[string]struct {
		link    netsim.Profile
		change  func(*reflector.Config)
		host    string
		outcome probes.Outcome
	}{
		"silent":   {netsim.WithOutages(mbit20(), netsim.Interval{Start: 0, End: time.Hour}), nil, "", probes.Timeout},
		"refusing": {mbit20(), closed, "", probes.Refused},
		"unknown":  {mbit20(), nil, "nobody.example", probes.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, test.link, test.link, test.change)
				r := w.survey(t.Context(), Config{Host: test.host})
				if r.Outcome != test.outcome || r.Reached() || !strings.Contains(r.Error, "could not be reached") || r.Elapsed > 8*time.Second {
					t.Errorf("%s: %s; reached %v, after %v", r.Outcome, r.Error, r.Reached(), r.Elapsed)
				}
			})
		})
	}
}

// TestFarEndThatVanishes: what was measured until then is kept.
func TestFarEndThatVanishes(t *testing.T) {
	const at = 9 * time.Second // in the middle of the download
	blackhole := netsim.WithOutages(mbit20(), netsim.Interval{Start: at, End: time.Hour})
	for name, test := range map[string]struct {
		link    netsim.Profile
		kill    bool
		outcome probes.Outcome
		within  time.Duration
	}{
		"killed":    {mbit20(), true, probes.Refused, 4 * time.Second},
		"blackhole": {blackhole, false, probes.Timeout, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, test.link, test.link, nil)
				if test.kill {
					time.AfterFunc(at, w.kill)
				}
				r := w.survey(t.Context(), Config{})
				if r.Outcome != test.outcome || !strings.Contains(r.Error, "stopped answering during download") || !r.Reached() {
					t.Errorf("%s: %s", r.Outcome, r.Error)
				}
				if r.Elapsed > at+test.within || phaseNames(r) != "warm_up idle handshakes down" {
					t.Errorf("ended after %v with %s", r.Elapsed, phaseNames(r))
				}
				w.near(r, "rpm_idle", 3000, 60)
				w.near(r, "added_delay_down_p50_seconds", 0.0375, 0.05*0.0375)
				if bytes := r.phase(down).load().Values["transferred_down_bytes"]; bytes < 5e6 {
					t.Errorf("%v bytes are left of the download", bytes)
				}
			})
		})
	}
}

// TestWithoutUDP: latency is measured over TCP where STAMP is not answered, and QUIC is left out where it is blocked.
func TestWithoutUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), func(c *reflector.Config) { c.STAMP.Addresses, c.QUIC.Addresses = nil, nil })
		r := w.survey(t.Context(), Config{})
		if r.Outcome == probes.OK || !strings.HasPrefix(r.Error, "QUIC: ") || phaseNames(r) != "warm_up idle handshakes down up both" {
			t.Errorf("%s: %s; phases %s", r.Outcome, r.Error, phaseNames(r))
		}
		if len(r.Notes) != 3 || !strings.HasPrefix(r.Notes[0], "no answer to STAMP packets") {
			t.Errorf("notes %q", r.Notes)
		}
		w.near(r, "rpm_idle", 3000, 60)
		if added := r.Figures["added_delay_up_p50_seconds"]; added < 0.03 {
			t.Errorf("%v s of delay added to echoes over TCP by a full queue", added)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		"without a port":           {Host: "far.example:8620"},
		"is not a target":          {Host: "two words"},
		"below the minimum of 2MB": {Host: "far.example", MaxBytes: 1e6},
	} {
		if _, err := New(c, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}

// TestStatus looks on, as a display does.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		s, err := New(Config{Host: probetest.FarName, Quick: true}, Deps{Kinds: all.Kinds(), Env: w.env, Runner: &probes.Runner{}})
		if err != nil {
			t.Fatal(err)
		}
		var looks sync.WaitGroup
		done, seen := make(chan struct{}), map[string]Status{}
		looks.Go(func() {
			for tick := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-done:
					return
				case <-tick.C:
					if now := s.Status(); now.Phase > 0 && (now.Down > 0 && now.Latency > 0 || seen[now.Label].Phase == 0) {
						seen[now.Label] = now
					}
				}
			}
		})
		r := s.Run(t.Context())
		close(done)
		looks.Wait()
		if len(seen) != 7 || seen["download"].Phase != 4 || seen["download"].Phases != 7 {
			t.Errorf("saw %v", seen)
		}
		if now := seen["both ways"]; now.Down < 2e6 || now.Up < 2e6 || now.Latency < 80*time.Millisecond || now.Latency > 100*time.Millisecond {
			t.Errorf("both ways: %+v", now)
		}
		if planned := s.Status().Planned; math.Abs((planned - r.Elapsed).Seconds()) > 1.5 {
			t.Errorf("%v were planned, and it took %v", planned, r.Elapsed)
		}
	})
}
