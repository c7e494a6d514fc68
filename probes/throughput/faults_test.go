package throughput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// TestDuration: 20 ms each go to the connection, the session, the streams, the start and the last count; the messages
// themselves take some microseconds of the link, and the last count waits behind at most 50 ms of queue.
func TestDuration(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), DefaultLimits())
			r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Duration = direction, 3*time.Second })
			if beside := r.Elapsed - 3*time.Second; beside < 100*time.Millisecond || beside > 200*time.Millisecond {
				t.Errorf("%s: took %v for a duration of 3s", direction, r.Elapsed)
			}
			if r.Info["ended_by"] != "duration" || r.Quality != 0 {
				t.Errorf("%s: ended by %q with the flags %v", direction, r.Info["ended_by"], r.Quality)
			}
			w.settle()
			w.checkFree()
		})
	}
}

// settle gives what is on its way time to arrive: a queue and a round trip.
func (w *world) settle() {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestVolumeIsExact(t *testing.T) {
	const volume = 2_000_003
	for _, transport := range []string{"tcp", "quic"} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(transport+" "+direction, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, mbit10(), DefaultLimits())
					r := w.measure(t.Context(), func(c *Config) {
						c.Transport, c.Direction, c.Connections, c.Volume = transport, direction, 2, volume
					})
					if r.Outcome != probes.OK || r.Info["ended_by"] != "volume" {
						t.Fatalf("outcome %s (%s), ended by %q", r.Outcome, r.Error, r.Info["ended_by"])
					}
					for _, way := range []string{"down", "up"} {
						if got, ok := r.Values["transferred_"+way+"_bytes"]; ok && got != volume {
							t.Errorf("transferred_%s %v bytes, want %d", way, got, volume)
						}
					}
					w.settle()
					w.checkFree()
				})
			})
		}
	}
}

func TestMaxBytesIsKept(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		for _, direction := range []string{"down", "up", "both"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) {
					c.Transport, c.Direction, c.MaxBytes = transport, direction, 4*unit.Bytes(1e6)
				})
				total := r.Values["transferred_down_bytes"] + r.Values["transferred_up_bytes"]
				if r.Outcome != probes.OK || r.Info["ended_by"] != "max_bytes" || total != 4e6 {
					t.Errorf("%s %s: outcome %s (%s), ended by %q, %v bytes", transport, direction, r.Outcome, r.Error, r.Info["ended_by"], total)
				}
			})
		}
	}
}

// TestDirectionsThatEndApart: each direction has half of the bytes. What happens after one has had them is none of its rate.
func TestDirectionsThatEndApart(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), DefaultLimits())
			fast := mbit10()
			fast.Rate, fast.Queue = 4*fast.Rate, 4*fast.Queue
			w.Net.Connect(w.Edge, w.Far, mbit10(), fast)
			r := w.measure(t.Context(), func(c *Config) {
				c.Transport, c.Direction, c.Streams, c.MaxBytes = transport, "both", 1, 20*unit.Bytes(1e6)
			})
			if r.Outcome != probes.OK || r.Info["ended_by"] != "max_bytes" {
				t.Fatalf("%s: outcome %s (%s), ended by %q", transport, r.Outcome, r.Error, r.Info["ended_by"])
			}
			for way, want := range map[string]float64{"up": 1.25e6, "down": 5e6} {
				got, slowest := r.Values["goodput_"+way+"_bytes_per_second"], r.Values["interval_rate_"+way+"_min_bytes_per_second"]
				if slowest == 0 {
					t.Errorf("%s: an interval of %s in which nothing came", transport, way)
				}
				if transport == "tcp" && (got > want || got < 0.98*want || slowest < 0.8*want) { // QUIC's acknowledgements wait in the slow queue
					t.Errorf("%s: goodput_%s %v bytes/s, %v in the slowest interval, on a link of %v", transport, way, got, slowest, want)
				}
			}
		})
	}
}

func TestSettledEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit10(), DefaultLimits())
		r := w.measure(t.Context(), func(c *Config) { c.Settle = 0.05 })
		if r.Outcome != probes.OK || r.Info["ended_by"] != "settled" || !r.Quality.Has(probes.StoppedEarly) {
			t.Errorf("outcome %s (%s), ended by %q, flags %v", r.Outcome, r.Error, r.Info["ended_by"], r.Quality)
		}
		// Three blocks of a second behind a ramp of one interval at most.
		if r.Elapsed < 3100*time.Millisecond || r.Elapsed > 3300*time.Millisecond {
			t.Errorf("took %v, want 3 s, the ramp and what the session takes", r.Elapsed)
		}
	})
}

