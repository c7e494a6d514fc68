package responsiveness

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestLoopback loads both directions over real sockets until they have carried 20 MB each.
func TestLoopback(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		t.Run("HTTP/"+version, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			l, pc, err := listenBoth(ctx, probetest.Loopback{}, "127.0.0.1:0")
			if err != nil {
				cancel()
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- serveOn(ctx, l, pc, handler(FarEnd(slog.New(slog.DiscardHandler)))) }()
			defer func() {
				cancel()
				<-served // how a server that is told to close closes says nothing
			}()
			c := defaults()
			c.HTTP, c.Interval, c.MaxBytes, c.Duration = version, 100*time.Millisecond, 40e6, time.Minute
			c.Distance = int(c.Duration / c.Interval) // never stable, however long a slow machine takes for the bytes
			c.Connections = 1                         // none is dialled under load
			target := probes.Target{Host: "localhost", Port: uint16(l.Addr().(*net.TCPAddr).Port)}
			p, err := build(c, probetest.Env(t, probetest.Loopback{}), target)
			if err != nil {
				t.Fatal(err)
			}
			rec := probes.NewRecorder()
			if err := p.Measure(t.Context(), rec); err != nil && probes.Classify(err) != probes.Timeout {
				t.Fatal(err)
			}
			r := rec.Snapshot()
			up, down := r.Values["transferred_up_bytes"], r.Values["transferred_down_bytes"]
			if by := r.Info["ended_by"]; by != byMaxBytes || max(up, down) < 20e6 || min(up, down) == 0 {
				t.Errorf("ended by %s after %v bytes up and %v down", by, up, down)
			}
		})
	}
}
