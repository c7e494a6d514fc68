package probes

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ParseTarget reads "host", "host:port", "[v6]:port" or a bare IPv6 address. defaultPort fills in for a missing port.
func ParseTarget(text string, defaultPort uint16) (Target, error) {
	t := Target{Host: text, Port: defaultPort, Text: text}
	if _, err := netip.ParseAddr(text); err == nil {
		return t, nil
	}
	if strings.ContainsAny(text, " /\t\n,=\\\"") || text == "" {
		return t, fmt.Errorf("%q is not a target: write it like host, host:8620 or [2001:db8::1]:8620", text)
	}
	if !strings.Contains(text, ":") {
		return t, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return t, fmt.Errorf("%q is not a target: write it like host, host:8620 or [2001:db8::1]:8620", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return t, fmt.Errorf("%q is not a target: want a host and a port from 1 to 65535", text)
	}
	t.Host, t.Port = host, uint16(n)
	return t, nil
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
