package tcp

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestKernelsOwnRoundTrip: over sockets of the kernel, its view of the connection stands beside the echoes.
func TestKernelsOwnRoundTrip(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { probetest.Accept(l, func(c net.Conn) { echoAfterPreamble(t.Context(), c) }) })
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	for _, echo := range []bool{true, false} {
		config := defaults()
		config.Count, config.Interval, config.Echo = 5, time.Millisecond, echo
		probe, err := Kind().Build(&config, probetest.Env(t, network), probes.Target{Host: "127.0.0.1", Port: port})
		if err != nil {
			t.Fatal(err)
		}
		r := probes.NewRecorder()
		if err := probe.Measure(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		v := r.Snapshot().Values
		rtt, least := v["transport_rtt_seconds"], v["transport_min_rtt_seconds"]
		if rtt <= 0 || rtt > 10 || least > rtt || v["congestion_window_bytes"] <= 0 {
			t.Errorf("echo %v: the kernel says RTT %v s, at least %v s, window %v bytes", echo, rtt, least, v["congestion_window_bytes"])
		}
		if most := v["rtt_max_seconds"]; echo && least > most {
			t.Errorf("the kernel's smallest RTT %v s is above that of every echo, %v s", least, most)
		}
		if _, ok := v["retransmitted_segments"]; !ok {
			t.Error("no count of segments sent again")
		}
	}
	_ = l.Close()
	serving.Wait()
}
