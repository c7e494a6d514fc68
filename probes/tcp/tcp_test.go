package tcp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

func TestContract(t *testing.T) {
	probetest.Suite{Kind: Kind(), FarEnd: FarEnd(slog.New(slog.DiscardHandler)), Closed: probes.Refused}.Run(t)
}

// measure runs the probe in a bubble across a link of 10 ms each way, against what serve does with each connection.
func measure(t *testing.T, change func(*Config), link netsim.Profile, serve func(context.Context, net.Conn)) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, link, link)
	b.Serve(func(ctx context.Context, network probes.Network) error {
		l, err := network.Listen(ctx, "tcp", ":8620")
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		probetest.Accept(l, func(c net.Conn) { serve(ctx, c) })
		return nil
	})
	config := defaults()
	if change != nil {
		change(&config)
	}
	return b.Measure(t.Context(), Kind(), &config, probetest.FarName)
}

func echoAfterPreamble(ctx context.Context, c net.Conn) {
	preamble := make([]byte, farend.PreambleSize)
	if _, err := io.ReadFull(c, preamble); err == nil && string(preamble) == farend.PreambleEcho {
		_ = echo(ctx, c)
	}
}

func tenMilliseconds() netsim.State { return netsim.State{Delay: 10 * time.Millisecond} }

func TestTenMillisecondsEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := measure(t, nil, tenMilliseconds(), echoAfterPreamble)
		if r.Outcome != probes.OK || r.Error != "" {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{
			"connect_seconds": 0.02, "rtt_min_seconds": 0.02, "rtt_max_seconds": 0.02, "resolve_seconds": 0,
			"packets_sent": 10, "packets_received": 10, "packets_lost": 0, "loss_ratio": 0, "schedule_error_max_seconds": 0,
		})
		if want := 9*200*time.Millisecond + 2*20*time.Millisecond; r.Elapsed != want {
			t.Errorf("took %v, want %v", r.Elapsed, want)
		}
		if !r.Quality.Has(probes.UserStamps) {
			t.Error("not flagged as stamped by the program")
		}
	})
}

func TestEchoesAreAskedForOnScheduleWhateverIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 150 * time.Millisecond}
		r := measure(t, func(c *Config) { c.Interval = 100 * time.Millisecond }, link, echoAfterPreamble)
		probetest.Expect(t, r, map[string]float64{"rtt_max_seconds": 0.3, "packets_received": 10})
		if want := 300*time.Millisecond + 900*time.Millisecond + 300*time.Millisecond; r.Elapsed != want {
			t.Errorf("took %v, want %v", r.Elapsed, want)
		}
	})
}

func TestConnectTimeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := measure(t, func(c *Config) { c.Echo, c.Count = false, 3 }, tenMilliseconds(), func(context.Context, net.Conn) {})
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{"connect_min_seconds": 0.02, "connect_max_seconds": 0.02, "packets_sent": 3, "packets_received": 3, "packets_lost": 0})
		if r.Hists["connect"].Count() != 3 || r.Hists["rtt"] != nil {
			t.Errorf("histograms: %v", r.Hists)
		}
	})
}

func TestFailures(t *testing.T) {
	outage := netsim.WithOutages(tenMilliseconds(), netsim.Interval{Start: 0, End: time.Hour})
	for name, test := range map[string]struct {
		link    netsim.Profile
		change  func(*Config)
		serve   func(context.Context, net.Conn)
		outcome probes.Outcome
		text    string
		values  map[string]float64
	}{
		"no answer": {
			link: outage, outcome: probes.Timeout, text: "connecting to 192.0.2.1:8620: no answer within 7s",
		},
		"no answer to any of several": {
			link: outage, change: func(c *Config) { c.Echo, c.Count = false, 2 }, outcome: probes.Timeout, text: "no answer within 7s",
			values: map[string]float64{"packets_sent": 2, "packets_lost": 2, "loss_ratio": 1},
		},
		"closes at once": {
			link: tenMilliseconds(), serve: func(context.Context, net.Conn) {}, outcome: probes.Refused, text: "far.example:8620 closed the connection after 0 echoes",
		},
		"silent": {
			link: tenMilliseconds(), outcome: probes.Timeout, text: "sent no echo within 3s",
			serve:  func(_ context.Context, c net.Conn) { _, _ = io.Copy(io.Discard, c) },
			values: map[string]float64{"packets_sent": 10, "packets_lost": 10, "loss_ratio": 1, "connect_seconds": 0.02},
		},
		"speaks of something else": {
			link: tenMilliseconds(), outcome: probes.Invalid, text: "sent back something else than it was sent",
			serve: func(_ context.Context, c net.Conn) {
				_, _ = io.WriteString(c, strings.Repeat("220 mail.example ESMTP\r\n", 10))
				_, _ = io.Copy(io.Discard, c)
			},
		},
		"stops half way": {
			link: tenMilliseconds(), outcome: probes.OK,
			serve: func(_ context.Context, c net.Conn) {
				_, _ = io.CopyN(io.Discard, c, farend.PreambleSize)
				_, _ = io.CopyN(c, c, 5*64)
				_, _ = io.Copy(io.Discard, c)
			},
			values: map[string]float64{"packets_sent": 10, "packets_received": 5, "packets_lost": 5, "loss_ratio": 0.5, "rtt_max_seconds": 0.02},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := measure(t, test.change, test.link, test.serve)
				if r.Outcome != test.outcome || !strings.Contains(r.Error, test.text) || (r.Error == "") != (test.text == "") {
					t.Errorf("%s: %q, want %s: %q", r.Outcome, r.Error, test.outcome, test.text)
				}
				probetest.Expect(t, r, test.values)
			})
		})
	}
}

func TestFarEndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- FarEnd(slog.New(slog.DiscardHandler)).Streams[farend.PreambleEcho](ctx, far) }()
		go func() { _, _ = io.WriteString(near, "hello") }()
		b := make([]byte, 5)
		if _, err := io.ReadFull(near, b); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFarEndHasLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		start := time.Now()
		if err := echo(t.Context(), far); err != nil || time.Since(start) != maxIdle {
			t.Errorf("a silent client is kept for %v: %v", time.Since(start), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		go func() { _, _ = io.WriteString(near, "never read back") }()
		start := time.Now()
		if err := echo(t.Context(), far); err != nil || time.Since(start) != maxWrite {
			t.Errorf("a client that reads nothing is kept for %v: %v", time.Since(start), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		go func() {
			for b := make([]byte, 64<<10); ; {
				if _, err := near.Write(b); err != nil {
					return
				}
			}
		}()
		err := echo(t.Context(), far)
		_ = far.Close()
		if err == nil || !strings.Contains(err.Error(), "has had all the echoes that one may have") {
			t.Errorf("a greedy client: %v", err)
		}
	})
}

func TestEndingsThatAreNoErrors(t *testing.T) {
	if err := ended(t.Context(), &net.OpError{Op: "read", Err: syscall.ECONNRESET}); err != nil {
		t.Error(err)
	}
	if err := ended(t.Context(), syscall.EIO); err == nil {
		t.Error("an input error was left out")
	}
}
