package stamp

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

const ms = time.Millisecond

func TestConstantDelayIsMeasuredExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newPath(constant(10*ms), constant(10*ms)).measure(t.Context(), t, defaults(), &Reflector{})[0]
		if r.Outcome != probes.OK || r.Error != "" {
			t.Fatalf("outcome %s: %s", r.Outcome, r.Error)
		}
		for _, s := range []string{"min", "p50", "p99", "max"} {
			value(t, r, "rtt_"+s+"_seconds", 0.02)
			value(t, r, "pdv_up_"+s+"_seconds", 0)
			value(t, r, "ipdv_down_"+s+"_seconds", 0)
			value(t, r, "residence_"+s+"_seconds", 0)
			value(t, r, "schedule_error_"+s+"_seconds", 0)
		}
		for name, want := range map[string]float64{
			"packets_sent": 100, "packets_received": 100, "packets_lost": 0, "packets_lost_up": 0, "packets_lost_down": 0,
			"packets_late": 0, "packets_recovered": 0, "packets_duplicated": 0, "packets_reordered": 0, "packets_refused": 0,
			"packets_skipped": 0, "loss_ratio": 0, "interruption_max_seconds": 0, "clock_offset_seconds": 0,
		} {
			value(t, r, name, want)
		}
		// Half of the round trip is all that is known of the one-way delay: as much as the delay itself.
		absent(t, r, "owd_up_p50_seconds")
		if r.Hists["rtt"].Count() != 100 || r.Hists["ipdv_up"].Count() != 99 {
			t.Errorf("%d round trips, %d differences: want 100 and 99", r.Hists["rtt"].Count(), r.Hists["ipdv_up"].Count())
		}
		if got, want := time.Since(start), lead+99*10*ms+20*ms; got != want {
			t.Errorf("took %v, want %v: to the last reply", got, want)
		}
		if len(r.Events) != 0 || r.Quality != probes.UserStamps {
			t.Errorf("events %v, quality %v", r.Events, r.Quality)
		}
	})
}

func TestLossIsSplitByDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(7, 7))
		var lost []int
		for n := range 1000 {
			if random.Float64() < 0.03 {
				lost = append(lost, n)
			}
		}
		c := defaults()
		c.Count = 1000
		run := func(p *path) *probes.Result { return p.measure(t.Context(), t, c, &Reflector{})[0] }
		count := float64(len(lost))

		r := run(newPath(lose(constant(10*ms), lost...), constant(10*ms)))
		value(t, r, "packets_sent", 1000)
		value(t, r, "packets_lost", count)
		value(t, r, "packets_lost_up", count)
		value(t, r, "packets_lost_down", 0)
		value(t, r, "loss_ratio", count/1000)

		r = run(newPath(constant(10*ms), lose(constant(10*ms), lost...)))
		value(t, r, "packets_lost", count)
		value(t, r, "packets_lost_up", 0)
		value(t, r, "packets_lost_down", count)

		// The last packets of a run, both ways: the closing packets show which way they went.
		r = run(newPath(lose(constant(10*ms), 0, 500, 998, 999), lose(constant(10*ms), 700, 995)))
		value(t, r, "packets_lost", 6)
		value(t, r, "packets_lost_up", 4)
		value(t, r, "packets_lost_down", 2)
	})
}

func TestOutageHasBothEndsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := func(n int) []time.Duration {
			if at := time.Since(start); at >= 300*ms && at < 437*ms {
				return nil
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(out, constant(10*ms)).measure(t.Context(), t, defaults(), &Reflector{})[0]
		// Slots are at 2 ms, 12 ms, …: those from 302 to 432 ms fall into the outage, 442 ms is the first one through.
		value(t, r, "packets_lost", 14)
		value(t, r, "packets_lost_up", 14)
		value(t, r, "interruption_max_seconds", 0.14)
		value(t, r, "loss_burst_max", 14)
		if len(r.Events) != 1 {
			t.Fatalf("events: %+v, want one interruption", r.Events)
		}
		e := r.Events[0]
		if want := start.Add(302 * ms); !e.Time.Equal(want) || e.Duration != 140*ms || e.Type != probes.InterruptionEvent {
			t.Errorf("%s at %v for %v, want an interruption at %v for 140ms", e.Type, e.Time, e.Duration, want)
		}
		if e.Detail != "14 packets lost, 14 up and 0 down; round trip 20ms before, 20ms at most, back after 0s" {
			t.Errorf("detail: %q", e.Detail)
		}
	})
}

