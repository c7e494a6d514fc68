package throughput

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// serveLoopback serves both transports on ports of its own until the test ends.
func serveLoopback(t *testing.T) (s *server, tcp, udp uint16) {
	t.Helper()
	s = newServer(DefaultLimits(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		probetest.Accept(l, func(c net.Conn) {
			if _, err := io.ReadFull(c, make([]byte, farend.PreambleSize)); err == nil {
				_ = s.serve(ctx, c)
			}
		})
	})
	serving.Go(func() {
		if err := serveQUICOn(ctx, pc, s.service(), ALPNLoad); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(l.Close(), pc.Close()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s, uint16(l.Addr().(*net.TCPAddr).Port), uint16(pc.LocalAddr().(*net.UDPAddr).Port)
}

// TestLoopback transfers a fixed volume over real sockets: what is published is what was agreed on, to the byte, and the
// kernel's own figures come with it.
func TestLoopback(t *testing.T) {
	_, tcp, udp := serveLoopback(t)
	for _, transport := range []string{"tcp", "quic"} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(transport+" "+direction, func(t *testing.T) {
				c := defaults()
				c.Transport, c.Direction, c.Streams, c.Volume = transport, direction, 4, 20_000_003
				c.Duration = time.Minute
				target := probes.Target{Host: "localhost", Port: tcp}
				if transport == "quic" {
					target.Port = udp
				}
				probe, err := build(c, probetest.Env(t, probetest.Loopback{}), target)
				if err != nil {
					t.Fatal(err)
				}
				rec := probes.NewRecorder()
				if err := probe.Measure(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
				r := rec.Snapshot()
				for _, way := range c.ways() {
					if got := r.Values["transferred_"+way.String()+"_bytes"]; got != 20_000_003 {
						t.Errorf("transferred_%s %v bytes, want 20000003", way, got)
					}
					if got := r.Values["goodput_"+way.String()+"_bytes_per_second"]; got <= 0 {
						t.Errorf("goodput_%s %v", way, got)
					}
				}
				if runtime.GOOS == "linux" && (r.Info["congestion_control"] == "" || r.Values["transport_rtt_seconds"] <= 0) {
					t.Errorf("the transport's own view is missing: %v, %v", r.Info, r.Values)
				}
			})
		}
	}
}

func TestUnknownCongestionControlIsRefused(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("congestion control is chosen on Linux only")
	}
	_, tcp, _ := serveLoopback(t)
	for _, direction := range []string{"down", "up"} {
		c := defaults()
		c.Direction, c.CongestionControl = direction, "nosuch"
		probe, err := build(c, probetest.Env(t, probetest.Loopback{}), probes.Target{Host: "localhost", Port: tcp})
		if err != nil {
			t.Fatal(err)
		}
		if err := probe.Measure(t.Context(), probes.NewRecorder()); probes.Classify(err) != probes.Invalid {
			t.Errorf("%s: %v, want the outcome invalid", direction, err)
		}
	}
}