// TestFarEndEnds: the reflector shuts down in the middle of a test.
func TestFarEndEnds(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(transport+" "+direction, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, mbit10(), DefaultLimits())
					time.AfterFunc(3*time.Second, w.Kill)
					r := w.measure(t.Context(), func(c *Config) { c.Transport, c.Direction = transport, direction })
					if r.Outcome != probes.Error || !strings.Contains(r.Error, "after the start") || !r.Quality.Has(probes.Partial) {
						t.Errorf("outcome %s (%s), flags %v", r.Outcome, r.Error, r.Quality)
					}
					if r.Elapsed < 3*time.Second || r.Elapsed > 3200*time.Millisecond {
						t.Errorf("ended after %v, want right after 3s", r.Elapsed)
					}
					checkPartial(t, r, transport, 2.8)
				})
			})
		}
	}
}

// checkPartial holds that what was measured in so many seconds has been kept.
func checkPartial(t *testing.T, r *probes.Result, transport string, seconds float64) {
	t.Helper()
	share := 1.0
	if transport == "quic" {
		share = 0.8 // headers, slow start, and New Reno's answer to a queue that overflows
	}
	for _, way := range []string{"down", "up"} {
		bytes, ok := r.Values["transferred_"+way+"_bytes"]
		if ok && (bytes < share*1.25e6*(seconds-0.2) || bytes > 1.25e6*(seconds+0.4)) {
			t.Errorf("transferred_%s %v bytes in %v s at 1.25 MB/s", way, bytes, seconds)
		}
	}
}

// TestBlackhole: after three seconds nothing gets through any more, in either direction. Both ends give up by themselves.
func TestBlackhole(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(transport+" "+direction, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, netsim.WithOutages(mbit10(), netsim.Interval{Start: 3 * time.Second, End: time.Hour}), DefaultLimits())
					r := w.measure(t.Context(), func(c *Config) { c.Transport, c.Direction = transport, direction })
					if r.Outcome != probes.Timeout || !strings.Contains(r.Error, "nothing has arrived for 5s") || !r.Quality.Has(probes.Partial) {
						t.Errorf("outcome %s (%s), flags %v", r.Outcome, r.Error, r.Quality)
					}
					if r.Elapsed < 7900*time.Millisecond || r.Elapsed > 8300*time.Millisecond {
						t.Errorf("gave up after %v, want 5 s after the outage began at 3 s", r.Elapsed)
					}
					checkPartial(t, r, transport, 2.8)
					time.Sleep(3 * time.Second)
					synctest.Wait()
					w.checkFree()
				})
			})
		}
	}
}

// TestShortOutage: two seconds of outage are part of what is measured.
func TestShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, netsim.WithOutages(mbit10(), netsim.Interval{Start: 4 * time.Second, End: 6 * time.Second}), DefaultLimits())
		r := w.measure(t.Context(), func(c *Config) { c.Direction = "up" })
		if r.Outcome != probes.OK {
			t.Fatalf("outcome %s (%s)", r.Outcome, r.Error)
		}
		if worst := r.Values["interval_rate_up_min_bytes_per_second"]; worst != 0 {
			t.Errorf("slowest interval %v bytes/s, want 0: the outage has happened", worst)
		}
	})
}

func TestCanceledKeepsWhatCame(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), DefaultLimits())
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, context.Canceled)
			defer cancel()
			r := w.measure(ctx, func(c *Config) { c.Transport, c.Direction = transport, "both" })
			if r.Outcome != probes.Canceled || !r.Quality.Has(probes.Partial) {
				t.Errorf("outcome %s (%s), flags %v", r.Outcome, r.Error, r.Quality)
			}
			checkPartial(t, r, transport, 2.8)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			w.checkFree()
		})
	}
}

func TestLimitsOfTheFarEnd(t *testing.T) {
	limits := Limits{Sessions: 1, Duration: 5 * time.Second, Bytes: 4e6}
	for _, transport := range []string{"tcp", "quic"} {
		for name, c := range map[string]struct {
			change  func(*Config)
			outcome probes.Outcome
			text    string
		}{
			"too long": {func(*Config) {}, probes.Refused, "a test of 10s is longer than the 5s that are granted"},
			"too much": {func(c *Config) { c.Duration, c.Volume = time.Second, 5e6 }, probes.Refused, "5000000 bytes are more than the 4000000 that are granted"},
			"enough":   {func(c *Config) { c.Duration, c.Volume = 5*time.Second, 4e6 }, probes.OK, ""},
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), limits)
				r := w.measure(t.Context(), func(x *Config) { x.Transport = transport; c.change(x) })
				if r.Outcome != c.outcome || !strings.Contains(r.Error, c.text) {
					t.Errorf("%s, %s: outcome %s (%s)", transport, name, r.Outcome, r.Error)
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), limits)
			w.server.sessions["another"] = nil
			r := w.measure(t.Context(), func(c *Config) { c.Transport, c.Duration = transport, time.Second })
			if r.Outcome != probes.Busy {
				t.Errorf("%s beside another: outcome %s (%s)", transport, r.Outcome, r.Error)
			}
		})
	}
}

