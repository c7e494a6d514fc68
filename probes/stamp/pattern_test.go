package stamp

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

func withPattern(name string) Config {
	c := defaults()
	c.Pattern = name
	return c
}

// TestEveryPatternIsInTimeOnAShortPath works each pattern off once over 10 ms each way: every frame is in time, both ways.
func TestEveryPatternIsInTimeOnAShortPath(t *testing.T) {
	for name, want := range map[string]struct{ packets, frames, up, down float64 }{
		"gaming":         {50 + 313 + 375, 738, 738, 738},
		"voice":          {500, 500, 500, 500},
		"ar":             {300*18 + 2500 + 600, 300 + 2500 + 600, 300 + 2500, 600},
		"remote-driving": {100*2 + 100 + 400*17 + 400, 1000, 500, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := acrossLink(t, withPattern(name), netsim.State{Delay: 10 * ms}, &Reflector{})
				if r.Outcome != probes.OK {
					t.Fatalf("%s: %s", r.Outcome, r.Error)
				}
				value(t, r, "packets_sent", want.packets)
				value(t, r, "packets_lost", 0)
				for suffix, n := range map[string]float64{"": want.frames, "_up": want.up, "_down": want.down} {
					value(t, r, "frames_sent"+suffix, n)
					value(t, r, "frames_lost"+suffix, 0)
					value(t, r, "frames_late"+suffix, 0)
					value(t, r, "frames_in_time"+suffix+"_ratio", 1)
				}
				value(t, r, "rtt_min_seconds", 0.02)
				value(t, r, "rtt_max_seconds", 0.02)
				if why, said := r.Info["frames_by_direction"]; said {
					t.Errorf("frames by direction: %s", why)
				}
			})
		})
	}
}

// acrossLink measures once across an emulated link with the same profile both ways.
func acrossLink(t *testing.T, c Config, p netsim.Profile, far *Reflector) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, p, p)
	b.Serve(serving(far))
	return b.Measure(t.Context(), Kind(), &c, probetest.FarName)
}

// TestFramesOfAnOutageAreLate holds back what is sent in 137 ms until they are over: late are exactly the frames that
// then have waited too long, and late ones count as lost.
func TestFramesOfAnOutageAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		held := func(int) []time.Duration {
			if at := time.Since(start); at >= 300*ms && at < 437*ms {
				return []time.Duration{437*ms - at + 10*ms}
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(held, constant(10*ms)).measure(t.Context(), t, withPattern("voice"), &Reflector{})[0]
		// Frames leave at 2, 22, … ms. Those of 302 to 422 ms wait: 135 ms, 115, …, 15. A way up has 100 ms, both have 200.
		value(t, r, "packets_lost", 0)
		value(t, r, "frames_sent", 500)
		value(t, r, "frames_late", 0)
		value(t, r, "frames_lost", 0)
		value(t, r, "rtt_max_seconds", 0.155)
		value(t, r, "frames_sent_up", 500)
		value(t, r, "frames_late_up", 3) // 145, 125 and 105 ms
		value(t, r, "frames_lost_up", 3)
		value(t, r, "frames_in_time_up_ratio", 497.0/500)
		// Half of the round trip, and what the clocks may wander in the 160 ms without a short one: 1.2 µs.
		if want := "closer to the deadline than the 10.0012ms to which one-way delays are known: 1 of 500 up"; r.Info["frames_by_direction"] != want {
			t.Errorf("frames by direction: %q, want %q", r.Info["frames_by_direction"], want)
		}
		value(t, r, "frames_lost_down", 0)
	})
}

// TestLateFramesCountAsLost is the same with a round trip beyond the deadline, and with packets that never arrive.
func TestLateFramesCountAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		held := func(int) []time.Duration {
			at := time.Since(start)
			switch {
			case at >= 3000*ms && at < 3137*ms: // of 16 ms phases
				return []time.Duration{3137*ms - at + 10*ms}
			case at >= 4000*ms && at < 4137*ms:
				return nil
			}
			return []time.Duration{10 * ms}
		}
		r := newPath(held, constant(10*ms)).measure(t.Context(), t, withPattern("gaming"), &Reflector{})[0]
		// The phase with a frame each 16 ms begins at 2002 ms. From 3010 to 3122 ms 9 frames wait 127, 111, …: with 20 ms of
		// travel three are beyond 100 ms (147, 131, 115). From 4002 to 4130 ms 9 are lost.
		value(t, r, "packets_lost", 9)
		value(t, r, "frames_late", 3)
		value(t, r, "frames_lost", 12)
		value(t, r, "frames_sent", 738)
		value(t, r, "frames_in_time_ratio", 726.0/738)
		if want := "lobby 50/50, active 301/313, trapped 375/375"; r.Info["frames_in_time"] != want {
			t.Errorf("in time: %q, want %q", r.Info["frames_in_time"], want)
		}
	})
}

