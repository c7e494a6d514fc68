package stamp

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// TestStoppedWhileInterrupted stops a session whose link is out: the last result tells how long it has been, whether the
// session ends between packets before the next window, at its seam, or in a pause of the schedule.
func TestStoppedWhileInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		interval, window time.Duration
		pause            Pauses
		out              int           // the first packet that is lost
		stop             time.Duration // on the session clock
		results          int
		lost             float64 // in the last result
		interruption     time.Duration
	}{
		"within a window":        {interval: time.Second, window: 10 * time.Second, out: 12, stop: 18498 * ms, results: 2, lost: 6, interruption: 6496 * ms},
		"before the next window": {interval: time.Second, window: 10 * time.Second, out: 12, stop: 19500 * ms, results: 2, lost: 7, interruption: 7498 * ms},
		"just before a window":   {interval: time.Second, window: 10 * time.Second, out: 12, stop: 20001 * ms, results: 2, lost: 7, interruption: 7999 * ms},
		"at the seam":            {interval: time.Second, window: 10 * time.Second, out: 12, stop: 20002 * ms, results: 2, lost: 8, interruption: 8000 * ms},
		"in a pause":             {interval: 10 * ms, window: 5 * time.Second, pause: "10s", out: 50, stop: 13 * time.Second, results: 3, lost: 50, interruption: 2498 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := defaults()
				config.Interval, config.Window, config.Wait = c.interval, c.window, time.Second
				if config.Idle = c.pause; c.pause != "" {
					config.Burst = 100
				}
				up := func(n int) []time.Duration {
					if n >= c.out {
						return nil
					}
					return []time.Duration{10 * ms}
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.stop)
				defer cancel()
				list := newPath(up, constant(10*ms)).measure(ctx, t, config, &Reflector{})
				r := list[len(list)-1]
				if len(list) != c.results {
					t.Errorf("%d results, want %d", len(list), c.results)
				}
				value(t, r, "packets_lost", c.lost)
				value(t, r, "interruption_max_seconds", c.interruption.Seconds())
				if len(r.Events) != 1 || r.Events[0].Duration != c.interruption {
					t.Errorf("events %v, want one of %v", r.Events, c.interruption)
				}
			})
		})
	}
}

// TestEachWindowOfAPauseIsLookedAt has somebody else use the interface in one of the windows in which the schedule pauses.
func TestEachWindowOfAPauseIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPath(constant(10*ms), constant(10*ms))
		p.readers.InterfaceOf = func(netip.Addr) string { return "wwan0" }
		p.readers.Octets = func(string) (load.Octets, bool) {
			at := time.Since(start) - lead
			return load.Octets{Down: 2 * crossLimit * min(max(0, at-10*time.Second), 5*time.Second).Seconds()}, true
		}
		c := defaults()
		c.Window, c.Burst, c.Idle = 5*time.Second, 100, "20s"
		ctx, cancel := context.WithTimeout(t.Context(), 27*time.Second)
		defer cancel()
		list := p.measure(ctx, t, c, &Reflector{})
		for i, want := range []probes.Quality{0, 0, probes.CrossTraffic, 0, 0} {
			if got := list[i].Quality & probes.CrossTraffic; got != want {
				t.Errorf("window %d: quality %q, want %q (%s)", i, got, want, list[i].Info["other_traffic"])
			}
		}
	})
}
