package stamp

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

// troubled is a path on which everything goes wrong that can, the same for each run, with its first 2000 packets.
func troubled(seed uint64) *path {
	rough := func(seed uint64) rule {
		random := rand.New(rand.NewPCG(seed, seed))
		return func(n int) []time.Duration {
			if n >= 2000 {
				return []time.Duration{10 * ms}
			}
			delay := 10*ms + time.Duration(random.IntN(int(25*ms)))
			switch u := random.Float64(); {
			case u < 0.05:
				return nil
			case u < 0.07:
				return []time.Duration{delay, delay + 3*ms}
			case u < 0.08:
				return []time.Duration{delay + 2500*ms} // late: the timeout is a second
			}
			return []time.Duration{delay}
		}
	}
	return newPath(rough(seed), rough(seed+1))
}

// TestWindowsAddUpToOneRun sends the same packets through the same trouble, once in windows and once in one run, and
// wants the same sums: no packet is counted twice or not at all at the seams.
func TestWindowsAddUpToOneRun(t *testing.T) {
	const length = 30 * time.Second
	c := defaults()
	c.Wait = time.Second
	windowed, whole := map[string]float64{}, map[string]float64{}
	var windowedRTT, wholeRTT probes.Hist
	synctest.Test(t, func(t *testing.T) {
		c := c
		c.Window = time.Second
		results := troubled(3).measureFor(t, c, length+4*time.Second)
		checkWindows(t, results[:len(results)-1])
		for _, r := range results[:30] { // those behind the end of the other run hold nothing new
			add(windowed, r)
			windowedRTT.Merge(r.Hists["rtt"])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := c
		c.Duration = length
		r := troubled(3).measure(t.Context(), t, c, &Reflector{})[0]
		add(whole, r)
		wholeRTT.Merge(r.Hists["rtt"])
	})
	// What windows had given up was recovered; the run as a whole never gave it up.
	if windowed["packets_recovered"] < 10 {
		t.Errorf("only %v packets recovered: the test tests nothing", windowed["packets_recovered"])
	}
	for _, sum := range []map[string]float64{windowed, whole} {
		sum["packets_lost"] -= sum["packets_recovered"]
		delete(sum, "packets_recovered")
		// Which of two neighbours was lost in which direction cannot be told, so that a recovered one may be taken off
		// the wrong side; TestLossesAtSeamsKeepTheirDirection holds the directions. Those of reordering and copies are
		// not told of packets that came after their window.
		maps.DeleteFunc(sum, func(name string, _ float64) bool {
			return strings.HasSuffix(name, "_up") || strings.HasSuffix(name, "_down")
		})
	}
	if diff := cmp.Diff(whole, windowed); diff != "" {
		t.Errorf("windows do not add up to the run (-run +windows):\n%s", diff)
	}
	if whole["packets_sent"] != 3000 {
		t.Errorf("%v packets sent, want 3000", whole["packets_sent"])
	}
	if got, want := buckets(&windowedRTT), buckets(&wholeRTT); !slices.Equal(got, want) {
		t.Errorf("round trips in windows\n%v, in one run\n%v", got, want)
	}
}

// checkWindows holds what is true of every window but the last: no gaps, and no packet unaccounted for.
func checkWindows(t *testing.T, results []*probes.Result) {
	t.Helper()
	for i, r := range results {
		if i > 0 && !r.Start.Equal(results[i-1].End()) {
			t.Errorf("window %d starts at %v, the one before ended at %v", i, r.Start, results[i-1].End())
		}
		v := r.Values
		if r.Elapsed != time.Second || v["packets_sent"] != 100 {
			t.Errorf("window %d lasts %v and sent %v packets", i, r.Elapsed, v["packets_sent"])
		}
		if got := v["packets_received"] + v["packets_lost"] - v["packets_recovered"]; got != v["packets_sent"] {
			t.Errorf("window %d: received + lost − recovered = %v, sent %v", i, got, v["packets_sent"])
		}
		if v["packets_lost_up"]+v["packets_lost_down"] > v["packets_lost"] {
			t.Errorf("window %d: %v lost, %v up, %v down", i, v["packets_lost"], v["packets_lost_up"], v["packets_lost_down"])
		}
	}
}

// buckets lists a histogram without its sum, which depends on the order of additions in its last bits.
func buckets(h *probes.Hist) []uint64 {
	list := []uint64{h.Count(), uint64(h.Min() * 1e9), uint64(h.Max() * 1e9)}
	for i, n := range h.Buckets() {
		list = append(list, uint64(i+1000), n)
	}
	return list
}

func add(sum map[string]float64, r *probes.Result) {
	for name, v := range r.Values {
		if strings.HasPrefix(name, "packets") {
			sum[name] += v
		}
	}
}

// TestLossesAtSeamsKeepTheirDirection puts one outage per direction across the seams of windows.
func TestLossesAtSeamsKeepTheirDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Window = time.Second
		outUp, outDown := span(195, 205), span(390, 412)
		r := newPath(lose(constant(10*ms), outUp...), lose(constant(10*ms), outDown...)).measureFor(t, c, 10500*ms)
		want := []struct{ up, down, gap float64 }{
			{0, 0, 0}, {5, 0, 0.05}, {5, 0, 0.1}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},
		}
		// Ten requests were lost before, so reply 390 answers request 400.
		want[4] = struct{ up, down, gap float64 }{0, 22, 0.22}
		for i, w := range want {
			value(t, r[i], "packets_lost", w.up+w.down)
			value(t, r[i], "packets_lost_up", w.up)
			value(t, r[i], "packets_lost_down", w.down)
			value(t, r[i], "interruption_max_seconds", w.gap)
		}
		var lengths []time.Duration
		for _, w := range r {
			for _, e := range w.Events {
				lengths = append(lengths, e.Duration)
			}
		}
		if !slices.Equal(lengths, []time.Duration{100 * ms, 220 * ms}) {
			t.Errorf("events of %v, want one of 100ms across the seam and one of 220ms", lengths)
		}
	})
}

