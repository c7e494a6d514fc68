package netsim

import (
	"net/netip"
	"time"
)

// nat translates what a host sends to the address that others see. Mapping and filtering depend on the inner address
// alone (endpoint-independent, RFC 4787 sections 4.1 and 5).
type nat struct {
	public netip.Addr // invalid: the host's own addresses, on other ports
	next   uint16
	out    map[netip.AddrPort]netip.AddrPort
	in     map[netip.AddrPort]netip.AddrPort
}

// Rebind makes the network see the host at another address from now on, as a carrier's NAT does when it forgets a mapping
// or a device when its session is set up anew: every socket appears on a new port of the public address, what is sent to
// the former one is lost, and TCP connections of the host break with ECONNRESET. The zero public address keeps the host's
// own address and changes the ports only.
func (h *Host) Rebind(public netip.Addr) {
	h.net.mu.Lock()
	if public.IsValid() {
		h.net.owners[public] = h
	}
	h.net.mu.Unlock()
	h.mu.Lock()
	next := uint16(20000)
	if h.nat != nil {
		next = h.nat.next + 1000
	}
	h.nat = &nat{public: public, next: next, out: map[netip.AddrPort]netip.AddrPort{}, in: map[netip.AddrPort]netip.AddrPort{}}
	var broken []*stream
	for s := range h.streams {
		broken = append(broken, s)
	}
	h.mu.Unlock()
	for _, s := range broken {
		s.reset()
		s.peer.reset()
	}
}

// RebindAt has Rebind happen when that much time of the network has passed.
func (h *Host) RebindAt(elapsed time.Duration, public netip.Addr) {
	h.net.at(elapsed, func() { h.Rebind(public) })
}

// outward translates the source address of a packet that leaves the host.
func (t *nat) outward(from netip.AddrPort) netip.AddrPort {
	if t == nil || t.public.IsValid() && t.public.Is4() != from.Addr().Is4() {
		return from
	}
	if seen, ok := t.out[from]; ok {
		return seen
	}
	addr := t.public
	if !addr.IsValid() {
		addr = from.Addr()
	}
	seen := netip.AddrPortFrom(addr, t.next)
	t.next++
	t.out[from], t.in[seen] = seen, from
	return seen
}

// inward translates the destination address of a packet that comes to the host; ok is false where there is no mapping.
func (t *nat) inward(to netip.AddrPort) (own netip.AddrPort, ok bool) {
	if t == nil || to.Addr().IsLoopback() || t.public.IsValid() && t.public.Is4() != to.Addr().Is4() {
		return to, true
	}
	own, ok = t.in[to]
	return own, ok
}
