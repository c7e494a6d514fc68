package stamp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPausesAreNotedInTheirWindow has two pauses in turn, the longer of which is longer than several windows.
func TestPausesAreNotedInTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		up := func(int) []time.Duration {
			idle := time.Since(last)
			last = time.Now()
			if idle > 10*time.Second {
				return []time.Duration{310 * ms}
			}
			return []time.Duration{10 * ms}
		}
		c := defaults()
		c.Window, c.Burst, c.Idle = 5*time.Second, 100, "1s,20s"
		ctx, cancel := context.WithTimeout(t.Context(), 53*time.Second)
		defer cancel()
		list := newPath(up, constant(10*ms)).measure(ctx, t, c, &Reflector{})
		const short, long = "20ms, 0s above warm, 1 of 1 packets answered", "320ms, 300ms above warm, 1 of 1 packets answered"
		for i, want := range [10][2]string{0: {short, ""}, 4: {short, long}, 9: {short, long}} {
			r := list[i]
			if got := [2]string{r.Info["wake_up_after_1s"], r.Info["wake_up_after_20s"]}; got != want {
				t.Errorf("window %d with %v packets: %q, want %q", i, r.Values["packets_sent"], got, want)
			}
			if want := "192.0.2.1:40000"; r.Info["source_at_far_end"] != want && r.Values["packets_sent"] > 0 {
				t.Errorf("window %d: source %q, want %q", i, r.Info["source_at_far_end"], want)
			}
		}
	})
}

// TestFramesAreNotedInTheirWindow loses replies in one window of several.
func TestFramesAreNotedInTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withPattern("gaming")
		c.Window = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		list := newPath(constant(10*ms), lose(constant(10*ms), span(901, 920)...)).measure(ctx, t, c, &Reflector{})
		for i, want := range []string{"", "left out on the way up, for with a lost reply went the time of arrival: 19", "", ""} {
			if got := list[i].Info["frames_by_direction"]; got != want {
				t.Errorf("window %d with %v frames lost: %q, want %q", i, list[i].Values["frames_lost"], got, want)
			}
		}
	})
}
