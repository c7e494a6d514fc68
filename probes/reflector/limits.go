package reflector

import (
	"net"
	"net/netip"
	"sync"
)

// gate counts the connections that are open, in all and by client. It is safe for concurrent use.
type gate struct {
	limits Limits

	mu      sync.Mutex
	total   int
	clients map[netip.Prefix]int
}

func newGate(limits Limits) *gate { return &gate{limits: limits, clients: map[netip.Prefix]int{}} }

// enter says whether one more connection of the client may be; leave must then be called when it has ended, once.
func (g *gate) enter(addr net.Addr) (leave func(), ok bool) {
	client := clientOf(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.limits.Connections || g.clients[client] >= g.limits.ClientConnections {
		return nil, false
	}
	g.total++
	g.clients[client]++
	return func() { g.leave(client) }, true
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.clients[client]--; g.clients[client] == 0 {
		delete(g.clients, client)
	}
}

// crowded says that half of the places are taken: from then on QUIC clients prove their address first, which costs them
// a round trip, lest somebody takes the rest with addresses that are not his.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total > g.limits.Connections/2
}

func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// clientOf groups addresses: an IPv6 client has a /64 to draw addresses from.
func clientOf(addr net.Addr) netip.Prefix {
	parsed, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{} // all of those that have no address share one place in the map
	}
	ip := parsed.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
