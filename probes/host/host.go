// Package host is the network of the machine itself: sockets bound to one interface and one IP family, and names
// resolved through the servers that the user chose.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/nrprobe/nrprobe/probes"
)

// Config says where sockets are bound. The zero value leaves it all to the kernel.
type Config struct {
	// Interface is the network interface that everything leaves and enters by ("wwan0"); "" for whatever the routes say.
	Interface string
	// Log is warned, once, when SourceFallback comes into force. nil tells nobody.
	Log *slog.Logger
	// SourceFallback binds to the interface's own address where the kernel refuses to bind to the interface. Routing rules
	// (mwan3, for one) may send such packets out by another interface, so it is only done when asked for.
	SourceFallback bool
	// Family is "4" or "6" to use that IP family alone; "any" or "" for both.
	Family string
	// DNS lists name servers ("192.0.2.53", "[2001:db8::53]:5353") that are asked through the interface. Without any, the
	// system resolves names its own way, which may be by another interface.
	DNS []string
}

// socketBuffer is asked for on every UDP socket, in bytes each way: what quic-go asks for itself, and enough for 70 ms
// at 100 MB/s. The kernel grants as much as net.core.rmem_max and wmem_max allow.
const socketBuffer = 7 << 20

// New returns the host's network. It opens nothing and does not look for the interface, which may come and go; the error
// names a setting that can never be used.
func New(c Config) (probes.Network, error) {
	n, err := newNetwork(c)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func newNetwork(c Config) (*network, error) {
	switch c.Family {
	case "", "any", "4", "6":
	default:
		return nil, fmt.Errorf("IP family %q is not one of any, 4, 6", c.Family)
	}
	n := &network{config: c}
	servers, err := parseServers(c.DNS)
	if err != nil {
		return nil, err
	}
	n.resolver = n.makeResolver(servers)
	return n, nil
}

type network struct {
	config   Config
	source   []netip.Addr // what sockets are bound to beside the interface; nil for none
	resolver *net.Resolver
	warned   sync.Once
}

// Resolve implements probes.Network. Addresses come in the order of RFC 6724, those of the other family left out.
func (n *network) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if !n.allows(addr) {
			return nil, probes.Fail(probes.Unreachable, "address %s is not IPv%s, which alone is to be used", host, n.config.Family)
		}
		return []netip.Addr{addr.Unmap()}, nil
	}
	found, err := n.resolver.LookupNetIP(ctx, "ip"+n.family(), host)
	if err != nil {
		return nil, n.explainLookup(err)
	}
	addrs := found[:0]
	for _, addr := range found {
		if addr = addr.Unmap(); n.allows(addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, probes.Fail(probes.Unreachable, "name %s has no IPv%s address", host, n.config.Family)
	}
	return addrs, nil
}

// Dial implements probes.Network.
func (n *network) Dial(ctx context.Context, netw, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialing %q: want an address with a port, like 192.0.2.1:8620: names are resolved apart", address)
	}
	if !n.allows(to.Addr()) {
		return nil, probes.Fail(probes.Unreachable, "dialing %s: it is not IPv%s, which alone is to be used", address, n.config.Family)
	}
	return n.dial(ctx, netw, to)
}

// dial connects to an address of any family.
func (n *network) dial(ctx context.Context, netw string, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{}
	d.SetMultipathTCP(false) // a probe measures the one path it was bound to
	return attempt(n, func(b binding) (net.Conn, error) {
		d.ControlContext = b.control
		d.LocalAddr = b.local(netw, to.Addr())
		c, err := d.DialContext(ctx, netw, to.String())
		if u, ok := c.(*net.UDPConn); ok {
			enlarge(u)
		}
		return c, err
	})
}

// ListenPacket implements probes.Network. What it returns is a *net.UDPConn.
func (n *network) ListenPacket(ctx context.Context, netw, address string) (net.PacketConn, error) {
	return attempt(n, func(b binding) (net.PacketConn, error) {
		lc := net.ListenConfig{Control: b.listenControl}
		pc, err := lc.ListenPacket(ctx, n.restrict(netw), b.listenAddress(address))
		if u, ok := pc.(*net.UDPConn); ok {
			enlarge(u)
		}
		return pc, err
	})
}

