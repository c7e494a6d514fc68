package stamp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

// handover is a way on which packets 30 to 43 are lost, the two before are kept for 50 ms, and those behind come with a
// delay that falls by 10 ms from packet to packet, from 100 ms to 10 ms.
func handover(n int) []time.Duration {
	switch {
	case n == 28 || n == 29:
		return []time.Duration{60 * ms}
	case n >= 30 && n < 44:
		return nil
	case n >= 44 && n < 53:
		return []time.Duration{100*ms - time.Duration(n-44)*10*ms}
	}
	return []time.Duration{10 * ms}
}

func TestLatencyAroundAnInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			up   rule
			want probes.Spike
		}{
			// Packet 44 is the first one through and packet 53 the first one at 20 ms again: nine slots behind it.
			"queue that empties": {handover, probes.Spike{Before: 20 * ms, Peak: 110 * ms, Settled: 90 * ms}},
			// 22 ms is a tenth more than before and counts as back; 22 ms and a bit does not.
			"a tenth more": {
				func(n int) []time.Duration {
					if n >= 53 && n < 60 {
						return []time.Duration{12*ms + 1}
					}
					if n >= 60 {
						return []time.Duration{12 * ms}
					}
					return handover(n)
				},
				probes.Spike{Before: 20 * ms, Peak: 110 * ms, Settled: 160 * ms},
			},
			// One packet that is fast by luck does not end it, and one that is slow by chance does not keep it open.
			"luck and chance": {
				func(n int) []time.Duration {
					switch n {
					case 47:
						return []time.Duration{10 * ms}
					case 55, 56:
						return []time.Duration{30 * ms}
					}
					return handover(n)
				},
				probes.Spike{Before: 20 * ms, Peak: 110 * ms, Settled: 90 * ms},
			},
			"another path": {
				func(n int) []time.Duration {
					if n >= 44 {
						return []time.Duration{15 * ms}
					}
					return handover(n)
				},
				probes.Spike{Before: 20 * ms, Peak: 70 * ms, Settled: -1},
			},
		} {
			r := newPath(c.up, constant(10*ms)).measure(t.Context(), t, defaults(), &Reflector{})[0]
			if len(r.Events) != 1 || r.Events[0].Duration != 140*ms || r.Events[0].Spike == nil {
				t.Errorf("%s: events %+v, want one interruption of 140ms", name, r.Events)
				continue
			}
			if diff := cmp.Diff(c.want, *r.Events[0].Spike); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

// TestLatencySettlesAcrossWindows has an interruption whose latency is back only two windows later, and another that is
// followed by the next interruption before it is back.
func TestLatencySettlesAcrossWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Window = time.Second
		up := func(n int) []time.Duration {
			switch {
			case n >= 80 && n < 100, n >= 500 && n < 520, n >= 550 && n < 565:
				return nil
			case n >= 100 && n < 250:
				return []time.Duration{20 * ms}
			case n >= 520 && n < 600:
				return []time.Duration{40 * ms}
			}
			return []time.Duration{10 * ms}
		}
		var got []probes.Event
		for _, r := range newPath(up, constant(10*ms)).measureFor(t, c, 10500*ms) {
			for _, e := range r.Events {
				got = append(got, probes.Event{Duration: e.Duration, Detail: e.Detail})
			}
		}
		want := []probes.Event{
			{Duration: 200 * ms, Detail: "20 packets lost, 20 up and 0 down; round trip 20ms before, 30ms at most, back after 1.5s"},
			{Duration: 200 * ms, Detail: "20 packets lost, 20 up and 0 down; round trip 20ms before, 50ms at most, not back"},
			{Duration: 150 * ms, Detail: "15 packets lost, 15 up and 0 down; round trip 50ms before, 50ms at most, back after 0s"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestLatencyIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := defaults()
		c.Window = time.Second
		up := func(int) []time.Duration {
			switch at := time.Since(start); {
			case at < time.Second:
				return []time.Duration{10 * ms}
			case at < 1200*ms:
				return nil
			}
			return []time.Duration{30 * ms}
		}
		told := -1
		for i, r := range newPath(up, constant(10*ms)).measureFor(t, c, 15*time.Second) {
			for _, e := range r.Events {
				told = i
				if e.Spike == nil || e.Spike.Settled >= 0 {
					t.Errorf("%s", e.Detail)
				}
			}
		}
		if told != 11 {
			t.Errorf("told in window %d, want 11: 10 s behind 1.2 s", told)
		}
	})
}
