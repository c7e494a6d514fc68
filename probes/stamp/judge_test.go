package stamp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// TestWhatMakesAResultLate holds the thresholds from both sides, at 10 ms spacing, where an interruption of 100 ms makes an event.
func TestWhatMakesAResultLate(t *testing.T) {
	const late, starved = probes.ScheduleLate, probes.ScheduleLate | probes.CPUStarved
	for name, c := range map[string]struct {
		kernel, user    int // packets by who stamped their departure
		skipped, behind int
		blind, seen     time.Duration
		lateness, wait  time.Duration
		want            probes.Quality
	}{
		"all well":                                 {kernel: 100},
		"kernel stamps, every packet late":         {kernel: 100, behind: 100, lateness: time.Second},
		"kernel stamps, one slot in 20 skipped":    {kernel: 95, skipped: 5, blind: 50 * ms},
		"kernel stamps, more skipped":              {kernel: 94, skipped: 6, blind: 10 * ms, want: late},
		"kernel stamps, nothing sent for 50 ms":    {kernel: 995, skipped: 5, blind: 50 * ms},
		"kernel stamps, nothing sent for longer":   {kernel: 995, skipped: 5, blind: 50*ms + 1, want: late},
		"as long as an interruption that was seen": {kernel: 992, skipped: 8, blind: 80 * ms, seen: 80 * ms},
		"longer than one that was seen":            {kernel: 992, skipped: 8, blind: 80*ms + 1, seen: 80 * ms, want: late},
		"user stamps, one packet in 100 late":      {user: 100, behind: 1},
		"user stamps, more late":                   {user: 100, behind: 2, want: late},
		"user stamps, more late or skipped":        {user: 99, behind: 1, skipped: 1, blind: 10 * ms, want: late},
		"one user stamp in 100, all late":          {kernel: 99, user: 1, behind: 100},
		"more user stamps, all late":               {kernel: 98, user: 2, behind: 100, want: late},
		"late, and no processor for half of that":  {user: 100, behind: 2, lateness: 8 * ms, wait: 4 * ms, want: starved},
		"late, and no processor for less":          {user: 100, behind: 2, lateness: 8 * ms, wait: 4*ms - 1, want: late},
		"no processor, but on time":                {kernel: 100, wait: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := &window{blind: c.blind, seen: c.seen}
			for n := range c.kernel + c.user {
				r := record{fate: answered | kernelT1 | kernelT4}
				if n < c.user {
					r.fate &^= kernelT1
				}
				w.records = append(w.records, r)
			}
			w.sent, w.received = uint64(len(w.records)), uint64(len(w.records))
			w.skipped, w.behind, w.lateness = uint64(c.skipped), uint64(c.behind), c.lateness
			w.processorWait, w.waitKnown = c.wait, true
			config := defaults()
			rec := probes.NewRecorder()
			total := w.total()
			(&clerk{rec: rec, config: &config}).judgeSchedule(w, &total)
			if got := rec.Snapshot().Quality; got != c.want {
				t.Errorf("quality %q, want %q", got, c.want)
			}
		})
	}
}

// TestAKernelThatBlocksSkipsSlots has the kernel keep a packet for 57 ms: the five slots behind it are past by more than
// half an interval when it is done, and the sixth is on time.
func TestAKernelThatBlocksSkipsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPath(constant(10*ms), constant(10*ms))
		p.refuse = func(_, n int) error {
			if n == 50 {
				time.Sleep(57 * ms)
			}
			return nil
		}
		// All threads together waited for a processor for a twentieth of the time.
		p.readers.ProcessorWait = func() (time.Duration, bool) { return time.Since(start) / 20, true }
		r := p.measure(t.Context(), t, defaults(), &Reflector{})[0]
		value(t, r, "packets_sent", 95)
		value(t, r, "packets_skipped", 5)
		value(t, r, "packets_lost", 0)
		value(t, r, "schedule_error_max_seconds", 0)
		// Late by 47, 37, 27, 17 and 7 ms; half of that is 67.5 ms. The run took 1012 ms, a twentieth of which is 50.6 ms.
		if want := probes.UserStamps | probes.ScheduleLate; r.Quality != want {
			t.Errorf("quality %q, want %q", r.Quality, want)
		}
		if r.Info["processor_wait"] != "50.6ms" {
			t.Errorf("waited for a processor for %q, want 50.6ms", r.Info["processor_wait"])
		}
	})
}

// TestANameThatIsSlowToResolve costs no slot of the schedule.
func TestANameThatIsSlowToResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPath(constant(10*ms), constant(10*ms))
		p.slow = 500 * ms
		r := p.measure(t.Context(), t, defaults(), &Reflector{})[0]
		value(t, r, "packets_sent", 100)
		value(t, r, "packets_skipped", 0)
		value(t, r, "schedule_error_max_seconds", 0)
		if r.Quality != probes.UserStamps {
			t.Errorf("quality %q", r.Quality)
		}
		if got, want := time.Since(start), p.slow+lead+99*10*ms+20*ms; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

// TestOthersOnTheInterface has somebody send at exactly the limit in one window and at one byte a second more in another.
func TestOthersOnTheInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPath(constant(10*ms), constant(10*ms))
		ownUp := 0
		p.refuse = func(int, int) error { ownUp += defaults().Size + probes.HeaderUDP; return nil }
		p.readers.InterfaceOf = func(a netip.Addr) string { return map[netip.Addr]string{senderIP: "wwan0"}[a] }
		p.readers.Octets = func(name string) (load.Octets, bool) {
			others := 0.0
			for _, from := range []struct{ at, rate float64 }{{0, 0}, {1, crossLimit}, {2, crossLimit + 1}, {3, 0}} {
				if passed := (time.Since(start) - lead).Seconds() - from.at; passed > 0 {
					others += from.rate * min(1, passed)
				}
			}
			return load.Octets{Up: float64(ownUp) + others}, name == "wwan0"
		}
		c := defaults()
		c.Window = time.Second
		r := p.measureFor(t, c, 4500*ms)
		for i, want := range []probes.Quality{0, 0, probes.CrossTraffic, 0} {
			if got := r[i].Quality &^ probes.UserStamps; got != want {
				t.Errorf("window %d: quality %q, want %q (%s)", i, got, want, r[i].Info["other_traffic"])
			}
		}
	})
}
