package stamp

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// stalls are at which packets the host stops for how long.
type stalls map[int]time.Duration

func (s stalls) refuse(_, n int) error {
	time.Sleep(s[n])
	return nil
}

// TestStallsAndInterruptions has the host stop while the link is well, and while it is out: what was not sent is not
// published as an interruption, and a result in which a longer one may be hidden than was seen is late on schedule.
func TestStallsAndInterruptions(t *testing.T) {
	for name, c := range map[string]struct {
		interval     time.Duration
		stalls       stalls
		lost         []int
		interruption time.Duration
		events       int
		silence      string
		late         bool
	}{
		"20 ms, every 10 ms":               {interval: 10 * ms, stalls: stalls{50: 20 * ms}, silence: "10ms"},
		"60 ms, every 10 ms":               {interval: 10 * ms, stalls: stalls{50: 60 * ms}, silence: "50ms"},
		"longer, every 10 ms":              {interval: 10 * ms, stalls: stalls{50: 61 * ms}, silence: "51ms", late: true},
		"5 ms, every ms":                   {interval: ms, stalls: stalls{50: 5 * ms}, silence: "4ms"},
		"20 ms, every ms":                  {interval: ms, stalls: stalls{50: 20 * ms}, silence: "19ms"},
		"60 ms, every ms":                  {interval: ms, stalls: stalls{50: 60 * ms}, silence: "59ms", late: true},
		"several":                          {interval: 10 * ms, stalls: stalls{50: 30 * ms, 70: 50 * ms, 90: 40 * ms}, silence: "40ms"},
		"behind a lost packet":             {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: []int{50}, interruption: 10 * ms, silence: "90ms", late: true},
		"before a lost packet":             {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: []int{51}, interruption: 10 * ms, silence: "90ms", late: true},
		"between two lost packets":         {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: []int{50, 51}, interruption: 110 * ms, events: 1, silence: "90ms", late: true},
		"within a long interruption":       {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: span(40, 60), interruption: 290 * ms, events: 1, silence: "90ms"},
		"as long as an interruption":       {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: span(100, 109), interruption: 90 * ms, silence: "90ms"},
		"longer than an interruption":      {interval: 10 * ms, stalls: stalls{50: 100 * ms}, lost: span(100, 108), interruption: 80 * ms, silence: "90ms", late: true},
		"in the middle of an interruption": {interval: 10 * ms, stalls: stalls{50: 80 * ms}, lost: span(48, 54), interruption: 130 * ms, events: 1, silence: "70ms", late: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(lose(constant(10*ms), c.lost...), constant(10*ms))
				p.refuse = c.stalls.refuse
				config := defaults()
				config.Interval, config.Count = c.interval, 10000
				r := p.measure(t.Context(), t, config, &Reflector{})[0]
				value(t, r, "interruption_max_seconds", c.interruption.Seconds())
				if len(r.Events) != c.events {
					t.Errorf("events %v, want %d", r.Events, c.events)
				}
				if r.Info["nothing_sent_for"] != c.silence {
					t.Errorf("nothing sent for %q, want %q", r.Info["nothing_sent_for"], c.silence)
				}
				if got := r.Quality.Has(probes.ScheduleLate); got != c.late {
					t.Errorf("late on schedule: %t, want %t", got, c.late)
				}
			})
		})
	}
}

// TestStallsInPatterns goes by time and not by the number of packets: the lobby of gaming has one each 40 ms and makes an event
// of 120 ms, a frame of remote-driving has up to 17 at once.
func TestStallsInPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		stalls  stalls
		silence string
		late    bool
	}{
		{"gaming", stalls{10: 90 * ms}, "50ms", false},
		{"gaming", stalls{10: 230 * ms}, "200ms", true},
		{"remote-driving", stalls{400: 45 * ms}, "45ms", false},
		{"remote-driving", stalls{400: 75 * ms}, "80ms", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPath(constant(10*ms), constant(10*ms))
			p.refuse = c.stalls.refuse
			r := p.measure(t.Context(), t, withPattern(c.pattern), &Reflector{})[0]
			if got := r.Quality.Has(probes.ScheduleLate); got != c.late || r.Info["nothing_sent_for"] != c.silence {
				t.Errorf("%s %v, %v skipped: late on schedule %t, nothing sent for %q, want %t and %q",
					c.pattern, c.stalls, r.Values["packets_skipped"], got, r.Info["nothing_sent_for"], c.late, c.silence)
			}
		})
	}
}