// TestFramesPerDirection: with clocks that are known well, each way is judged by its own deadline.
func TestFramesPerDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		synced := func() (time.Duration, bool) { return ms, true }
		up := func(n int) []time.Duration {
			switch n {
			case 100, 101:
				return []time.Duration{55 * ms} // beyond 50 ms and the clocks' error of 2, and yet 65 ms for both ways
			case 102:
				return nil
			}
			return []time.Duration{10 * ms}
		}
		p := newPath(up, lose(constant(10*ms), 200, 201))
		p.clock = synced
		r := p.measure(t.Context(), t, withPattern("gaming"), &Reflector{clock: synced})[0]
		for name, want := range map[string]float64{
			"frames_sent": 738, "frames_late": 0, "frames_lost": 3,
			"frames_sent_up": 736, "frames_late_up": 2, "frames_lost_up": 3,
			"frames_sent_down": 737, "frames_late_down": 0, "frames_lost_down": 2,
			"frames_in_time_up_ratio": 733.0 / 736,
		} {
			value(t, r, name, want)
		}
		if want := "left out on the way up, for with a lost reply went the time of arrival: 2"; r.Info["frames_by_direction"] != want {
			t.Errorf("frames by direction: %q, want %q", r.Info["frames_by_direction"], want)
		}
	})
}

// TestFramesPerDirectionNeedClocks: where the error of the offset could turn the verdict there is none.
func TestFramesPerDirectionNeedClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPath(constant(30*ms), constant(30*ms)).measure(t.Context(), t, withPattern("gaming"), &Reflector{})[0]
		value(t, r, "frames_lost", 0)
		absent(t, r, "frames_lost_up")
		if want := "closer to the deadline than the 30ms to which one-way delays are known: 738 of 738 up; closer to the deadline than the 30ms to which one-way delays are known: 738 of 738 down"; r.Info["frames_by_direction"] != want {
			t.Errorf("frames by direction: %q, want %q", r.Info["frames_by_direction"], want)
		}
	})
}

// TestFrameIsLostWithOneOfItsPackets drops one packet of two frames of several.
func TestFrameIsLostWithOneOfItsPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withPattern("remote-driving")
		c.Duration = 2 * time.Second // standing: frames of two packets, and commands of one
		r := newPath(lose(constant(10*ms), 0, 3), constant(10*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_sent", 300)
		value(t, r, "frames_sent", 200)
		value(t, r, "frames_lost", 2)
		value(t, r, "frames_late", 0)
		value(t, r, "frames_lost_up", 2)
		value(t, r, "frames_sent_down", 100)
		value(t, r, "frames_lost_down", 0)
	})
}

// TestPatternGoesOnAcrossWindows sums the frames of windows up.
func TestPatternGoesOnAcrossWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withPattern("gaming")
		c.Window = 5 * time.Second
		results := newPath(constant(10*ms), constant(10*ms)).measureFor(t, c, 20*time.Second+lead+30*ms)
		frames := 0.0
		for _, r := range results[:4] {
			frames += r.Values["frames_sent"]
		}
		if frames != 2*738 {
			t.Errorf("%v frames in windows of two cycles, want %v", frames, 2*738)
		}
		value(t, results[0], "frames_sent", 50+188)
	})
}

