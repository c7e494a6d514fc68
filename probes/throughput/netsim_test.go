package throughput

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// world is a bench with a far end of TCP and QUIC on its far host.
type world struct {
	*probetest.Bench
	t        *testing.T
	server   *server
	handlers atomic.Int32 // connections being served
}

// newWorld starts a far end within limits, with the ALPN protocols named, or else all.
func newWorld(t *testing.T, link netsim.Profile, limits Limits, protocols ...string) *world {
	t.Helper()
	w := &world{Bench: probetest.NewBench(t, link, link), t: t, server: newServer(limits, slog.New(slog.DiscardHandler))}
	if protocols == nil {
		protocols = []string{ALPNLoad, farend.ALPNPerf}
	}
	w.Serve(w.serveTCP)
	w.Serve(func(ctx context.Context, far probes.Network) error {
		return serveQUIC(ctx, far, w.server.service(), protocols...)
	})
	return w
}

func (w *world) serveTCP(ctx context.Context, far probes.Network) error {
	l, err := far.Listen(ctx, "tcp", ":8620")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	handle := w.server.service().Streams[farend.PreambleGoodput]
	probetest.Accept(l, func(c net.Conn) {
		w.handlers.Add(1)
		defer w.handlers.Add(-1)
		if _, err := io.ReadFull(c, make([]byte, farend.PreambleSize)); err == nil {
			_ = handle(ctx, c) // its errors are what many of these tests bring about
		}
	})
	return nil
}

// measure runs one probe, which asks for no lease, against the far end.
func (w *world) measure(ctx context.Context, change func(*Config)) *probes.Result {
	w.t.Helper()
	c := defaults()
	change(&c)
	return w.Measure(ctx, probes.Define(Kind(), defaults, build), &c, probetest.FarName)
}

// checkFree holds that the far end has let go of everything.
func (w *world) checkFree() {
	w.t.Helper()
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if n, m := len(w.server.sessions), w.handlers.Load(); n > 0 || m > 0 {
		w.t.Errorf("the far end still holds %d sessions and %d connections", n, m)
	}
}

// mbit10 is a link of 10 Mbit/s: 1,250,000 bytes per second each way, 20 ms of round trip and a queue of 50 ms.
func mbit10() netsim.State {
	return netsim.State{Delay: 10 * time.Millisecond, Rate: 1.25e6, Queue: 62_500}
}

const segment = 1448 // what the emulated link carries at once

// reportSize is the most that a report without the transport's state has in an emulated session.
const reportSize = 75

// TestGoodputIsTheLinksRate: the emulated link's rate is one of payload, and it is full from the first byte on, so that
// between two samples there pass as many bytes as the rate says, give or take the segment that arrives in between; less,
// downwards, the reports: one a second, or one each interval when there is an upload to report.
func TestGoodputIsTheLinksRate(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		for _, streams := range []int{1, 4, 64} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit10(), DefaultLimits())
				r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Streams = direction, streams })
				if r.Outcome != probes.OK {
					t.Fatalf("%s: outcome %s: %s", direction, r.Outcome, r.Error)
				}
				for _, way := range []string{"down", "up"} {
					rate, measured := r.Values["goodput_"+way+"_bytes_per_second"]
					if measured != (direction == way || direction == "both") {
						t.Errorf("%s: goodput_%s measured: %v", direction, way, measured)
					}
					ramp := r.Values["ramp_"+way+"_seconds"]
					if ramp > 0.1 {
						t.Errorf("%s with %d streams: a ramp of %v s on a link that has none", direction, streams, ramp)
					}
					reports := 0.0
					if way == "down" && direction == "down" {
						reports = reportSize
					} else if way == "down" {
						reports = 10 * reportSize
					}
					if off := math.Abs(rate - 1.25e6); measured && off > 2*segment/(10-ramp)+reports {
						t.Errorf("%s with %d streams: goodput_%s %v bytes/s, which is %v off", direction, streams, way, rate, off)
					}
				}
			})
		}
	}
}

// changing is a link whose rate goes through steps, each for as long as the others, over and over.
func changing(each time.Duration, rates ...float64) netsim.Profile {
	return netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
		rate := rates[int(elapsed/each)%len(rates)]
		return netsim.State{Delay: 10 * time.Millisecond, Rate: rate, Queue: int(rate / 20)}
	})
}

// TestGoodputOfAChangingRate: behind the ramp, goodput is the mean of what the link gave, whatever it did meanwhile.
func TestGoodputOfAChangingRate(t *testing.T) {
	for name, link := range map[string]netsim.Profile{
		"doubling":  changing(2*time.Second, 0.5e6, 1e6, 2e6, 4e6, 8e6, 16e6),
		"falling":   changing(3*time.Second, 4e6, 1e6, 0.25e6, 0.25e6),
		"switching": changing(700*time.Millisecond, 2e6, 0.5e6, 3e6),
		"cell edge": changing(time.Second, 2e6, 0.2e6),
	} {
		for _, direction := range []string{"down", "up"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, link, DefaultLimits())
				begun := w.Net.Elapsed()
				r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Streams, c.Capacity = direction, 1, 8e6 })
				if r.Outcome != probes.OK {
					t.Fatalf("%s: outcome %s: %s", name, r.Outcome, r.Error)
				}
				const step = time.Millisecond
				ramp := time.Duration(r.Values["ramp_"+direction+"_seconds"] * float64(time.Second))
				// The session takes 80 ms to begin; what arrives has left the queue one delay before.
				truth, first := 0.0, begun+80*time.Millisecond-10*time.Millisecond
				for at := ramp; at < 10*time.Second; at += step {
					truth += link.At(first+at).Rate * step.Seconds()
				}
				truth /= (10*time.Second - ramp).Seconds()
				got := r.Values["goodput_"+direction+"_bytes_per_second"]
				if math.Abs(got/truth-1) > 0.03 {
					t.Errorf("%s %s: goodput %v bytes/s behind a ramp of %v, the link gave %v", name, direction, got, ramp, truth)
				}
				ratio := r.Values["tcp_transfer_time_"+direction+"_ratio"]
				want := 10 / (r.Values["transferred_"+direction+"_bytes"] * 1500 / 1448 / 8e6)
				if math.Abs(ratio/want-1) > 0.02 {
					t.Errorf("%s %s: transfer time ratio %v, want %v", name, direction, ratio, want)
				}
			})
		}
	}
}
