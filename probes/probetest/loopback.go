package probetest

import (
	"context"
	"net"
	"net/netip"
)

// Loopback is the host's own network as far as its loopback interface, for tests of what only the kernel's sockets do,
// outside bubbles. Every name is 127.0.0.1.
type Loopback struct{}

// Resolve implements probes.Network.
func (Loopback) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

// Dial implements probes.Network.
func (Loopback) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// ListenPacket implements probes.Network.
func (Loopback) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
}

// Listen implements probes.Network.
func (Loopback) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, network, address)
}
