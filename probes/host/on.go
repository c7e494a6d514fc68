package host

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/nrprobe/nrprobe/probes"
)

// On implements probes.InterfaceNetwork.
func (n *network) On(where string) (probes.Network, error) {
	addr, err := netip.ParseAddr(where)
	if err != nil {
		c := n.config
		c.Interface = where
		return New(c)
	}
	addr = addr.Unmap()
	if !n.allows(addr) {
		return nil, probes.Fail(probes.Unreachable, "address %s is not IPv%s, which alone is to be used", addr, n.config.Family)
	}
	c := n.config
	if c.Interface, err = interfaceOf(addr); err != nil {
		return nil, err
	}
	other, err := newNetwork(c)
	if err != nil {
		return nil, err
	}
	other.source = []netip.Addr{addr}
	return other, nil
}

// interfaceOf finds the interface that has an address.
func interfaceOf(addr netip.Addr) (string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("looking for the interface with the address %s: %w: name the interface itself", addr, err)
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().Unmap() == addr.WithZone("") {
				return i.Name, nil
			}
		}
	}
	return "", probes.Fail(probes.Unreachable, "no interface has the address %s", addr)
}
