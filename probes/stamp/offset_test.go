package stamp

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

func TestOneWayDelayIsGivenWithItsBoundOrNotAtAll(t *testing.T) {
	up := func(n int) []time.Duration {
		if n == 42 {
			return []time.Duration{15 * ms}
		}
		return []time.Duration{25 * ms}
	}
	run := func(t *testing.T, ours, theirs clockState) *probes.Result {
		p := newPath(up, constant(5*ms))
		p.clock = ours
		return p.measure(t.Context(), t, defaults(), &Reflector{clock: theirs})[0]
	}
	within := func(bound time.Duration) clockState { return func() (time.Duration, bool) { return bound, true } }

	synctest.Test(t, func(t *testing.T) {
		// The shortest round trip was 20 ms: either way had 10 ± 10 ms of it. Most packets took 10 ms more on the way
		// there, 20 ± 10 ms, which says something; the 10 ± 10 ms back say nothing.
		r := run(t, nil, nil)
		value(t, r, "owd_up_min_seconds", 0.01)
		value(t, r, "owd_up_max_seconds", 0.02)
		// The last packet left 570 ms after that: what the clocks may drift in that time, and their rates wander, is added.
		const unknown = 0.01 + 0.57*(mostDrift+wander)
		value(t, r, "owd_error_seconds", unknown)
		value(t, r, "clock_offset_seconds", 0.005)
		absent(t, r, "owd_down_p50_seconds")

		// Both clocks synchronised: the delays as they are.
		r = run(t, within(time.Millisecond), within(200*time.Microsecond))
		value(t, r, "owd_up_min_seconds", 0.015)
		value(t, r, "owd_up_max_seconds", 0.025)
		value(t, r, "owd_down_max_seconds", 0.005)
		value(t, r, "clock_offset_seconds", 0)
		if e := r.Values["owd_error_seconds"]; e < 0.0012 || e > 0.00122 {
			t.Errorf("error bound is %v, want 1.2 ms and at most 1 %% more", e)
		}
		if r.Info["clocks"] != "synchronised" {
			t.Errorf("clocks: %q", r.Info["clocks"])
		}

		// One of them is not, or knows less than the round trip tells.
		for _, theirs := range []clockState{nil, within(12 * ms)} {
			value(t, run(t, within(time.Millisecond), theirs), "owd_error_seconds", unknown)
		}
	})
}

func TestClocksThatCannotBothBeRight(t *testing.T) {
	o := offset{value: 50 * ms, bound: 10 * ms}
	good := newErrorEstimate(time.Millisecond, true, formatNTP)
	if o.trust(good, good) {
		t.Error("two clocks 50 ± 10 ms apart were believed to be within a millisecond")
	}
}

// drifting lists exchanges over a minute with a far clock that gains so many parts per million, and delays with
// exponential jitter above 10 ms on either way.
func drifting(ppm float64) []delay {
	random := newRandom()
	var list []delay
	for at := time.Duration(0); at < time.Minute; at += 10 * ms {
		jitter := func() time.Duration { return 10*ms + time.Duration(random.ExpFloat64()*2e6) }
		up, down := jitter(), jitter()
		gained := time.Duration(ppm * 1e-6 * float64(at))
		list = append(list, delay{sent: at, up: up + gained, down: down - gained, rtt: up + down})
	}
	return list
}

func TestDriftIsTakenOutOnlyWhenItIsCertain(t *testing.T) {
	for _, ppm := range []float64{100, -40} {
		list := drifting(ppm)
		o := (&clockHistory{}).estimate(list)
		if got := o.drift * 1e6; math.Abs(got-ppm) > 2 {
			t.Errorf("drift is estimated as %.2f ppm, want %v", got, ppm)
		}
		want := drifting(0)
		o.level(list)
		shift := want[0].up - list[0].up
		for i := range list {
			if off := (want[i].up - list[i].up - shift).Abs(); off > 120*time.Microsecond {
				t.Fatalf("exchange %d is %v off after levelling", i, off)
			}
		}
	}
	if o := (&clockHistory{}).estimate(drifting(0)); o.drift != 0 {
		t.Errorf("drift of %v where there is none", o.drift)
	}
	if o := (&clockHistory{}).estimate(drifting(0)[:1]); o.drift != 0 {
		t.Error("one exchange cannot show drift")
	}
}
