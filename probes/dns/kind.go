// Package dns measures how long a name server takes to answer, over UDP, TCP, TLS, HTTPS and QUIC, and whether the answer
// is the expected one.
package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
)

// Config is what can be set of a run.
type Config struct {
	Count     int           `yaml:"count" help:"queries to make" min:"1" max:"100000"`
	Interval  time.Duration `yaml:"interval" help:"time between the starts of two queries; a slow one delays the next" min:"1ms" max:"1h"`
	Transport string        `yaml:"transport" help:"what carries the queries" oneof:"udp,tcp,tls,https,quic"`
	Query     string        `yaml:"query" help:"name to ask for"`
	Type      string        `yaml:"type" help:"type of the records to ask for" oneof:"A,AAAA,CNAME,HTTPS,MX,NS,PTR,SOA,SRV,TXT"`
	Expect    string        `yaml:"expect" help:"address that must be among the answers; any wants a record of the type, none takes every answer"`
	Path      string        `yaml:"path" help:"path of the URL over https"`
	Keep      bool          `yaml:"keep" help:"send all queries over one connection, or from one UDP port; false makes a new one for each"`
	QueryTime time.Duration `yaml:"timeout" help:"how long to wait for one answer, connection included" min:"10ms" max:"2m"`
}

// The words of Transport and Expect.
const (
	overUDP   = "udp"
	overTCP   = "tcp"
	overTLS   = "tls"
	overHTTPS = "https"
	overQUIC  = "quic"

	expectAny  = "any"
	expectNone = "none"
)

func defaults() Config {
	return Config{
		Count: 5, Interval: time.Second, Transport: overUDP, Query: "example.com", Type: "A", Expect: expectAny, Path: "/dns-query",
		QueryTime: 5 * time.Second, // what resolvers of most systems wait before they ask again
	}
}

// Timeout implements probes.Config: every wait at its longest, and a second of slack.
func (c *Config) Timeout() time.Duration {
	return time.Duration(c.Count)*max(c.Interval, c.QueryTime) + time.Second
}

// port is where a transport is served.
func (c *Config) port() uint16 {
	switch c.Transport {
	case overTLS, overQUIC:
		return 853 // RFC 7858 section 3.1, RFC 9250 section 4.1.1
	case overHTTPS:
		return 443
	default:
		return portDNS
	}
}

const portDNS = 53

// recordType is the type that a word of Config.Type stands for.
func recordType(word string) (dnsmessage.Type, bool) {
	t, ok := map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "HTTPS": dnsmessage.TypeHTTPS,
		"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA,
		"SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
	}[word]
	return t, ok
}

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "dns",
		Summary: "DNS answer time over UDP, TCP, TLS, HTTPS or QUIC",
		Help: `Asks a name server, the target, for a name and measures until the answer is there; connection and handshake are
measured apart. Over UDP each query is one packet from a port of its own and is not sent again, so that a loss shows as
such; a connection is made anew for each query unless --keep asks for one for all. An answer must be to the question
that was asked, and --expect says what else: a record of the type (any), a certain address, or nothing (none), so that
a server that says "no such name" is measured too. Other answers make the outcome invalid. The default port is that of
the transport: 53, 853 for tls and quic, 443 for https, which is HTTP/2. Caches are neither filled nor avoided: ask for
a name twice and the second answer may come from one. The system's authorities verify the server, unless a pin or an
authority is given.`,
		Example: "nrprobe probe dns 127.0.0.53 --query example.com --count 3",
		Lane:    probes.Latency,
		Port:    portDNS,
		Foreign: true,
		Metrics: []*probes.Metric{
			probes.AnswerTime, probes.ResolveTime, probes.ConnectTime, probes.HandshakeTime,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.LossRatio,
		},
	}, defaults, build)
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if target.Text == target.Host {
		target.Port = c.port() // the user gave none
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(c.Query, ".") + ".")
	if err == nil {
		_, err = query(question{name: name})
	}
	if err != nil {
		return nil, fmt.Errorf("query: %q is not a domain name: %w", c.Query, err)
	}
	kind, ok := recordType(c.Type)
	if !ok {
		return nil, fmt.Errorf("type: %q is not known", c.Type)
	}
	p := &probe{config: c, env: env, target: target, question: question{name: name, kind: kind}}
	if c.Expect != expectAny && c.Expect != expectNone {
		p.expected, err = netip.ParseAddr(c.Expect)
		switch {
		case err != nil:
			return nil, fmt.Errorf("expect: %q is neither any, none nor an address", c.Expect)
		case c.Type == "A" && !p.expected.Is4(), c.Type == "AAAA" && !p.expected.Is6(), c.Type != "A" && c.Type != "AAAA":
			return nil, fmt.Errorf("expect: %s cannot be in a record of type %s", c.Expect, c.Type)
		}
	}
	if c.Transport == overHTTPS && !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path: %q does not begin with a slash", c.Path)
	}
	return p, nil
}
