package responsiveness

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// TestOutage: a link that is dead is not stable because it always says the same, which is nothing. One that comes back is
// waited for.
func TestOutage(t *testing.T) {
	for _, c := range []struct {
		at, long time.Duration
		outcome  probes.Outcome
	}{
		{4500 * ms, 12 * time.Second, probes.Timeout},
		{7 * time.Second, 12 * time.Second, probes.Timeout},
		{6500 * ms, 2 * time.Second, probes.OK},
	} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.WithOutages(netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}, netsim.Interval{Start: c.at, End: c.at + c.long})
			w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
			r := w.measure(t.Context(), func(c *Config) { c.HTTP, c.Direction = "3", "down" })
			if r.Outcome != c.outcome || r.Outcome != probes.OK && (r.Info["confidence"] != "" || r.Info["rating"] != "") {
				t.Errorf("%v at %v: outcome %s (%s), info %v", c.long, c.at, r.Outcome, r.Error, r.Info)
			}
			if rpm, ok := r.Values["responsiveness_rpm"]; ok != (r.Outcome == probes.OK) {
				t.Errorf("%v at %v: outcome %s with a score of %v", c.long, c.at, r.Outcome, rpm)
			}
			if again := c.at + c.long + 3*time.Second; r.Info["ended_by"] == byStability && r.Elapsed < again {
				t.Errorf("%v at %v: stable after %v, want four ratings behind the outage, after %v", c.long, c.at, r.Elapsed, again)
			}
		})
	}
}

// TestSlowAnswers: a probe on a new connection takes a few of a full queue's times, longer than a window, and is answered.
func TestSlowAnswers(t *testing.T) {
	for _, c := range []struct {
		version   string
		direction string
		queue     int  // bytes, at 250,000 a second
		stable    bool // always; or else it takes about as long as there is
	}{
		{"2", "down", 500_000, true},
		{"2", "down", 750_000, true},
		{"3", "up", 750_000, false},
	} {
		t.Run(fmt.Sprintf("HTTP/%s, %d bytes", c.version, c.queue), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, netsim.State{Delay: 10 * ms, Rate: 250_000, Queue: c.queue}, handler(FarEnd(slog.New(slog.DiscardHandler))))
				r := w.measure(t.Context(), func(config *Config) { config.HTTP, config.Direction = c.version, c.direction })
				if r.Outcome != probes.OK || r.Info["probes_lost"] != "" || c.stable && (r.Info["confidence"] != "high" || r.Info["ended_by"] != byStability) {
					t.Errorf("outcome %s (%s) after %v, info %v", r.Outcome, r.Error, r.Elapsed, r.Info)
				}
				if rpm := r.Values["responsiveness_rpm"]; rpm < 10 || rpm > 60 {
					t.Errorf("%v round trips per minute", rpm)
				}
			})
		})
	}
}

// TestFailingProbes: a server that turns probes down, with a link that answers the others well.
func TestFailingProbes(t *testing.T) {
	for what, c := range map[string]struct {
		turnsDown  func(n int64) bool
		outcome    probes.Outcome
		confidence string
		most       float64 // of the probes are lost
	}{
		"two of three": {func(n int64) bool { return n%3 != 0 }, probes.Busy, "", 0.75},
		"one of five":  {func(n int64) bool { return n%5 == 0 }, probes.OK, "low", 0.25},
		"one of fifty": {func(n int64) bool { return n%50 == 0 }, probes.OK, "high", 0.05},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := handler(FarEnd(slog.New(slog.DiscardHandler)))
				var n atomic.Int64
				w := newWorld(t, netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 12_500}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == smallPath && c.turnsDown(n.Add(1)) {
						w.WriteHeader(http.StatusServiceUnavailable)
						return
					}
					h.ServeHTTP(w, r)
				}))
				r := w.measure(t.Context(), func(c *Config) { c.HTTP, c.Direction = "3", "down" })
				if r.Outcome != c.outcome || r.Info["confidence"] != c.confidence || (r.Info["ended_by"] == byStability) != (c.confidence == "high") {
					t.Errorf("outcome %s (%s), info %v", r.Outcome, r.Error, r.Info)
				}
				if _, ok := r.Values["responsiveness_rpm"]; ok != (c.outcome == probes.OK) {
					t.Errorf("outcome %s with values %v", r.Outcome, r.Values)
				}
				var lost, of float64
				if _, err := fmt.Sscanf(r.Info["probes_lost"], "%f of %f", &lost, &of); err != nil || lost < 1 || lost > c.most*of {
					t.Errorf("probes_lost %q, want at most %v of them (%v)", r.Info["probes_lost"], c.most, err)
				}
			})
		})
	}
}
