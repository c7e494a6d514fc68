package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/nrprobe/nrprobe/probes"
)

// errDenied marks a kernel that binds sockets to interfaces for the privileged alone.
var errDenied = errors.New("operation not permitted")

// noSuchInterface names the interfaces that there are, as far as the system tells: Android does not from version 11 on.
func noSuchInterface(name string) error {
	var names []string
	if list, err := net.Interfaces(); err == nil {
		for _, i := range list {
			names = append(names, i.Name)
		}
	}
	hint := ""
	if len(names) > 0 {
		hint = ": there are " + strings.Join(names, ", ")
	}
	return probes.Fail(probes.Unreachable, "there is no interface %q%s", name, hint)
}

// interfaceAddrs lists the addresses of an interface that can be connected from.
func interfaceAddrs(name string) ([]netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, noSuchInterface(name)
	}
	list, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of interface %s: %w", name, err)
	}
	var addrs []netip.Addr
	for _, a := range list {
		prefix, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(prefix.IP); ok && !addr.IsLinkLocalUnicast() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	if len(addrs) == 0 {
		return nil, probes.Fail(probes.Unreachable, "interface %s has no address: is the link up?", name)
	}
	return addrs, nil
}
