package netsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Network is a set of hosts in memory and the links between them. Made inside a testing/synctest bubble, it lives in the
// bubble's virtual time: it blocks on channels and timers only, so that time passes when everybody waits.
// There is no routing: two hosts reach each other when they are connected, and every host reaches itself without delay.
// All methods are safe for concurrent use.
type Network struct {
	seed  uint64
	start time.Time
	sched *scheduler
	done  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	hosts  []*Host
	names  map[string][]netip.Addr
	owners map[netip.Addr]*Host
	links  map[[2]*Host]*Link
}

// New makes an empty network whose time begins now. The same seed gives the same losses and jitters again.
// Liveness: one goroutine delivers everything; it ends with Close.
func New(seed uint64) *Network {
	n := &Network{
		seed: seed, start: time.Now(), sched: newScheduler(),
		names: map[string][]netip.Addr{}, owners: map[netip.Addr]*Host{}, links: map[[2]*Host]*Link{},
	}
	n.done.Go(n.sched.run)
	return n
}

// Elapsed is the time since the network began: what profiles are asked with.
func (n *Network) Elapsed() time.Duration { return time.Since(n.start) }

// Close closes every socket of every host and returns when the network's goroutine has ended. What is under way is lost.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	hosts := slices.Clone(n.hosts)
	n.mu.Unlock()
	n.sched.close()
	for _, h := range hosts {
		h.closeAll()
	}
	n.done.Wait()
	return nil
}

// Host adds a host under a name with the addresses it has, in the order in which Resolve prefers them.
// It panics on an address that is no address or is taken: a mistake in the test.
func (n *Network) Host(name string, addresses ...string) *Host {
	h := &Host{
		net: n, name: name, ports: 49152, // the first dynamic port (RFC 6335 section 6)
		packets: map[netip.AddrPort]*packetConn{}, listeners: map[netip.AddrPort]*listener{}, streams: map[*stream]bool{},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range addresses {
		a := netip.MustParseAddr(text)
		if n.owners[a] != nil {
			panic(fmt.Sprintf("netsim: address %v belongs to host %s already", a, n.owners[a].name))
		}
		n.owners[a] = h
		h.addrs = append(h.addrs, a)
	}
	n.hosts = append(n.hosts, h)
	n.names[name] = h.addrs
	return h
}

// Name makes a further name resolve to the addresses given. It panics on what is no address.
func (n *Network) Name(name string, addresses ...string) {
	var list []netip.Addr
	for _, text := range addresses {
		list = append(list, netip.MustParseAddr(text))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = list
}

// Connect joins two hosts: up carries what a sends to b, down what b sends to a. It returns the links, which know what
// they lose. Connecting the same hosts again replaces the links for what is sent from then on.
func (n *Network) Connect(a, b *Host, up, down Profile) (upLink, downLink *Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pair := uint64(len(n.links))
	upLink = NewLink(mix(n.seed+mix(pair)), n.start, up)
	downLink = NewLink(mix(n.seed+mix(pair+1)), n.start, down)
	n.links[[2]*Host{a, b}] = upLink
	n.links[[2]*Host{b, a}] = downLink
	return upLink, downLink
}

// route finds the host that an address belongs to and the link there; the link is nil from a host to itself.
func (n *Network) route(from *Host, to netip.Addr) (*Host, *Link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to.IsLoopback() {
		return from, nil, nil
	}
	host := n.owners[to]
	if host == nil {
		return nil, nil, syscall.ENETUNREACH
	}
	if host == from {
		return host, nil, nil
	}
	link := n.links[[2]*Host{from, host}]
	if link == nil {
		return nil, nil, syscall.ENETUNREACH
	}
	return host, link, nil
}

// at has fn called once that much time of the network has passed.
func (n *Network) at(elapsed time.Duration, fn func()) { n.sched.at(n.start.Add(elapsed), fn) }

// Host is one end of links: addresses, and the sockets opened on them. It implements probes.Network.
type Host struct {
	net   *Network
	name  string
	addrs []netip.Addr

	mu        sync.Mutex
	ports     uint16 // the next dynamic port to try
	packets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	streams   map[*stream]bool
	nat       *nat // nil while the host's own addresses are what others see
}

var _ probes.Network = (*Host)(nil)

// String is the host's name.
func (h *Host) String() string { return h.name }

// Addr is the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Resolve implements probes.Network. A name that no host has is a *net.DNSError with IsNotFound. It takes no time.
func (h *Host) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addrs := h.net.names[host]
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return slices.Clone(addrs), nil
}

// local parses the address to bind to.
func (h *Host) local(network, address string) (netip.AddrPort, error) {
	wildcard := netip.IPv6Unspecified()
	if strings.HasSuffix(network, "4") {
		wildcard = netip.IPv4Unspecified()
	}
	if address == "" {
		return netip.AddrPortFrom(wildcard, 0), nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "invalid port", Addr: address}
	}
	addr := wildcard
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, &net.AddrError{Err: "not an address literal", Addr: address}
		}
		addr = addr.Unmap()
	}
	if !fits(network, addr) || !addr.IsUnspecified() && !addr.IsLoopback() && !slices.Contains(h.addrs, addr) {
		return netip.AddrPort{}, syscall.EADDRNOTAVAIL
	}
	return netip.AddrPortFrom(addr, uint16(number)), nil
}

