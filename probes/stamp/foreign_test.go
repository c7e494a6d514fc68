package stamp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// twampLight answers as a stateful TWAMP-Light responder of the simple kind does: one time stamp for arrival and
// departure, no session identifier, no TTL, and 41 octets whatever the length of the request.
func twampLight(p *path, done <-chan struct{}) {
	for seq := uint32(0); ; seq++ {
		b := make([]byte, 2000)
		var d datagram
		select {
		case d = <-p.server.inbox:
		case <-done:
			return
		}
		now := newTimestamp(time.Now().UnixNano(), formatNTP)
		answer := b[:41]
		binary.BigEndian.PutUint32(answer, seq)
		binary.BigEndian.PutUint64(answer[4:], uint64(now))
		binary.BigEndian.PutUint16(answer[12:], 0x0001)
		binary.BigEndian.PutUint64(answer[16:], uint64(now))
		copy(answer[24:38], d.payload[:14])
		_, _ = p.server.Write(answer)
	}
}

func TestAgainstATWAMPLightReflector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(lose(constant(10*ms), 3, 4), lose(constant(5*ms), 50))
		done := make(chan struct{})
		var responder sync.WaitGroup
		responder.Go(func() { twampLight(p, done) })
		r := p.probe(t.Context(), t, defaults())[0]
		close(done)
		responder.Wait()
		for name, want := range map[string]float64{
			"packets_sent": 100, "packets_received": 97, "packets_lost": 3, "packets_lost_up": 2, "packets_lost_down": 1,
			"rtt_min_seconds": 0.015, "rtt_max_seconds": 0.015, "residence_max_seconds": 0,
		} {
			value(t, r, name, want)
		}
		if want := "source at the far end: the reflector lacks the extensions of RFC 8972"; r.Info["missing"] != want {
			t.Errorf("missing: %q, want %q", r.Info["missing"], want)
		}
		if want := "T1=user,T2=unknown,T3=user,T4=user"; r.Info["stamps"] != want {
			t.Errorf("stamps: %q, want %q", r.Info["stamps"], want)
		}
	})
}

func TestPlainPeerCanStopTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(constant(10*ms), constant(10*ms))
		done := make(chan struct{})
		var responder sync.WaitGroup
		responder.Go(func() { twampLight(p, done) })
		c := defaults()
		c.Peer = peerStop
		r := p.probe(t.Context(), t, c)[0]
		close(done)
		responder.Wait()
		if r.Outcome != probes.Invalid || !strings.Contains(r.Error, "set plain_peer to continue") {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
	})
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(keyFile, reflectorKey string) *probes.Result {
			c := defaults()
			c.KeyFile, c.Size = keyFile, 300
			return newPath(constant(10*ms), constant(10*ms)).measure(t.Context(), t, c, &Reflector{Key: []byte(reflectorKey)})[0]
		}
		r := run(file, "0123456789abcdef")
		value(t, r, "packets_received", 100)
		value(t, r, "rtt_max_seconds", 0.02)
		if r.Info["source_at_far_end"] != "192.0.2.1:40000" {
			t.Errorf("the protected extensions say %q", r.Info["source_at_far_end"])
		}
		r = run(file, "another key of 16 or more")
		value(t, r, "packets_received", 0)
		if r.Outcome != probes.Auth || !strings.Contains(r.Error, "the key is not that of the reflector at far") {
			t.Errorf("wrong key: %s: %s", r.Outcome, r.Error)
		}
		if r = run("", "0123456789abcdef"); r.Outcome != probes.Timeout {
			t.Errorf("no key: %s: %s", r.Outcome, r.Error)
		}
	})
}

func TestForgedRepliesAreNoReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(constant(10*ms), constant(10*ms))
		done := make(chan struct{})
		var responder sync.WaitGroup
		responder.Go(func() {
			for {
				select {
				case d := <-p.server.inbox:
					_, _ = p.server.Write(bytes.Repeat([]byte{1}, len(d.payload)))
				case <-done:
					return
				}
			}
		})
		c := defaults()
		c.Key = "0123456789abcdef"
		r := p.probe(t.Context(), t, c)[0]
		close(done)
		responder.Wait()
		if r.Outcome != probes.Auth || !strings.Contains(r.Error, "the key is not that of the reflector") {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
	})
}

