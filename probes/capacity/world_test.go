package capacity

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		active.Add(1)
		handlers.Go(func() {
			defer active.Add(-1)
			defer c.Close()
			closing := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer closing()
			if _, err := io.ReadFull(c, make([]byte, farend.PreambleSize)); err == nil {
				_ = service.Streams[Preamble](ctx, c) // its errors are what many of these tests bring about
			}
		})
	}
}

// world is an edge device and a far end on an emulated link, in a bubble.
type world struct {
	t         *testing.T
	net       *netsim.Network
	edge, far *netsim.Host
	active    atomic.Int32 // connections that the far end serves
	kill      context.CancelFunc
	serving   sync.WaitGroup
}

func newWorld(t *testing.T, link netsim.Profile, limits Limits) *world {
	t.Helper()
	w := &world{t: t, net: netsim.New(1)}
	w.edge = w.net.Host("edge", "10.0.0.1", "fd00::1")
	w.far = w.net.Host(probetest.FarName, probetest.FarAddress4, probetest.FarAddress6)
	w.net.Connect(w.edge, w.far, link, link)
	var ctx context.Context
	ctx, w.kill = context.WithCancel(context.Background())
	w.serving.Go(func() {
		if err := serve(ctx, w.far, limits, &w.active); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		w.kill()
		w.serving.Wait()
		if err := w.net.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return w
}

// probe builds a probe against a name or address of the far end.
func (w *world) probe(host string, change func(*Config)) (probes.Probe, Config) {
	w.t.Helper()
	c := defaults()
	change(&c)
	target, err := probes.ParseTarget(host, farend.StreamPort)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := build(c, probetest.Env(w.t, w.edge), target)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, c
}

// measure runs one probe against the far end.
func (w *world) measure(ctx context.Context, change func(*Config)) *probes.Result {
	w.t.Helper()
	probe, c := w.probe(probetest.FarName, change)
	return w.run(ctx, probe, c.Timeout())
}

func (w *world) run(ctx context.Context, probe probes.Probe, timeout time.Duration) *probes.Result {
	w.t.Helper()
	var result *probes.Result
	(&probes.Runner{}).Run(ctx, probes.Job{Kind: "capacity", Probe: probe, Timeout: timeout}, func(r *probes.Result) { result = r })
	if n := w.edge.Sockets(); n > 0 {
		w.t.Errorf("%d sockets are left open", n)
	}
	return result
}

// checkFree holds that the far end has let go of everything but its listener.
func (w *world) checkFree() {
	w.t.Helper()
	if n, m := w.active.Load(), w.far.Sockets(); n > 0 || m > 1 {
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
