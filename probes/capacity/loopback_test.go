package capacity

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// loopback is the loopback interface of one family, with a free port for whoever listens.
type loopback struct {
	probetest.Loopback
	address netip.Addr
}

func (l loopback) Resolve(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{l.address}, nil
}

func (l loopback) Listen(ctx context.Context, network, _ string) (net.Listener, error) {
	return l.Loopback.Listen(ctx, network, netip.AddrPortFrom(l.address, 0).String())
}

// listening hands out the port of the one listener that is opened on it.
type listening struct {
	loopback
	port chan uint16
}

func (l listening) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	n, err := l.loopback.Listen(ctx, network, address)
	if err == nil {
		l.port <- uint16(n.Addr().(*net.TCPAddr).Port)
	}
	return n, err
}

// TestLoopback sends a bounded volume over real sockets: what is published adds up to the byte, whatever the kernel
// offloads.
func TestLoopback(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		for _, mode := range []string{"search", "train"} {
			for _, direction := range []string{"down", "up"} {
				t.Run(mode+" "+direction+" "+address, func(t *testing.T) { testLoopback(t, address, mode, direction) })
			}
		}
	}
}

func testLoopback(t *testing.T, address, mode, direction string) {
	network := loopback{address: netip.MustParseAddr(address)}
	if l, err := network.Listen(t.Context(), "tcp", ""); err != nil {
		t.Skipf("this host has no %s: %v", address, err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	far := listening{network, make(chan uint16, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := serve(ctx, far, DefaultLimits(), new(atomic.Int32)); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer cancel()
	c := defaults()
	c.Mode, c.Direction, c.Duration, c.MaxBytes, c.InitialRate, c.Trains = mode, direction, time.Minute, 1_999_998, 100*megabit, 4
	probe, err := build(c, probetest.Env(t, network), probes.Target{Host: "far", Port: <-far.port})
	if err != nil {
		t.Fatal(err)
	}
	rec := probes.NewRecorder()
	if err := probe.Measure(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	r := rec.Snapshot()
	sent, received := r.Values["packets_sent"], r.Values["packets_received"]
	if got := r.Values["transferred_"+direction+"_bytes"]; got != received*maxSize {
		t.Errorf("transferred %v bytes in %v datagrams of %d", got, received, maxSize)
	}
	if lost := r.Values["packets_lost"]; lost != sent-received {
		t.Errorf("%v datagrams lost of %v sent and %v received", lost, sent, received)
	}
	wire := maxSize + 28.
	if network.address.Is6() {
		wire = maxSize + 48
	}
	if mode == "search" && sent != float64(int(1_999_998/wire)) || sent*wire > 1_999_998 {
		t.Errorf("%v datagrams sent with %v bytes each, want as many as fit in max_bytes", sent, wire)
	}
	if r.Values["ip_capacity_"+direction+"_bytes_per_second"] <= 0 {
		t.Errorf("no capacity: %v", r.Values)
	}
	if runtime.GOOS == "linux" && r.Quality.Has(probes.UserStamps) {
		t.Error("trains are judged without the kernel's time stamps")
	}
	if runtime.GOOS == "linux" && (r.Info["gso"] != "true" || r.Info["gro"] != strconv.FormatBool(mode == "search")) {
		t.Errorf("offload: %v", r.Info)
	}
}
