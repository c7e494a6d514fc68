package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/nrprobe/nrprobe/probes"
)

// makeResolver asks the configured name servers through the interface, the next one with each attempt; without any, the
// system's way is taken. The servers may be of either IP family, whichever is measured.
func (n *network) makeResolver(servers []string) *net.Resolver {
	if len(servers) == 0 {
		return &net.Resolver{}
	}
	var turn atomic.Uint32
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, netw, _ string) (net.Conn, error) {
		i := (turn.Add(1) - 1) % uint32(len(servers))
		to, err := netip.ParseAddrPort(servers[i])
		if err != nil {
			return nil, err
		}
		return n.dial(ctx, strings.TrimRight(netw, "46"), to)
	}}
}

func parseServers(texts []string) ([]string, error) {
	servers := make([]string, len(texts))
	for i, text := range texts {
		addr, err := netip.ParseAddr(text)
		server := netip.AddrPortFrom(addr, 53)
		if err != nil {
			server, err = netip.ParseAddrPort(text)
		}
		if err != nil || server.Port() == 0 {
			return nil, fmt.Errorf("name server %q: want an address, like 192.0.2.53 or [2001:db8::53]:53", text)
		}
		servers[i] = server.String()
	}
	return servers, nil
}

// explainLookup adds the remedy where the resolver had no server to ask and fell back to the host itself, as it does on
// Android, which has no resolv.conf; and that a name may well have an address, only none of the family that was chosen.
// The error names the host already.
func (n *network) explainLookup(err error) error {
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	if ok && len(n.config.DNS) > 0 {
		asked := *dnsErr
		asked.Server = strings.Join(n.config.DNS, ", ") // package net knows of the system's own alone
		dnsErr, err = &asked, &asked
	}
	// A name that the hosts file or the resolver knows, but only with addresses of the other family.
	_, other := errors.AsType[*net.AddrError](err)
	switch {
	case other && n.family() != "":
		return probes.Fail(probes.Unreachable, "%w: it has no IPv%s address", err, n.family())
	case ok && len(n.config.DNS) == 0 && (dnsErr.Server == "[::1]:53" || dnsErr.Server == "127.0.0.1:53"):
		return fmt.Errorf("%w: this system names no server to ask: give one with dns, or an address as target", err)
	case ok && dnsErr.IsNotFound && n.family() != "":
		return fmt.Errorf("%w, or no IPv%s address of it", err, n.family())
	default:
		return err
	}
}