// TestAStallAcrossASeam is told in both windows: in the first up to its end, in the second as a whole, like an interruption.
func TestAStallAcrossASeam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(lose(constant(10*ms), 995), constant(10*ms))
		p.refuse = stalls{995: 90 * ms}.refuse // from 9952 ms; the seam is at 10002 ms
		c := defaults()
		c.Window = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
		defer cancel()
		list := p.measure(ctx, t, c, &Reflector{})
		for i, want := range []struct {
			silence      string
			interruption float64
			late         bool
		}{{"40ms", 0.01, false}, {"80ms", 0.01, true}, {"", 0, false}} {
			r := list[i]
			value(t, r, "interruption_max_seconds", want.interruption)
			if got := r.Quality.Has(probes.ScheduleLate); got != want.late || r.Info["nothing_sent_for"] != want.silence {
				t.Errorf("window %d: late on schedule %t, nothing sent for %q, want %+v", i, got, r.Info["nothing_sent_for"], want)
			}
		}
	})
}

// TestWhatIsNoStall: a pause of the schedule, and warm-up, which counts in no figure. A packet that the kernel refuses ends none.
func TestWhatIsNoStall(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*Config)
		stalls  stalls
		refused int
		silence string
	}{
		"a pause behind the slot":     {change: func(c *Config) { c.Burst, c.Idle = 10, "2s" }, stalls: stalls{18: 17 * ms}, silence: "10ms"},
		"a pause before the slot":     {change: func(c *Config) { c.Burst, c.Idle = 10, "2s" }, stalls: stalls{19: 2*time.Second + 18*ms}, silence: "10ms"},
		"warm-up":                     {change: func(c *Config) { c.Warmup = 10 }, stalls: stalls{3: 30 * ms}},
		"warm-up and beyond":          {change: func(c *Config) { c.Warmup = 10 }, stalls: stalls{8: 50 * ms}, silence: "30ms"},
		"the kernel refuses the next": {change: func(*Config) {}, stalls: stalls{50: 30 * ms}, refused: 51, silence: "30ms"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(constant(10*ms), constant(10*ms))
				p.refuse = func(socket, n int) error {
					if n == c.refused && n > 0 {
						return syscall.ENOBUFS
					}
					return c.stalls.refuse(socket, n)
				}
				config := defaults()
				c.change(&config)
				r := p.measure(t.Context(), t, config, &Reflector{})[0]
				if r.Info["nothing_sent_for"] != c.silence {
					t.Errorf("nothing sent for %q, want %q", r.Info["nothing_sent_for"], c.silence)
				}
			})
		})
	}
}

// TestAStallThatRefusalsFollow is not part of the interruption that it came behind, also where no packet left until the session
// ended.
func TestAStallThatRefusalsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(lose(constant(10*ms), 50), constant(10*ms))
		p.refuse = func(socket, n int) error {
			if n > 50 {
				return syscall.ENOBUFS
			}
			return stalls{50: 50 * ms}.refuse(socket, n)
		}
		r := p.measure(t.Context(), t, defaults(), &Reflector{})[0]
		value(t, r, "packets_refused", 45)
		value(t, r, "packets_skipped", 4)
		value(t, r, "interruption_max_seconds", 0.01)
		if want := "480ms"; r.Info["nothing_sent_for"] != want {
			t.Errorf("nothing sent for %q, want %q", r.Info["nothing_sent_for"], want)
		}
	})
}
