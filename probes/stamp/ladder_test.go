package stamp

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{
		"5s": "5s", "0.1s, 1s,60s": "100ms,1s,1m", "0s": "", "1h": "1h",
	} {
		var p Pauses
		if err := p.UnmarshalText([]byte(text)); err != nil || string(p) != want {
			t.Errorf("%q reads as %q (%v), want %q", text, p, err, want)
		}
	}
	for _, text := range []string{"", "1", "-1s", "61m", "1s,", "1s,0s", "1s,x", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s"} {
		p := Pauses("7s")
		if err := p.UnmarshalText([]byte(text)); err == nil || p != "7s" {
			t.Errorf("%q reads as %q", text, p)
		}
	}
	if got := Pauses("1s,5s").total(5); got != 13*time.Second {
		t.Errorf("five pauses of 1s and 5s in turn take %v, want 13s", got)
	}
}

// TestALadderOfPauses has a radio that sleeps lightly after half a second of silence and deeply after four: waking takes
// 20 ms and 300 ms.
func TestALadderOfPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		up := func(n int) []time.Duration {
			idle := time.Since(last)
			last = time.Now()
			switch {
			case n == 50: // the first packet behind the second pause of 5 s
				return nil
			case idle > 4*time.Second:
				return []time.Duration{310 * ms}
			case idle > 500*ms:
				return []time.Duration{30 * ms}
			}
			return []time.Duration{10 * ms}
		}
		c := defaults()
		c.Burst, c.Idle, c.Count = 10, "100ms,1s,5s", 70
		start := time.Now()
		r := newPath(up, constant(10*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_sent", 70)
		value(t, r, "rtt_max_seconds", 0.02)
		for key, want := range map[string]string{
			"wake_up_after_100ms": "20ms, 0s above warm, 3 of 3 packets answered",
			"wake_up_after_1s":    "40ms, 20ms above warm, 2 of 2 packets answered",
			"wake_up_after_5s":    "320ms, 300ms above warm, 1 of 2 packets answered",
		} {
			if r.Info[key] != want {
				t.Errorf("%s: %q, want %q", key, r.Info[key], want)
			}
		}
		if got, want := time.Since(start), lead+c.Idle.total(7)+69*10*ms+c.Wait; got != want {
			t.Errorf("took %v, want %v: until the lost packet is given up", got, want)
		}
	})
}

// TestAPauseWhoseFirstPacketDoesNotLeave: the next one that leaves is the one that wakes the radio.
func TestAPauseWhoseFirstPacketDoesNotLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		up := func(int) []time.Duration {
			idle := time.Since(last)
			last = time.Now()
			if idle > time.Second {
				return []time.Duration{110 * ms}
			}
			return []time.Duration{10 * ms}
		}
		p := newPath(up, constant(10*ms))
		p.refuse = func(_, n int) error {
			switch n {
			case 10:
				return syscall.ENOBUFS // the first packet behind the second pause
			case 19:
				time.Sleep(2*time.Second + 18*ms) // which makes the first one behind the third pause 8 ms late
			}
			return nil
		}
		c := defaults()
		c.Burst, c.Idle, c.Count = 10, "2s", 30
		r := p.measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_refused", 1)
		value(t, r, "packets_skipped", 1)
		value(t, r, "rtt_p95_seconds", 0.02)
		if want := "120ms, 100ms above warm, 3 of 3 packets answered"; r.Info["wake_up_after_2s"] != want {
			t.Errorf("%q, want %q", r.Info["wake_up_after_2s"], want)
		}
	})
}
