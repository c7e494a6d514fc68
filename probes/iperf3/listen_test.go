package iperf3

import (
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// crowded is a network on which the first ports that a server tries are taken over UDP.
type crowded struct {
	probes.Network
	taken int
}

func (c *crowded) Listen(context.Context, string, string) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0")
}

func (c *crowded) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	if c.taken--; c.taken >= 0 {
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRINUSE}
	}
	return net.ListenPacket(network, "127.0.0.1:0")
}

// TestListenFindsAPortThatIsFreeForBoth, but none other than the one that it was told.
func TestListenFindsAPortThatIsFreeForBoth(t *testing.T) {
	for _, c := range []struct {
		address string
		taken   int
		finds   bool
	}{{"127.0.0.1:0", 3, true}, {"127.0.0.1:0", 100, false}, {"127.0.0.1:5201", 1, false}, {"127.0.0.1", 0, false}} {
		s, err := Listen(t.Context(), &crowded{taken: c.taken}, c.address, DefaultLimits(), slog.New(slog.DiscardHandler))
		if (err == nil) != c.finds {
			t.Errorf("%s with %d ports taken: %v", c.address, c.taken, err)
		}
		if s != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
