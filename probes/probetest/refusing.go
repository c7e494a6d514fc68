package probetest

import (
	"context"
	"net"
	"net/netip"
)

// Resolve implements probes.Network.
func (r refusing) Resolve(context.Context, string) ([]netip.Addr, error) {
	return nil, r.refuse("Resolve")
}

// Dial implements probes.Network.
func (r refusing) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, r.refuse("Dial")
}

// ListenPacket implements probes.Network.
func (r refusing) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, r.refuse("ListenPacket")
}

// Listen implements probes.Network.
func (r refusing) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, r.refuse("Listen")
}
