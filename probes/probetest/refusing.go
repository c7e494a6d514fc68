package probetest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

// refusing is a network on which nothing may be opened.
type refusing struct{ t *testing.T }

var errOpened = errors.New("nothing may be opened here")

// refuse reports that something was opened.
func (r refusing) refuse(what string) error {
	r.t.Helper()
	r.t.Errorf("%s was called", what)
	return errOpened
}

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
