package iperf3

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// serve runs a Server on the default port until ctx ends.
func serve(ctx context.Context, network probes.Network) error {
	s, err := Listen(ctx, network, ":5201", DefaultLimits(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func TestSuite(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(transport+" "+direction, func(t *testing.T) {
				probetest.Suite{
					Kind: Kind(), Serve: serve, Closed: probes.Refused,
					Config: func(config any) {
						c := config.(*Config)
						c.Transport, c.Direction, c.Streams, c.Duration = transport, direction, 2, 500*time.Millisecond
					},
				}.Run(t)
			})
		}
	}
}

// world is a bench with an iperf3 server on its far host.
type world struct {
	*probetest.Bench
	t      *testing.T
	server *Server
}

func newWorld(t *testing.T, up, down netsim.Profile, limits Limits) *world {
	t.Helper()
	w := &world{Bench: probetest.NewBench(t, up, down), t: t}
	w.Serve(func(ctx context.Context, far probes.Network) (err error) {
		if w.server, err = Listen(ctx, far, ":5201", limits, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
		err = w.server.Run(ctx)
		if n := w.Far.Sockets(); n > 0 {
			t.Errorf("%d sockets of the server are left open", n)
		}
		return err
	})
	return w
}

// measure runs one probe, which asks for no lease, beside others or not.
func (w *world) measure(ctx context.Context, change func(*Config)) *probes.Result {
	w.t.Helper()
	c := defaults()
	change(&c)
	return w.Run(ctx, probes.Define(Kind(), defaults, build), &c, probetest.FarName)
}

// checkFree holds that the server has let go of everything.
func (w *world) checkFree() {
	w.t.Helper()
	time.Sleep(time.Second) // the last message is on its way
	synctest.Wait()
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if len(w.server.sessions)+len(w.server.opening)+len(w.server.peers) > 0 {
		w.t.Errorf("the server still holds %d sessions, %d turns and %d UDP streams", len(w.server.sessions), len(w.server.opening), len(w.server.peers))
	}
}

func mbit10() netsim.State {
	return netsim.State{Delay: 10 * time.Millisecond, Rate: 1.25e6, Queue: 62_500}
}

// TestTCPGoodputIsTheLinksRate: the emulated link is full from the first byte on. Downwards, what fills the queue of 47 kB
// before the server hears of the end is not counted; upwards, the server counts what comes until it hears of the end, and
// says how long that took.
func TestTCPGoodputIsTheLinksRate(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		for _, streams := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) {
					c.Direction, c.Streams, c.Omit, c.Duration = direction, streams, 2*time.Second, 5*time.Second
				})
				if r.Outcome != probes.OK || r.Info["ended_by"] != "duration" {
					t.Fatalf("%s: outcome %s (%s)", direction, r.Outcome, r.Error)
				}
				for _, way := range []string{"down", "up"} {
					rate, ok := r.Values["goodput_"+way+"_bytes_per_second"]
					if ok != (way == direction || direction == "both") || ok && math.Abs(rate-1.25e6) > 2*1448/5 {
						t.Errorf("%s with %d streams: goodput_%s %v bytes/s (measured: %v), want 1.25 MB/s", direction, streams, way, rate, ok)
					}
				}
				w.checkFree()
			})
		}
	}
}

// TestUDPLossIsTheLinks compares the losses counted with those that the links know they made.
func TestUDPLossIsTheLinks(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.State{Delay: 10 * time.Millisecond, Loss: 0.02}
			w := newWorld(t, link, link, DefaultLimits())
			r := w.measure(t.Context(), func(c *Config) {
				c.Transport, c.Direction, c.Streams, c.Rate = "udp", direction, 2, 1e6/8
			})
			if r.Outcome != probes.OK {
				t.Fatalf("%s: outcome %s (%s)", direction, r.Outcome, r.Error)
			}
			ways := 1.0
			if direction == "both" {
				ways = 2
			}
			// Two streams of 125,000 bytes a second in datagrams of 1,200, for ten seconds. A server goes on while the loss of
			// control segments keeps it from hearing of the end.
			sent, lost := r.Values["packets_sent"], r.Values["packets_lost"]
			if want := ways * 2 * 125_000 * 10 / 1200; sent < want-4*ways || sent > 1.3*want {
				t.Errorf("%s: sent %v datagrams, want %v", direction, sent, want)
			}
			if ratio := r.Values["loss_ratio"]; ratio != lost/sent || math.Abs(ratio-0.02) > 0.01 {
				t.Errorf("%s: lost %v of %v, ratio %v, want about 2 %%", direction, lost, sent, ratio)
			}
			if got := r.Values["packets_received"]; got != sent-lost {
				t.Errorf("%s: received %v of %v with %v lost", direction, got, sent, lost)
			}
			w.checkFree()
		})
	}
}