// Listen implements probes.Network.
func (n *network) Listen(ctx context.Context, netw, address string) (net.Listener, error) {
	return attempt(n, func(b binding) (net.Listener, error) {
		lc := net.ListenConfig{Control: b.listenControl}
		lc.SetMultipathTCP(false) // TCP_INFO of an MPTCP socket says little of its subflows
		return lc.Listen(ctx, n.restrict(netw), b.listenAddress(address))
	})
}

// enlarge asks for large buffers and takes what it gets: the kernel caps the size without an error.
func enlarge(c *net.UDPConn) {
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
}

// family is what to add to "ip", "udp" or "tcp" to insist on the family; "" for both.
func (n *network) family() string { return strings.TrimPrefix(n.config.Family, "any") }

func (n *network) restrict(netw string) string {
	if netw == "udp" || netw == "tcp" {
		return netw + n.family()
	}
	return netw
}

func (n *network) allows(addr netip.Addr) bool {
	addr = addr.Unmap()
	switch n.config.Family {
	case "4":
		return addr.Is4()
	case "6":
		return addr.Is6()
	default:
		return true
	}
}

// binding is how one socket is bound: to an interface, to addresses of it, or not at all.
type binding struct {
	device string
	source []netip.Addr
}

// attempt opens a socket bound to the interface, and by its address where that is refused and the user wants it so.
func attempt[S any](n *network, open func(binding) (S, error)) (S, error) {
	s, err := open(binding{device: n.config.Interface, source: n.source})
	if err != nil && n.config.SourceFallback && n.config.Interface != "" && errors.Is(err, errDenied) {
		n.warn(err)
		if n.source != nil {
			return open(binding{source: n.source})
		}
		addrs, addrErr := interfaceAddrs(n.config.Interface)
		if addrErr != nil {
			return s, fmt.Errorf("%w; and its address is not known either: %w", err, addrErr)
		}
		return open(binding{source: addrs})
	}
	return s, err
}

// warn says that sockets are bound to an address alone, which leaves the way out to the routes.
func (n *network) warn(err error) {
	if n.config.Log == nil {
		return
	}
	n.warned.Do(func() {
		n.config.Log.Warn("sockets are bound to the interface's address alone: routes may send packets out by another interface", "interface", n.config.Interface, "error", err)
	})
}

func (b binding) control(_ context.Context, netw, address string, c syscall.RawConn) error {
	return b.listenControl(netw, address, c)
}

// listenControl binds a fresh socket to the interface before it is bound to an address or connected: since Linux 5.7 the
// first binding of a socket needs no privilege, and a second one does.
func (b binding) listenControl(_, _ string, c syscall.RawConn) error {
	if b.device == "" {
		return nil
	}
	return bindToDevice(c, b.device)
}

// local is the address to connect from; nil to leave it to the kernel.
func (b binding) local(netw string, to netip.Addr) net.Addr {
	addr := b.pick(to.Unmap().Is4())
	switch {
	case !addr.IsValid():
		return nil
	case strings.HasPrefix(netw, "udp"):
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	default:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
}

// listenAddress fills in the source address, and any port, where the address leaves them open.
func (b binding) listenAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if address == "" {
		host, port, err = "", "0", nil
	}
	for _, want4 := range []bool{true, false} {
		if source := b.pick(want4); err == nil && host == "" && source.IsValid() {
			host = source.String()
		}
	}
	if err != nil {
		return address // what is wrong with it, net says better
	}
	return net.JoinHostPort(host, port)
}

// pick returns the first source address of the family; the zero Addr when there is none.
func (b binding) pick(want4 bool) netip.Addr {
	for _, addr := range b.source {
		if addr.Is4() == want4 {
			return addr
		}
	}
	return netip.Addr{}
}
