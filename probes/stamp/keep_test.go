package stamp

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// TestSessionOutlivesItsSocket takes the route away from the first socket after three seconds: the kernel refuses what
// is sent on it, as it does when a modem has connected anew with another address.
func TestSessionOutlivesItsSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(constant(10*ms), constant(10*ms))
		start := time.Now()
		p.moves = true
		p.refuse = func(socket, _ int) error {
			if time.Since(start) >= 3*time.Second && socket == 0 {
				return syscall.ENETUNREACH
			}
			return nil
		}
		c := defaults()
		c.Window = time.Second
		r := p.measureFor(t, c, 10*time.Second)
		// The kernel refuses from 3.002 s on; at 5 s that is not yet two seconds, at 6 s it is.
		for i, refused := range []float64{0, 0, 0, 100, 100, 100, 0, 0, 0} {
			value(t, r[i], "packets_refused", refused)
			value(t, r[i], "packets_received", 100-refused)
			value(t, r[i], "packets_lost", 0)
		}
		if events := r[6].Events; len(events) != 1 || events[0].Type != probes.Rebinding || events[0].Detail != "192.0.2.1:40000 to 192.0.2.2:40001" {
			t.Errorf("events: %+v", events)
		}
	})
}

// TestOutageKeepsTheSocket has the network lose everything for a minute. The address stays the same, so the session
// stays on its socket, and the reflector's count tells that the requests were lost.
func TestOutageKeepsTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := func(int) []time.Duration {
			if at := time.Since(start); at >= 20*time.Second && at < 80*time.Second {
				return nil
			}
			return []time.Duration{10 * ms}
		}
		p := newPath(out, constant(10*ms))
		c := defaults()
		c.Duration, c.Interval = 100*time.Second, 100*ms
		r := p.measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_lost", 600)
		value(t, r, "packets_lost_up", 600)
		value(t, r, "interruption_max_seconds", 60)
	})
}
