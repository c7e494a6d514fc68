package survey

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// otherTest is another load test of the same site, which holds the lease until it is released.
func (w *world) otherTest() *lease.Lease {
	w.t.Helper()
	r := &lease.Request{Net: w.edge, Address: probetest.FarAddress4 + ":8620", Ask: lease.Ask{Kind: "other"}}
	l, err := r.Acquire(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestWaitsForAnotherTest: a survey of one site begins when the other's load is over, and says so.
func TestWaitsForAnotherTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		other := w.otherTest()
		const wait = 20 * time.Second
		time.AfterFunc(wait, other.Release)
		s, err := New(Config{Host: probetest.FarName}, Deps{Kinds: all.Kinds(), Env: w.env, Runner: &probes.Runner{}})
		if err != nil {
			t.Fatal(err)
		}
		var seen Status
		time.AfterFunc(wait/2, func() { seen = s.Status() })
		r := s.Run(t.Context())
		if seen.Waiting != "position 1" || seen.Label != "warm-up" {
			t.Errorf("meanwhile %+v", seen)
		}
		if r.Outcome != probes.OK || phaseNames(r) != allPhases || s.Status().Waiting != "" {
			t.Errorf("%s: %s; phases %s", r.Outcome, r.Error, phaseNames(r))
		}
		if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "waited 17.") && !strings.HasPrefix(r.Notes[0], "waited 18.") {
			t.Errorf("notes %q, want one of the wait behind the warm-up of two seconds", r.Notes)
		}
		if idle := r.phase(idle); idle.Start < wait {
			t.Errorf("the idle link was measured %v after the start, while the other test ran", idle.Start)
		}
		if got := w.book.Stats(); got.Granted != 2 || got.Lost != 0 {
			t.Errorf("%+v, want one lease for all phases, and the other's", got)
		}
	})
}

// TestOtherTestsDoNotEnd: patience does. What the warm-up reached is no reason to call the host unreachable.
func TestOtherTestsDoNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		other := w.otherTest()
		defer other.Release()
		r := w.survey(t.Context(), Config{})
		if r.Outcome != probes.Busy || phaseNames(r) != "warm_up" || r.Elapsed > 125*time.Second || !r.Reached() {
			t.Errorf("%s: %s; phases %s after %v", r.Outcome, r.Error, phaseNames(r), r.Elapsed)
		}
	})
}

func TestCanceledWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit20(), mbit20(), nil)
		other := w.otherTest()
		defer other.Release()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		r := w.survey(ctx, Config{})
		if r.Outcome != probes.Canceled || !strings.Contains(r.Error, "while waiting") || r.Elapsed > 11*time.Second {
			t.Errorf("%s: %s after %v", r.Outcome, r.Error, r.Elapsed)
		}
	})
}

// TestOutageOfTwentySeconds takes the lease away in the middle of the download. When the link is back too late, that is the
// end.
func TestOutageOfTwentySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at, length = 9 * time.Second, 20 * time.Second
		link := netsim.WithOutages(mbit20(), netsim.Interval{Start: at, End: at + length})
		w := newWorld(t, link, link, nil)
		r := w.survey(t.Context(), Config{})
		if r.Outcome != probes.Timeout || !strings.Contains(r.Error, "stopped answering during download") || r.Elapsed > at+11*time.Second {
			t.Errorf("%s: %s after %v", r.Outcome, r.Error, r.Elapsed)
		}
		time.Sleep(at + length - r.Elapsed + time.Second)
		again := w.survey(t.Context(), Config{Quick: true})
		if again.Outcome != probes.OK || len(again.Notes) > 0 {
			t.Errorf("a second after the outage: %s: %s, notes %q", again.Outcome, again.Error, again.Notes)
		}
	})
}

// TestOutageThatTheLeaseDoesNotSurvive is one of five seconds: one phase is lost, the others are measured, with another lease.
func TestOutageThatTheLeaseDoesNotSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at, length = 7 * time.Second, 5 * time.Second
		link := netsim.WithOutages(mbit20(), netsim.Interval{Start: at, End: at + length})
		w := newWorld(t, link, link, nil)
		r := w.survey(t.Context(), Config{})
		if r.Outcome == probes.OK || r.Outcome == probes.Canceled || phaseNames(r) != allPhases {
			t.Errorf("%s: %s; phases %s", r.Outcome, r.Error, phaseNames(r))
		}
		w.near(r, "goodput_tcp_up_bytes_per_second", 2.5e6, 0.03*2.5e6)
		time.Sleep(time.Second) // the end of the lease is on its way
		if got := w.book.Stats(); got.Granted != 2 || got.Active != 0 {
			t.Errorf("%+v, want a second lease", got)
		}
	})
}