func TestNATRebindingIsAnEventAndTheSessionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(lose(constant(10*ms), 70), constant(10*ms))
		p.nat = func(n int) uint16 {
			if n < 40 {
				return 40000
			}
			return 51111
		}
		r := p.measure(t.Context(), t, defaults(), &Reflector{})[0]
		value(t, r, "packets_received", 99)
		value(t, r, "packets_lost_up", 1) // counted anew by the far end, and still told apart
		if len(r.Events) != 1 || r.Events[0].Type != probes.Rebinding || r.Events[0].Detail != "192.0.2.1:40000 to 192.0.2.1:51111" {
			t.Errorf("events: %+v", r.Events)
		}
	})
}

func TestPacketsTheKernelRefusedAreNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(constant(10*ms), constant(10*ms))
		p.refuse = func(_, n int) error {
			if n >= 20 && n < 30 {
				return syscall.ENOBUFS
			}
			return nil
		}
		r := p.measure(t.Context(), t, defaults(), &Reflector{})[0]
		for name, want := range map[string]float64{
			"packets_sent": 90, "packets_received": 90, "packets_lost": 0, "packets_refused": 10, "interruption_max_seconds": 0,
		} {
			value(t, r, name, want)
		}
		if !r.Quality.Has(probes.KernelRefused) {
			t.Errorf("quality %v", r.Quality)
		}
	})
}

func TestNothingComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		refuse  error
		outcome probes.Outcome
		text    string
	}{
		"silence":     {nil, probes.Timeout, "no reply from far to 100 packets within 3s"},
		"port closed": {syscall.ECONNREFUSED, probes.Refused, "no STAMP reflector on UDP port 862"},
		"no route":    {syscall.ENETUNREACH, probes.Unreachable, "the kernel refused every packet towards far: network is unreachable"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPath(lose(constant(0), span(0, 200)...), constant(0))
			p.refuse = func(_, n int) error {
				if errors.Is(c.refuse, syscall.ECONNREFUSED) && n%2 == 0 {
					return nil // the news comes with the next packet
				}
				return c.refuse
			}
			r := p.probe(t.Context(), t, defaults())[0]
			if r.Outcome != c.outcome || !strings.Contains(r.Error, c.text) {
				t.Errorf("%s: %s: %s", name, r.Outcome, r.Error)
			}
		})
	}
}

func TestCancelGivesWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPath(constant(10*ms), constant(10*ms)).measureFor(t, defaults(), 505*ms)[0]
		// Slots at 2, 12, …, 502 ms: 51 packets, of which those of 492 and 502 ms are on their way.
		value(t, r, "packets_sent", 51)
		value(t, r, "packets_received", 49)
		value(t, r, "packets_lost", 0)
		value(t, r, "loss_ratio", 0)
		if r.Info["in_flight_at_end"] != "2" || !r.Quality.Has(probes.Partial) {
			t.Errorf("in flight %q, quality %v", r.Info["in_flight_at_end"], r.Quality)
		}
	})
}

func TestWarmupCountsInNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Warmup = 5
		cold := func(n int) []time.Duration {
			if n < 5 {
				return []time.Duration{400 * ms}
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(lose(cold, 4), constant(10*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		for name, want := range map[string]float64{
			"packets_sent": 100, "packets_received": 100, "packets_lost": 0, "packets_reordered": 0, "rtt_max_seconds": 0.02,
		} {
			value(t, r, name, want)
		}
	})
}

func TestPoissonSpacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := defaults()
		c.Spacing, c.Count = poisson, 2000
		start := time.Now()
		r := newPath(constant(10*ms), constant(10*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_received", 2000)
		value(t, r, "schedule_error_max_seconds", 0)
		if mean := time.Since(start) / 2000; mean < 9500*time.Microsecond || mean > 10500*time.Microsecond {
			t.Errorf("mean gap is %v, want about 10 ms", mean)
		}
	})
}

func TestReflectorRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(lose(constant(10*ms), 30, 80, 81), lose(constant(10*ms), 20))
		restarted, stop := context.WithCancel(t.Context())
		var reflector sync.WaitGroup
		serve := func(ctx context.Context) {
			if err := (&Reflector{Log: quiet()}).Serve(ctx, p.server); err != nil {
				t.Errorf("reflector: %v", err)
			}
		}
		reflector.Go(func() {
			first, end := context.WithTimeout(restarted, 515*ms)
			serve(first)
			end()
			p.server.reopen()
			serve(restarted)
		})
		r := p.probe(t.Context(), t, defaults())[0]
		stop()
		reflector.Wait()
		value(t, r, "packets_received", 96)
		value(t, r, "packets_lost", 4)
		value(t, r, "packets_lost_up", 3)
		value(t, r, "packets_lost_down", 1)
		value(t, r, "packets_reordered", 0)
	})
}
