package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"syscall"

	"github.com/nrprobe/nrprobe/probes"
)

var _ probes.ICMPNetwork = (*network)(nil)

// DialICMP implements probes.ICMPNetwork: by a datagram socket, which needs no privilege where the kernel offers it to
// the user's group, and by a raw one where it does not.
func (n *network) DialICMP(ctx context.Context, to netip.Addr) (c probes.ICMPConn, raw bool, err error) {
	to = to.Unmap()
	if !n.allows(to) {
		return nil, false, probes.Fail(probes.Unreachable, "address %s is not IPv%s, which alone is to be used", to, n.config.Family)
	}
	if err := ctx.Err(); err != nil {
		return nil, false, context.Cause(ctx)
	}
	c, err = attempt(n, func(b binding) (probes.ICMPConn, error) { return b.dialDatagram(to) })
	if err == nil || !notOffered(err) {
		return c, false, err
	}
	c, rawErr := attempt(n, func(b binding) (probes.ICMPConn, error) { return b.dialRaw(ctx, to) })
	if rawErr != nil && !errors.Is(rawErr, errDenied) && errors.Is(rawErr, fs.ErrPermission) {
		return nil, false, errNoICMP(err, rawErr)
	}
	return c, true, rawErr
}

// notOffered says whether the kernel has no datagram socket of ICMP, or none for this user.
func notOffered(err error) bool {
	if errors.Is(err, errDenied) {
		return false // it is the interface that is denied
	}
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.ESOCKTNOSUPPORT)
}

func errNoICMP(datagram, raw error) error {
	return probes.Fail(probes.Error, "opening an ICMP socket: %w, and a raw one: %w: offer the first to the user's group with "+
		`sysctl -w net.ipv4.ping_group_range="0 2147483647" (it counts for IPv6 too), or allow the second with the capability CAP_NET_RAW: `+
		"run as root, or grant it with setcap cap_net_raw+ep or AmbientCapabilities=CAP_NET_RAW", datagram, raw)
}

func (b binding) dialRaw(ctx context.Context, to netip.Addr) (probes.ICMPConn, error) {
	d := net.Dialer{ControlContext: b.control}
	netw := "ip6:ipv6-icmp"
	if to.Is4() {
		netw = "ip4:icmp"
	}
	if source := b.pick(to.Is4()); source.IsValid() {
		d.LocalAddr = &net.IPAddr{IP: source.AsSlice()}
	}
	c, err := d.DialContext(ctx, netw, to.String())
	if err != nil {
		return nil, err
	}
	ip, ok := c.(*net.IPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T is no raw socket", c), c.Close())
	}
	tellHeader(ip)
	return rawICMP{IPConn: ip, v4: to.Is4()}, nil
}

// rawICMP is a raw socket: over IPv4 its messages come with their IP header.
type rawICMP struct {
	*net.IPConn
	v4 bool
}

// Read implements probes.ICMPConn.
func (c rawICMP) Read(b []byte) (probes.ICMPArrival, error) {
	oob := make([]byte, oobSize)
	n, oobn, _, _, err := c.ReadMsgIP(b, oob)
	if err != nil {
		return probes.ICMPArrival{}, err
	}
	a := arrival(oob[:oobn])
	a.Size = n
	if !c.v4 {
		return a, nil
	}
	header, ttl := ipv4Header(b[:n])
	a.TTL = ttl
	a.Size = copy(b, b[header:n])
	return a, nil
}

// ipv4Header returns the length of the header that begins a packet, and its TTL (RFC 791 section 3.1); 0 and 0 when
// there is none.
func ipv4Header(packet []byte) (length, ttl int) {
	const shortest = 20
	if len(packet) < shortest || packet[0]>>4 != 4 {
		return 0, 0
	}
	length = int(packet[0]&0x0f) * 4
	if length < shortest || length > len(packet) {
		return 0, 0
	}
	return length, int(packet[8])
}

// datagramICMP is a datagram socket of ICMP, which Go takes for UDP.
type datagramICMP struct{ *net.UDPConn }

// Read implements probes.ICMPConn.
func (c datagramICMP) Read(b []byte) (probes.ICMPArrival, error) {
	oob := make([]byte, oobSize)
	n, oobn, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return probes.ICMPArrival{}, err
	}
	a := arrival(oob[:oobn])
	a.Size = n
	return a, nil
}
