package stamp

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWakeUpIsMeasuredApart has a link that needs 300 ms to wake up after a second of silence.
func TestWakeUpIsMeasuredApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		// Lost packets around the third pause: 9 at the end of the second burst, 10 at the beginning of the third.
		sleepy := func(n int) []time.Duration {
			idle := time.Since(last)
			last = time.Now()
			if n == 9 || n == 10 {
				return nil
			}
			if idle >= time.Second {
				return []time.Duration{310 * ms}
			}
			return []time.Duration{10 * ms}
		}
		c := defaults()
		c.Interval, c.Burst, c.Idle, c.Count = 400*ms, 5, "2s", 20
		start := time.Now()
		r := newPath(sleepy, constant(10*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		for name, want := range map[string]float64{
			"packets_sent": 20, "packets_received": 18, "rtt_min_seconds": 0.02, "pdv_up_max_seconds": 0,
			"wake_up_min_seconds": 0.32, "wake_up_max_seconds": 0.32,
			"interruption_max_seconds": 0.8, // two slots, and the pause between them is none of it
		} {
			value(t, r, name, want)
		}
		if n := r.Hists["wake_up"].Count(); n != 3 {
			t.Errorf("%d wake-ups measured, want 3: the fourth was lost", n)
		}
		// Three seconds of timeout do not run: packet 10 of 17 s is given up before the last reply.
		if took, limit := time.Since(start), c.Timeout(); took >= limit {
			t.Errorf("took %v, the limit is %v", took, limit)
		}
	})
}

func TestTraceHasEachPacket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.csv")
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Count, c.Trace = 5, file
		start := time.Now()
		r := newPath(lose(constant(10*ms), 1), lose(constant(5*ms), 2)).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_received", 3)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		zero := start.UnixNano() / 1e9
		if start.UnixNano()%1e9 != 0 {
			t.Fatal("the bubble does not begin with a second")
		}
		want := strings.ReplaceAll(`seq,t1_ns,t2_ns,t3_ns,t4_ns,rtt_ns,far_seq,fate
0,S002000000,S012000000,S012000000,S017000000,15000000,0,ok
1,S012000000,,,,,,lost_up
2,S022000000,S032000000,S032000000,S037000000,15000000,1,ok
3,S032000000,,,,,,lost_down
4,S042000000,S052000000,S052000000,S057000000,15000000,3,ok
`, "S", strconv.FormatInt(zero, 10))
		if string(text) != want {
			t.Errorf("trace is\n%s, want\n%s", text, want)
		}
		c.Trace = filepath.Join(file, "impossible")
		if r = newPath(constant(0), constant(0)).probe(t.Context(), t, c)[0]; !strings.HasPrefix(r.Error, "trace: open ") {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
	})
}
