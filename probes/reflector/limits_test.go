package reflector

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
	"github.com/nrprobe/nrprobe/probes/quic"
	"github.com/nrprobe/nrprobe/probes/trust"
)

func TestLimits(t *testing.T) {
	dial := func(t *testing.T, edge *netsim.Host) net.Conn {
		t.Helper()
		c, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, farend.PreambleEcho)
		return c
	}
	synctest.Test(t, func(t *testing.T) {
		r, edge, stop := inABubble(t, func(c *Config) { c.Limits.ClientConnections = 2 })
		var conns []net.Conn
		for range 3 {
			conns = append(conns, dial(t, edge))
		}
		if _, err := conns[2].Read(make([]byte, 1)); err == nil {
			t.Error("a third connection was served")
		}
		env := probetest.Env(t, edge)
		env.TLS = trust.Policy{Pin: r.Pin()}.TLS
		if result := run(t, quic.Kind(), env, "far.example", nil); result.Outcome != probes.Busy {
			t.Errorf("quic: %s %s", result.Outcome, result.Error)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		time.Sleep(time.Second)
		if result := run(t, quic.Kind(), env, "far.example", nil); result.Outcome != probes.OK {
			t.Errorf("quic, when there is room again: %s %s", result.Outcome, result.Error)
		}
		stop()
		if s := r.Stats(); s.Streams.Busy != 1 || s.Streams.Accepted != 2 || s.QUIC.Busy == 0 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, edge, stop := inABubble(t, func(c *Config) { c.Limits.Duration = time.Minute })
		defer stop()
		begin := time.Now()
		c := dial(t, edge)
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil || !within(begin, time.Minute) {
			t.Errorf("a connection lasted %v: %v", time.Since(begin), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, edge, stop := inABubble(t, func(c *Config) { c.Limits.Bytes = 1000 })
		defer stop()
		c := dial(t, edge)
		defer c.Close()
		go func() { _, _ = c.Write(make([]byte, 10_000)) }()
		if n, err := io.Copy(io.Discard, c); n > 1000 {
			t.Errorf("%d bytes came back, %v", n, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nothing is said at all
		r, edge, stop := inABubble(t, nil)
		begin := time.Now()
		c, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil || !within(begin, preambleWait) {
			t.Errorf("a silent client was kept for %v: %v", time.Since(begin), err)
		}
		stop()
		if s := r.Stats(); s.Streams.Garbage != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// within says that what the far end ended after the limit is known here now: at most a round trip of 20 ms to begin it,
// and one to hear of its end.
func within(begin time.Time, limit time.Duration) bool {
	took := time.Since(begin)
	return took >= limit && took <= limit+40*time.Millisecond
}
