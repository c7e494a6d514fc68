package capacity

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestCapacityIsTheLinksRate: within 3 % at the IP layer, either way.
func TestCapacityIsTheLinksRate(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		for _, rate := range []float64{10, 100} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit(rate), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) { c.Direction = direction })
				if r.Outcome != probes.OK {
					t.Fatalf("%s at %v Mbit/s: outcome %s: %s", direction, rate, r.Outcome, r.Error)
				}
				want := ipRate(rate*megabit, maxSize)
				got := r.Values["ip_capacity_"+direction+"_bytes_per_second"]
				if math.Abs(got/want-1) > 0.03 {
					t.Errorf("%s: capacity %v bytes/s, want %v", direction, got, want)
				}
				if r.Info["limited_by"] != "path" || r.Info["ended_by"] != byDuration {
					t.Errorf("%s: %v", direction, r.Info)
				}
			})
		}
	}
}

// TestCapacityOfAChangingRate: the most that a second brought, wherever in the test that second lies. Behind congestion the
// search climbs by 1 Mbit/s each feedback, 20 Mbit/s a second (RFC 9097 appendix A), so that a hill must last for that.
func TestCapacityOfAChangingRate(t *testing.T) {
	for name, rates := range map[string][]float64{"rising": {20, 50, 80}, "falling": {60, 30, 10}, "a hill": {20, 50, 20}} {
		for _, direction := range []string{"down", "up"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
					return mbit(rates[min(int(elapsed/(4*time.Second)), len(rates)-1)])
				}), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Duration = direction, 12*time.Second })
				if r.Outcome != probes.OK {
					t.Fatalf("%s %s: outcome %s: %s", name, direction, r.Outcome, r.Error)
				}
				want := ipRate(slices.Max(rates)*megabit, maxSize)
				if got := r.Values["ip_capacity_"+direction+"_bytes_per_second"]; math.Abs(got/want-1) > 0.03 {
					t.Errorf("%s %s: capacity %v bytes/s, want %v", name, direction, got, want)
				}
			})
		}
	}
}

// TestTrains: the estimate is as good on a link that nobody else uses, and takes 2 MB at most.
func TestTrains(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		for _, rate := range []float64{1, 10, 100, 1000} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit(rate), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Mode = direction, "train" })
				if r.Outcome != probes.OK {
					t.Fatalf("%s at %v Mbit/s: outcome %s: %s", direction, rate, r.Outcome, r.Error)
				}
				want := ipRate(rate*megabit, maxSize)
				got := r.Values["ip_capacity_"+direction+"_bytes_per_second"]
				if math.Abs(got/want-1) > 0.03 {
					t.Errorf("%s: capacity %v bytes/s, want %v", direction, got, want)
				}
				if sent := r.Values["packets_sent"] * (maxSize + 28); sent > trainBytes {
					t.Errorf("%s: %v bytes were sent", direction, sent)
				}
			})
		}
	}
}

// TestSuite runs tests that are too short for the search to reach the link's rate, so that it loses nothing.
func TestSuite(t *testing.T) {
	for _, mode := range []string{"search", "train"} {
		for _, direction := range []string{"down", "up"} {
			t.Run(mode+" "+direction, func(t *testing.T) {
				probetest.Suite{
					Kind: Kind(), Closed: probes.Refused,
					Serve: func(ctx context.Context, network probes.Network) error {
						return serve(ctx, network, DefaultLimits(), new(atomic.Int32))
					},
					Config: func(config any) {
						c := config.(*Config)
						c.Mode, c.Direction, c.Duration, c.Trains = mode, direction, 400*time.Millisecond, 4
					},
				}.Run(t)
			})
		}
	}
}
