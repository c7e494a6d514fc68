package client

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

func TestResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(1)
		defer n.Close()
		edge := n.Host("edge", "192.0.2.2")
		n.Name("far.example", "192.0.2.1", "2001:db8::1")
		for _, c := range []struct {
			target  probes.Target
			address string
			timed   bool
		}{
			{probes.Target{Host: "far.example", Port: 53}, "192.0.2.1:53", true},
			{probes.Target{Host: "far.example"}, "192.0.2.1", true},
			{probes.Target{Host: "2001:db8::1", Port: 53}, "[2001:db8::1]:53", false},
		} {
			r := probes.NewRecorder()
			_, err := Resolve(t.Context(), edge, r, c.target)
			result := r.Snapshot()
			if _, timed := result.Values["resolve_seconds"]; err != nil || timed != c.timed || result.Info["address"] != c.address {
				t.Errorf("%+v: %v, %v, %v", c.target, err, result.Values, result.Info)
			}
		}
		_, err := Resolve(t.Context(), edge, probes.NewRecorder(), probes.Target{Host: "nobody.example"})
		if probes.Classify(err) != probes.Unreachable || err.Error() != "resolving nobody.example: lookup nobody.example: no such host" {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(probes.Fail(probes.Timeout, "no answer within 5s"))
		if _, err := Resolve(ctx, edge, probes.NewRecorder(), probes.Target{Host: "far.example"}); err == nil || err.Error() != "no answer within 5s" {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestWaitUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for _, wait := range []time.Duration{-time.Second, 0, time.Second} {
			if err := WaitUntil(t.Context(), start.Add(wait)); err != nil || time.Since(start) != max(0, wait) {
				t.Errorf("%v: %v after %v", wait, err, time.Since(start))
			}
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, probes.Fail(probes.Canceled, "enough"))
		defer cancel()
		for range 2 { // while it waits, and when there is nothing to wait for
			if err := WaitUntil(ctx, start.Add(3*time.Second)); err == nil || err.Error() != "enough" || time.Since(start) != 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}

// silentPort is a port on which nobody listens: unlike one that was free a moment ago, the kernel gives it to nobody.
func silentPort() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:1") }

func TestKnock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(1)
		defer n.Close()
		edge, far := n.Host("edge", "192.0.2.2"), n.Host("far", "192.0.2.1")
		n.Connect(edge, far, netsim.State{}, netsim.State{})
		start := time.Now()
		if err := Knock(t.Context(), edge, netip.MustParseAddrPort("192.0.2.1:9")); err != nil || time.Since(start) != time.Second {
			t.Errorf("a silent host: %v after %v", err, time.Since(start))
		}
		if err := Knock(t.Context(), edge, netip.MustParseAddrPort("203.0.113.1:9")); probes.Classify(err) != probes.Unreachable {
			t.Errorf("no route: %v", err)
		}
		if open := edge.Sockets(); open != 0 {
			t.Errorf("%d sockets were left open", open)
		}
	})
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Knock(t.Context(), network, silentPort()); probes.Classify(err) != probes.Refused {
		t.Errorf("a closed port: %v", err)
	}
}

// TestListening: a port on which nobody listens ends a handshake, and a silent one does not.
func TestListening(t *testing.T) {
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	to := silentPort()
	handshake, stop := Listening(t.Context(), network, to)
	<-handshake.Done() // for ever, and failed by its time limit, if the kernel is not heard
	stop()
	if err := context.Cause(handshake); probes.Classify(err) != probes.Refused || err.Error() != to.String()+" turned packets away: nobody listens on UDP port "+strconv.Itoa(int(to.Port()))+" there" {
		t.Errorf("got %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(1)
		defer n.Close()
		edge, far := n.Host("edge", "192.0.2.2"), n.Host("far", "192.0.2.1")
		up, _ := n.Connect(edge, far, netsim.State{}, netsim.State{})
		for _, c := range []struct {
			wait time.Duration
			sent int64
		}{{knockAfter / 2, 0}, {knockAfter + knockTime/2, 1}, {knockAfter + 2*knockTime, 2}} {
			handshake, stop := Listening(t.Context(), edge, netip.MustParseAddrPort("192.0.2.1:9"))
			time.Sleep(c.wait)
			if handshake.Err() != nil {
				t.Errorf("ended after %v: %v", c.wait, context.Cause(handshake))
			}
			stop()
			if got := int64(up.Stats().Sent); got != c.sent || edge.Sockets() != 0 {
				t.Errorf("after %v: %d packets, want %d; %d sockets left open", c.wait, got, c.sent, edge.Sockets())
			}
		}
	})
}