// TestStrangers: what connects to the far end and does not behave is gone within the idle limit, without an answer of more
// than a few bytes.
func TestStrangers(t *testing.T) {
	frame := func(m message) string {
		b, err := frames.Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ask := open{Version: 1, Up: 1, Down: 1, Duration: time.Minute, Interval: time.Second}
	for name, text := range map[string]string{
		"silence":             "",
		"garbage":             "\x00\x10aaaaaaaaaaaaaaaa",
		"a large length":      "\xff\xff" + strings.Repeat("a", 1000),
		"half a message":      "\x00\x10{",
		"an answer":           frame(message{Start: &start{}}),
		"an unknown session":  frame(message{Data: &data{Session: "guess", Up: true}}) + strings.Repeat("a", 100_000),
		"no streams follow":   frame(message{Open: &ask}),
		"garbage follows":     frame(message{Open: &ask}) + "garbage",
		"another version":     frame(message{Open: &open{Version: 2, Up: 1, Duration: 1, Interval: time.Second}}),
		"a second session":    frame(message{Open: &ask}) + frame(message{Open: &ask}),
		"stop before a start": frame(message{Open: &ask}) + frame(message{Stop: &struct{}{}}),
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), DefaultLimits())
			c, err := w.Edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begun := time.Now()
			_, _ = io.WriteString(c, farend.PreambleGoodput+text) // the far end may hang up in the middle
			answer, err := io.ReadAll(io.LimitReader(c, 1000))
			if took := time.Since(begun); len(answer) == 1000 || took > idleLimit+time.Second {
				t.Errorf("%s: %d bytes of answer, %v, after %v", name, len(answer), err, took)
			}
			w.settle()
			w.checkFree()
		})
	}
}

// TestRogueUpload sends more than the session may carry.
func TestRogueUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, netsim.State{Delay: 10 * time.Millisecond, Rate: 1e7, Queue: 1e6}, DefaultLimits())
		control, err := w.Edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
		if err != nil {
			t.Fatal(err)
		}
		defer control.Close()
		ask := open{Version: 1, Up: 1, Duration: time.Minute, Interval: 100 * time.Millisecond, Limit: 1000}
		_, err = io.WriteString(control, farend.PreambleGoodput)
		if err = errors.Join(err, writeMessage(control, message{Open: &ask})); err != nil {
			t.Fatal(err)
		}
		m, err := readMessage(control)
		if err != nil || m.Accepted == nil {
			t.Fatal(m, err)
		}
		stream, err := w.Edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		_, err = io.WriteString(stream, farend.PreambleGoodput)
		if err = errors.Join(err, writeMessage(stream, message{Data: &data{Session: m.Accepted.Session, Up: true}})); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		for m.Refused == nil {
			if m, err = readMessage(control); err != nil {
				t.Fatal(err)
			}
		}
		if want := "more than the 1000 bytes came that were agreed on"; m.Refused.Text != want {
			t.Errorf("refused with %q, want %q", m.Refused.Text, want)
		}
		w.settle()
		w.checkFree()
	})
}

func TestBuildRefuses(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"volume: 3MB per direction is more than max_bytes (4MB) allows": func(c *Config) { c.Direction, c.Volume, c.MaxBytes = "both", 3e6, 4e6 },
		"too few to measure":         func(c *Config) { c.Volume = 1000 },
		"warmup: 10s leaves nothing": func(c *Config) { c.Warmup = 10 * time.Second },
		"cannot be chosen over QUIC": func(c *Config) { c.Transport, c.CongestionControl = "quic", "bbr" },
	} {
		c := defaults()
		change(&c)
		if _, err := build(c, probes.Env{}, probes.Target{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}

func TestDefaultPorts(t *testing.T) {
	for text, want := range map[string]string{"host": "8620 8443", "host:99": "99 99", "2001:db8::1": "8620 8443", "[2001:db8::1]:99": "99 99"} {
		target, err := probes.ParseTarget(text, Kind().Port)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(target.Port, " ", quicTarget(target).Port); got != want {
			t.Errorf("%s: ports %s for TCP and QUIC, want %s", text, got, want)
		}
	}
}