// TestUDPJitter: a link whose delay alternates by 2 ms from one datagram to the next has the jitter 2 ms, by the formula.
func TestUDPJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steady := netsim.State{Delay: 10 * time.Millisecond}
		alternating := netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
			s := steady
			if elapsed/(10*time.Millisecond)%2 == 0 {
				s.Delay += 2 * time.Millisecond
			}
			return s
		})
		w := newWorld(t, alternating, steady, DefaultLimits())
		r := w.measure(t.Context(), func(c *Config) {
			c.Transport, c.Direction, c.Rate = "udp", "up", 120_000 // a datagram each 10 ms
		})
		if got := r.Values["jitter_up_seconds"]; math.Abs(got-0.002) > 2e-5 {
			t.Errorf("jitter %v s (outcome %s, %s), want 2 ms", got, r.Outcome, r.Error)
		}
	})
}

func TestVolumeEndsTheTest(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
			r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Volume = direction, 2e6 })
			if r.Outcome != probes.OK || r.Info["ended_by"] != "volume" || r.Elapsed > 3*time.Second {
				t.Errorf("%s: outcome %s (%s), ended by %q after %v", direction, r.Outcome, r.Error, r.Info["ended_by"], r.Elapsed)
			}
		})
	}
}

// TestMaxBytesEndsTheTest at the amount, all directions together. A sender stops by its own count; what the other end sent
// until it heard of the end is left over: a look each 10 ms, and the link's round trip and queue.
func TestMaxBytesEndsTheTest(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
				const limit = 1e6
				r := w.measure(t.Context(), func(c *Config) {
					c.Transport, c.Direction, c.Streams, c.Rate, c.MaxBytes = transport, direction, 2, 600e3, limit
				})
				got := r.Values["transferred_down_bytes"] + r.Values["transferred_up_bytes"]
				const underWay = 1.25e6*0.030 + 62_500
				// Both ways, the word to stop may be lost at the full queue, and is sent again a third of a second later.
				over := map[string]float64{"down": underWay, "both": 2*underWay + 1.25e6/3}[direction]
				if direction == "up" && transport == "udp" {
					over = 1200 // the last datagram is whole
				}
				if r.Outcome != probes.OK || r.Info["ended_by"] != "max_bytes" || got < 0.98*limit || got > limit+over {
					t.Errorf("%s %s: outcome %s (%s), ended by %q at %v bytes", transport, direction, r.Outcome, r.Error, r.Info["ended_by"], got)
				}
				w.checkFree()
			})
		}
	}
}

// TestManyAtOnce: several clients of one address, TCP and UDP mixed, each get their own streams.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * time.Millisecond, Rate: 12.5e6, Queue: 1e6}
		w := newWorld(t, link, link, DefaultLimits())
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				r := w.measure(t.Context(), func(c *Config) {
					c.Transport = []string{"udp", "tcp"}[i%2]
					c.Direction, c.Streams, c.Duration = []string{"down", "up", "both"}[i%3], 1+i, 2*time.Second
				})
				if r.Outcome != probes.OK {
					t.Errorf("client %d: outcome %s (%s)", i, r.Outcome, r.Error)
				}
				if i%2 == 0 && r.Values["packets_lost"] != 0 {
					t.Errorf("client %d lost %v datagrams: its streams got mixed up", i, r.Values["packets_lost"])
				}
			})
		}
		clients.Wait()
		w.checkFree()
	})
}

func TestBusyAndRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit10(), mbit10(), Limits{Sessions: 1, Duration: 5 * time.Second})
		var first sync.WaitGroup
		first.Go(func() {
			if r := w.measure(t.Context(), func(c *Config) { c.Duration = 2 * time.Second }); r.Outcome != probes.OK {
				t.Errorf("outcome %s (%s)", r.Outcome, r.Error)
			}
		})
		time.Sleep(time.Second)
		if r := w.measure(t.Context(), func(*Config) {}); r.Outcome != probes.Busy {
			t.Errorf("the second client: outcome %s (%s), want busy", r.Outcome, r.Error)
		}
		first.Wait()
		r := w.measure(t.Context(), func(c *Config) { c.Duration = 6 * time.Second })
		if r.Outcome != probes.Refused || !strings.Contains(r.Error, "iperf3's error 5") {
			t.Errorf("a test that is too long: outcome %s (%s)", r.Outcome, r.Error)
		}
		w.checkFree()
	})
}

func TestServerEnds(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
				time.AfterFunc(3*time.Second, w.Kill)
				r := w.measure(t.Context(), func(c *Config) { c.Transport, c.Direction = transport, direction })
				if r.Outcome != probes.Error || !strings.Contains(r.Error, "after the start") || r.Elapsed > 4*time.Second {
					t.Errorf("%s %s: outcome %s (%s) after %v", transport, direction, r.Outcome, r.Error, r.Elapsed)
				}
				if got := r.Values["transferred_down_bytes"]; direction != "up" && got == 0 {
					t.Errorf("%s %s: what came before is lost", transport, direction)
				}
			})
		}
	}
}

// TestBlackhole: nothing gets through after three seconds. Both ends give up by themselves.
func TestBlackhole(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			synctest.Test(t, func(t *testing.T) {
				link := netsim.WithOutages(mbit10(), netsim.Interval{Start: 3 * time.Second, End: time.Hour})
				w := newWorld(t, link, link, DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) { c.Transport, c.Direction = transport, direction })
				if r.Outcome != probes.Timeout || r.Elapsed > 18*time.Second {
					t.Errorf("%s %s: outcome %s (%s) after %v", transport, direction, r.Outcome, r.Error, r.Elapsed)
				}
				time.Sleep(25*time.Second - r.Elapsed)
				w.checkFree()
			})
		}
	}
}

// TestStrangers: what connects and does not behave is gone soon.
func TestStrangers(t *testing.T) {
	name := newCookie()
	good := string(name[:])
	for what, text := range map[string]string{
		"silence":           "",
		"HTTP":              "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("a", 50),
		"half a cookie":     good[:20],
		"a cookie alone":    good,
		"garbage behind it": good + strings.Repeat("\xff", 100),
		"no object":         good + "\x00\x00\x00\x02no",
		"an empty object":   good + "\x00\x00\x00\x02{}",
		"no streams follow": good + "\x00\x00\x00\x2f" + `{"tcp":true,"time":5,"parallel":2,"len":131072}` + "\x04",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
			c, err := w.Edge.Dial(t.Context(), "tcp", "192.0.2.1:5201")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begun := time.Now()
			_, _ = io.WriteString(c, text) // the server may hang up in the middle
			answer, _ := io.ReadAll(io.LimitReader(c, 1000))
			if took := time.Since(begun); len(answer) > 20 || took > 2*stepLimit {
				t.Errorf("%s: %d bytes of answer after %v", what, len(answer), took)
			}
			w.checkFree()
		})
	}
}

// TestNoAmplification: without a session that waits for them, UDP hellos get no answer.
func TestNoAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit10(), mbit10(), DefaultLimits())
		c, err := w.Edge.Dial(t.Context(), "udp", "192.0.2.1:5201")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, text := range []string{clientHello, oldHello, "", strings.Repeat("a", 1200)} {
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 2000)); err == nil {
			t.Errorf("%d bytes came back", n)
		}
	})
}