func span(from, to int) []int {
	list := []int{}
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

// TestRecoveredPackets has one reply come back eleven seconds later, long after its window was published.
func TestRecoveredPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Window, c.Interval = time.Second, 100*ms
		down := func(n int) []time.Duration {
			if n == 5 {
				return []time.Duration{11 * time.Second, 12 * time.Second}
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(constant(10*ms), down).measureFor(t, c, 20*time.Second)
		value(t, r[0], "packets_lost", 1)
		value(t, r[0], "packets_lost_down", 1)
		value(t, r[0], "packets_late", 0)
		for i := 1; i < 11; i++ {
			value(t, r[i], "packets_recovered", 0)
		}
		value(t, r[11], "packets_recovered", 1)
		value(t, r[11], "packets_late", 1)
		value(t, r[11], "packets_received", 11)
		value(t, r[11], "rtt_max_seconds", 11.01)
		value(t, r[12], "packets_duplicated", 1)
		value(t, r[12], "packets_received", 10)
	})
}

func TestWindowsEndCleanlyOnCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Window = time.Second
		r := newPath(lose(constant(10*ms), 180, 240), constant(10*ms)).measureFor(t, c, 2500*ms)
		// The second window waits for packet 180 when the end comes. The third one has 50 packets: 0.498 s of slots.
		if len(r) != 3 {
			t.Fatalf("%d results, want 3", len(r))
		}
		value(t, r[1], "packets_sent", 100)
		value(t, r[1], "packets_received", 99)
		value(t, r[1], "packets_lost", 0)
		if r[1].Info["in_flight_at_end"] != "1" || r[2].Info["in_flight_at_end"] != "3" {
			t.Errorf("in flight: %q and %q, want 1 and 3", r[1].Info["in_flight_at_end"], r[2].Info["in_flight_at_end"])
		}
		value(t, r[2], "packets_sent", 50)
		value(t, r[2], "packets_received", 47)
		if !r[2].Start.Equal(r[1].End()) {
			t.Error("the last result does not start where the one before ends")
		}
	})
}

func TestWindowWithoutRepliesIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Window, c.Interval = time.Second, 100*ms
		r := newPath(lose(constant(10*ms), span(15, 45)...), constant(10*ms)).measureFor(t, c, 10*time.Second)
		for i, want := range []probes.Outcome{probes.OK, probes.OK, probes.Timeout, probes.Timeout, probes.OK, probes.OK} {
			if r[i].Outcome != want {
				t.Errorf("window %d: %s (%s), want %s", i, r[i].Outcome, r[i].Error, want)
			}
		}
		for i, want := range []float64{0, 0.5, 1.5, 2.5, 3, 0} { // how long it has lasted, and in the end how long it was
			value(t, r[i], "interruption_max_seconds", want)
		}
	})
}