func TestDuplicatesAndReordering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := func(n int) []time.Duration {
			switch n {
			case 10:
				return []time.Duration{10 * ms, 12 * ms} // twice at the far end
			case 20:
				return []time.Duration{35 * ms} // overtaken by 21 and 22 on the way there
			}
			return []time.Duration{10 * ms}
		}
		down := func(n int) []time.Duration {
			switch n {
			case 50:
				return []time.Duration{10 * ms, 10 * ms, 15 * ms} // thrice at the sender
			case 60:
				return []time.Duration{25 * ms} // overtaken by 61 on the way back
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(up, down).measure(t.Context(), t, defaults(), &Reflector{})[0]
		for name, want := range map[string]float64{
			"packets_sent": 100, "packets_received": 100, "packets_lost": 0, "packets_lost_up": 0, "packets_lost_down": 0,
			"packets_duplicated": 3, "packets_duplicated_up": 1, "packets_duplicated_down": 2,
			"packets_reordered": 2, "packets_reordered_up": 1, "packets_reordered_down": 1,
			"reorder_extent_min": 1, "reorder_extent_max": 2, "rtt_max_seconds": 0.045, "pdv_up_max_seconds": 0.025, "pdv_down_max_seconds": 0.015,
		} {
			value(t, r, name, want)
		}
	})
}

func TestDelayVariationOfAsymmetricPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Every tenth packet waits 30 ms more on the way there, every fourth 3 ms more on the way back.
		up := func(n int) []time.Duration {
			if n%10 == 9 {
				return []time.Duration{45 * ms}
			}
			return []time.Duration{15 * ms}
		}
		down := func(n int) []time.Duration {
			if n%4 == 3 {
				return []time.Duration{8 * ms}
			}
			return []time.Duration{5 * ms}
		}
		c := defaults()
		c.Interval = 50 * ms // more than the extra delay: nothing is reordered
		r := newPath(up, down).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "rtt_min_seconds", 0.02)
		value(t, r, "rtt_max_seconds", 0.053)
		value(t, r, "pdv_up_max_seconds", 0.03)
		value(t, r, "pdv_up_p50_seconds", 0)
		value(t, r, "pdv_down_max_seconds", 0.003)
		value(t, r, "ipdv_up_max_seconds", 0.03)
		value(t, r, "ipdv_down_max_seconds", 0.003)
		if got := r.Hists["pdv_up"].Sum(); got < 0.2999 || got > 0.3001 {
			t.Errorf("10 packets were 30 ms slower, together %v s", got)
		}
	})
}

func TestLateRepliesAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Wait = 100 * ms
		down := func(n int) []time.Duration {
			switch n {
			case 10:
				return []time.Duration{300 * ms} // late, within the run
			case 98:
				return []time.Duration{10 * time.Second} // after its end
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(constant(10*ms), down).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_received", 99)
		value(t, r, "packets_late", 1)
		value(t, r, "packets_lost", 1)
		value(t, r, "packets_lost_down", 1)
		value(t, r, "rtt_max_seconds", 0.31)
	})
}

func TestStatelessReflectorLeavesTheDirectionOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPath(lose(constant(10*ms), 5, 6), constant(10*ms)).measure(t.Context(), t, defaults(), &Reflector{Stateless: true})[0]
		value(t, r, "packets_lost", 2)
		absent(t, r, "packets_lost_up")
		absent(t, r, "packets_lost_down")
		if want := "direction of loss: the reflector repeats our sequence numbers"; r.Info["missing"] != want {
			t.Errorf("missing: %q, want %q", r.Info["missing"], want)
		}
	})
}