// remote parses the address to connect to and finds the own address to do so from.
func (h *Host) remote(network, address string) (local netip.Addr, to netip.AddrPort, err error) {
	to, err = netip.ParseAddrPort(address)
	if err != nil {
		return local, to, &net.AddrError{Err: "not an address literal with a port", Addr: address}
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !fits(network, to.Addr()) {
		return local, to, &net.AddrError{Err: "address of the other family than " + network, Addr: address}
	}
	local, err = h.source(to.Addr())
	return local, to, err
}

// source is the own address from which a destination is reached.
func (h *Host) source(to netip.Addr) (netip.Addr, error) {
	if to.IsLoopback() {
		return to, nil
	}
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, syscall.ENETUNREACH
}

// fits says whether the address is of the family that the network's name insists on.
func fits(network string, a netip.Addr) bool {
	switch {
	case strings.HasSuffix(network, "4"):
		return a.Is4()
	case strings.HasSuffix(network, "6"):
		return a.Is6()
	default:
		return true
	}
}

// bindLocked finds a free port when none is asked for; taken says which local addresses are in use.
func (h *Host) bindLocked(want netip.AddrPort, taken func(netip.AddrPort) bool) (netip.AddrPort, error) {
	if want.Port() != 0 {
		if taken(want) {
			return want, syscall.EADDRINUSE
		}
		return want, nil
	}
	for range 1 << 14 {
		candidate := netip.AddrPortFrom(want.Addr(), h.ports)
		h.ports++
		if h.ports == 0 {
			h.ports = 49152
		}
		if !taken(candidate) {
			return candidate, nil
		}
	}
	return want, syscall.EADDRINUSE
}

// Sockets counts what is open on the host: UDP sockets, listeners and ends of TCP connections. Tests ask it whether
// everything was closed.
func (h *Host) Sockets() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.packets) + len(h.listeners) + len(h.streams)
}

// closeAll closes every socket of the host.
func (h *Host) closeAll() {
	h.mu.Lock()
	var open []interface{ Close() error }
	for _, c := range h.packets {
		open = append(open, c)
	}
	for _, l := range h.listeners {
		open = append(open, l)
	}
	for s := range h.streams {
		open = append(open, s)
	}
	h.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // a socket in memory closes without an error but for having been closed before
	}
}

// opError wraps an error as package net does.
func opError(op, network string, source, addr net.Addr, err error) error {
	if err == nil {
		return nil
	}
	if _, wrapped := errors.AsType[*net.OpError](err); wrapped {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}

// errNetwork says that a network is none that probes.Network knows.
func errNetwork(network string) error { return net.UnknownNetworkError(network) }
