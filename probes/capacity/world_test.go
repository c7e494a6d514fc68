package capacity

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// serve answers capacity tests on the network's plain TCP port until ctx ends and every handler has returned.
func serve(ctx context.Context, network probes.Network, limits Limits, active *atomic.Int32) error {
	service := FarEndWithin(limits, network.ListenPacket, slog.New(slog.DiscardHandler))
	l, err := network.Listen(ctx, "tcp", ":8620")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	probetest.Accept(l, func(c net.Conn) {
		active.Add(1)
		defer active.Add(-1)
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		if _, err := io.ReadFull(c, make([]byte, farend.PreambleSize)); err == nil {
			_ = service.Streams[Preamble](ctx, c) // its errors are what many of these tests bring about
		}
	})
	return nil
}

// world is a bench with a far end on its far host.
type world struct {
	*probetest.Bench
	t      *testing.T
	active atomic.Int32 // connections that the far end serves
}

func newWorld(t *testing.T, link netsim.Profile, limits Limits) *world {
	t.Helper()
	w := &world{Bench: probetest.NewBench(t, link, link), t: t}
	w.Serve(func(ctx context.Context, far probes.Network) error { return serve(ctx, far, limits, &w.active) })
	return w
}

// probe builds a probe against the far end.
func (w *world) probe(change func(*Config)) probes.Probe {
	w.t.Helper()
	c := defaults()
	change(&c)
	p, err := build(c, probetest.Env(w.t, w.Edge), probes.Target{Host: probetest.FarName, Port: farend.StreamPort})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// measure runs one probe, which asks for no lease, against the far end.
func (w *world) measure(ctx context.Context, change func(*Config)) *probes.Result {
	w.t.Helper()
	c := defaults()
	change(&c)
	return w.Measure(ctx, probes.Define(Kind(), defaults, build), &c, probetest.FarName)
}

// checkFree holds that the far end has let go of everything but its listener.
func (w *world) checkFree() {
	w.t.Helper()
	if n, m := w.active.Load(), w.Far.Sockets(); n > 0 || m > 1 {
		w.t.Errorf("the far end still serves %d connections and holds %d sockets", n, m)
	}
}

// mbit is a link of so many Mbit/s of UDP payload each way, with 20 ms of round trip and a queue of 50 ms.
func mbit(rate float64) netsim.State {
	return netsim.State{Delay: 10 * time.Millisecond, Rate: rate * megabit, Queue: int(rate * megabit / 20)}
}

// ipRate converts the rate of an emulated link, which counts UDP payload and nothing else, to the IP layer: each datagram
// of size bytes has 28 bytes of headers more over IPv4.
func ipRate(payload float64, size int) float64 { return payload * float64(size+28) / float64(size) }