func TestPatternAndOtherSettings(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"pattern: gaming says when packets leave and how large they are: leave interval away, or the pattern":                   func(c *Config) { c.Interval = 20 * ms },
		"pattern: gaming says when packets leave and how large they are: leave count, size, burst, idle away, or the pattern":   func(c *Config) { c.Count, c.Size, c.Burst, c.Idle = 5, 300, 3, "1s" },
		"timeout: 50ms is below 100ms, the round trip that pattern gaming allows a frame":                                       func(c *Config) { c.Wait = 50 * ms },
		"pattern: gaming over 24h0m0s makes 6376320 packets in one result, more than 1000000: set a shorter duration or window": func(c *Config) { c.Duration = 24 * time.Hour },
	} {
		c := withPattern("gaming")
		change(&c)
		if err := c.check(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestPatternsAreWellFormed holds what the help says of them.
func TestPatternsAreWellFormed(t *testing.T) {
	for _, p := range patterns() {
		p := findPattern(p.name)
		if p.cycle() != 10*time.Second {
			t.Errorf("%s takes %v", p.name, p.cycle())
		}
		for i, f := range p.flows() {
			for _, m := range []mode{unauthenticated, authenticated} {
				if f.request(m) > fragment || f.request(m) < m.base() || f.reply(m) > f.request(m) || f.request(m)*f.packets() < max(f.up, f.down) {
					t.Errorf("%s, flow %d: %d packets of %d, replies of %d", p.name, i, f.packets(), f.request(m), f.reply(m))
				}
			}
			if int(f.number) != i || f.phase == "" {
				t.Errorf("%s, flow %d: number %d of phase %q", p.name, i, f.number, f.phase)
			}
		}
		if !strings.Contains(Kind().Help, "\n  "+p.name) {
			t.Errorf("the help lacks %s", p.name)
		}
	}
}

// TestPlanOfPatterns: what a pattern is told to take at most, and what it took, with a reflector that shortens replies.
func TestPlanOfPatterns(t *testing.T) {
	for name, want := range map[string]struct{ worst, spent unit.Bytes }{
		"gaming":         {1000 + 2*(50*(100+48)+313*(252+48)+375*(500+48)), 2 * (50*(100+48) + 313*(252+48) + 375*(500+48))},
		"remote-driving": {1000 + 2*(200*1048+500*1048+6800*1228), 500*2*1048 + 200*(1048+144+48) + 6800*(1228+144+48)},
	} {
		c := withPattern(name)
		packets, _ := c.pattern().traffic(10*time.Second, unauthenticated)
		worst, _ := Kind().WorstCase(&c)
		spent, _ := Kind().Spent(&c, &probes.Result{Values: map[string]float64{"packets_sent": float64(packets)}})
		if worst != want.worst || spent != want.spent+1000 {
			t.Errorf("%s: %d reserved and %d charged, want %d and %d", name, worst, spent, want.worst, want.spent+1000)
		}
	}
}

// TestShortReplies asks our reflector for replies of all lengths: never longer than the request nor cut inside a TLV.
func TestShortReplies(t *testing.T) {
	for _, key := range []string{"", "0123456789abcdef"} {
		sign, err := newSigner([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		rs, err := (&Reflector{Key: []byte(key), Log: quiet()}).responder()
		if err != nil {
			t.Fatal(err)
		}
		lengths := map[int]bool{}
		for wish := range 1300 {
			template := newShape(&Config{TLVs: true}, shape{size: 1200, reply: min(wish, 1199), ssid: 1}, sign, newRandom())
			control, _, _ := cutTLV(template.packet[sign.mode().base():])
			putControl(control.value(), wish)
			template.prepare(uint32(wish))
			buffer := slices.Clone(template.depart(1))
			x := exchange{arrival: arrival{tos: -1}}
			n := rs.answer(buffer, len(buffer), &x)
			rs.depart(buffer[:n], 2)
			lengths[n] = true
			least := (&Config{TLVs: true, Key: key}).leastReply()
			aligned := (wish + 3) / 4 * 4
			if want := min(1200, max(least, aligned)); n != want && (wish != 0 || n != 1200) {
				t.Fatalf("a reply of %d to the wish for %d, want %d", n, wish, want)
			}
			var x2 extensions
			x2.read(buffer[:n], sign)
			if !x2.counts || x2.shortens != (wish <= 1200) {
				t.Fatalf("wish for %d: %+v", wish, x2)
			}
		}
		if len(lengths) < 200 {
			t.Errorf("only these lengths: %v", slices.Sorted(maps.Keys(lengths)))
		}
	}
}

// TestControlOfMoreThanOneReply: a wish for many replies is answered with one, which says so.
func TestControlOfMoreThanOneReply(t *testing.T) {
	rs, err := (&Reflector{Log: quiet()}).responder()
	if err != nil {
		t.Fatal(err)
	}
	template := newShape(&Config{TLVs: true}, shape{size: 400, reply: 200, ssid: 1}, nil, newRandom())
	control := tlv(template.packet[baseSize:])
	control.value()[3] = 100
	template.prepare(0)
	buffer := slices.Clone(template.depart(1))
	n := rs.answer(buffer, len(buffer), &exchange{arrival: arrival{tos: -1}})
	if got, _, ok := cutTLV(buffer[baseSize:n]); !ok || n != 200 || got.kind() != tlvControl || got.flags() != flagNotConformant {
		t.Errorf("a reply of %d bytes with % x", n, got)
	}
}
