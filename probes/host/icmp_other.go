//go:build !linux

package host

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/icmp"

	"github.com/nrprobe/nrprobe/probes"
)

// oobSize is nothing: time and TTL are not asked for here.
const oobSize = 0

// dialDatagram opens a datagram socket of ICMP, as macOS offers it to everybody.
func (b binding) dialDatagram(to netip.Addr) (probes.ICMPConn, error) {
	if b.device != "" {
		return nil, bindToDevice(nil, b.device)
	}
	netw, local := "udp6", netip.IPv6Unspecified()
	if to.Is4() {
		netw, local = "udp4", netip.IPv4Unspecified()
	}
	if source := b.pick(to.Is4()); source.IsValid() {
		local = source
	}
	c, err := icmp.ListenPacket(netw, local.String())
	if err != nil {
		return nil, fmt.Errorf("opening a datagram socket: %w", err)
	}
	return packetICMP{c: c, to: &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}}, nil
}

// packetICMP is a datagram socket that is not connected.
type packetICMP struct {
	c  *icmp.PacketConn
	to net.Addr
}

// Write implements probes.ICMPConn.
func (p packetICMP) Write(message []byte) (int, error) { return p.c.WriteTo(message, p.to) }

// Read implements probes.ICMPConn.
func (p packetICMP) Read(b []byte) (probes.ICMPArrival, error) {
	n, _, err := p.c.ReadFrom(b)
	return probes.ICMPArrival{Size: n, Time: time.Now()}, err
}

// SetReadDeadline implements probes.ICMPConn.
func (p packetICMP) SetReadDeadline(t time.Time) error { return p.c.SetReadDeadline(t) }

// Close implements probes.ICMPConn.
func (p packetICMP) Close() error { return p.c.Close() }

func tellHeader(syscall.Conn) {}

func arrival([]byte) probes.ICMPArrival { return probes.ICMPArrival{Time: time.Now()} }
