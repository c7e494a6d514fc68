package stamp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// serveLoopback runs the reflector on a port of the host until the test ends.
func serveLoopback(t testing.TB, address string, r *Reflector) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("no UDP on %s here: %v", address, err)
	}
	r.Log = quiet()
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := r.Serve(ctx, pc); err != nil {
			t.Errorf("reflector: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		serving.Wait()
		_ = pc.Close()
	})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func measureLoopback(t testing.TB, host string, port uint16, c Config) *probes.Result {
	t.Helper()
	probe, err := Kind().Build(&c, probetest.Env(t, probetest.Loopback{}), probes.Target{Host: host, Port: port, Text: host})
	if err != nil {
		t.Fatal(err)
	}
	var result *probes.Result
	(&probes.Runner{}).Run(t.Context(), probes.Job{Probe: probe, Timeout: c.Timeout()}, func(r *probes.Result) { result = r })
	return result
}

// TestKernelStampsAtBothEnds lasts longer than a busy machine holds a process up: with one reply alone nothing is followed up.
func TestKernelStampsAtBothEnds(t *testing.T) {
	for _, c := range []struct{ listen, host string }{
		{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {"[::]:0", "127.0.0.1"}, {"[::]:0", "::1"}, {"0.0.0.0:0", "127.0.0.1"},
	} {
		t.Run(c.host+" at "+c.listen, func(t *testing.T) {
			t.Parallel()
			checkKernelStamps(t, c.listen, c.host)
		})
	}
}

func checkKernelStamps(t *testing.T, listen, host string) {
	port := serveLoopback(t, listen, &Reflector{}).Port()
	config := defaults()
	config.Count, config.Interval = 30, 100*ms
	r := measureLoopback(t, host, port, config)
	if r.Outcome != probes.OK {
		t.Fatalf("%s: %s", r.Outcome, r.Error)
	}
	v := r.Values
	if v["packets_received"] != v["packets_sent"] || v["packets_lost"] != 0 || v["packets_refused"] != 0 || v["packets_reordered"] != 0 {
		t.Errorf("%v", v)
	}
	if !strings.HasPrefix(r.Info["stamps"], "T1=kernel,T2=software,T3=software followed up") || !strings.HasSuffix(r.Info["stamps"], ",T4=kernel") {
		t.Errorf("stamps %q", r.Info["stamps"])
	}
	if v["rtt_min_seconds"] <= 0 || v["rtt_min_seconds"] > v["rtt_max_seconds"] {
		t.Errorf("round trips from %v to %v", v["rtt_min_seconds"], v["rtt_max_seconds"])
	}
	if want := netip.MustParseAddr(host).String(); !strings.Contains(r.Info["source_at_far_end"], want) {
		t.Errorf("seen as %q", r.Info["source_at_far_end"])
	}
	t.Logf("%s; rtt p50 %.1f µs, p99 %.1f µs, residence p50 %.1f µs, schedule error p99 %.0f µs", r.Info["stamps"],
		1e6*v["rtt_p50_seconds"], 1e6*v["rtt_p99_seconds"], 1e6*v["residence_p50_seconds"], 1e6*v["schedule_error_p99_seconds"])
}

func TestRefusedPortOnTheHost(t *testing.T) {
	c := defaults()
	c.Count, c.Interval, c.Wait = 3, time.Second, 50*ms
	r := measureLoopback(t, "127.0.0.1", 1, c) // a port that the kernel gives to nobody
	if r.Outcome != probes.Refused || r.Values["packets_sent"] == 0 || r.Values["packets_lost"] != r.Values["packets_sent"] {
		t.Errorf("%s: %s, %v", r.Outcome, r.Error, r.Values)
	}
}

func TestMarkingIsSeenBothWays(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		port := serveLoopback(t, net.JoinHostPort(host, "0"), &Reflector{}).Port()
		c := defaults()
		c.Count, c.Interval, c.DSCP, c.ECN = 3, time.Second, 46, ecnWordECT0
		r := measureLoopback(t, host, port, c)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s: %s", host, r.Outcome, r.Error)
		}
		for _, way := range []string{"marking_sent", "marking_up", "marking_down"} {
			if r.Info[way] != "DSCP 46, ECT(0)" {
				t.Errorf("%s: %s: %q", host, way, r.Info[way])
			}
		}
		if r.Info["ttl_up"] == "" || r.Info["ttl_down"] == "" {
			t.Errorf("%s: TTL up %q, down %q", host, r.Info["ttl_up"], r.Info["ttl_down"])
		}
		if r.Values["packets_congestion_marked_up"] != 0 || r.Values["packets_congestion_marked_down"] != 0 {
			t.Errorf("%s: marks of congestion on the loopback interface: %v", host, r.Values)
		}
	}
}
