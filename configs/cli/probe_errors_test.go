//go:build !edge

package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/probetest"
	"github.com/nrprobe/nrprobe/probes/stamp"
)

// brief makes a run of a kind short that gets no answer. A sender of STAMP leaves out what it comes too late for, so that its
// packets are spread over more time than a busy machine holds it up.
func brief(kind string) []string {
	switch kind {
	case "stamp":
		return []string{"--count", "3", "--interval", "1s", "--timeout", "1s"}
	case "icmp":
		return []string{"--count", "1", "--timeout", "500ms"}
	case "tcp", "quic", "http", "dns":
		return []string{"--count", "1"}
	default:
		return nil
	}
}

// noSuchName answers every query over UDP with NXDOMAIN.
func noSuchName(t *testing.T) (server string) {
	t.Helper()
	return probetest.NameServer(t, func(reply *dnsmessage.Message) { reply.RCode = dnsmessage.RCodeNameError })
}

// TestWhatIsWrongHasItsOwnError takes every kind through what most often goes wrong, and pins message and exit code.
func TestWhatIsWrongHasItsOwnError(t *testing.T) {
	server, closed := noSuchName(t), silentPort
	port := closed[strings.LastIndex(closed, ":")+1:]
	refused := map[string]string{
		"stamp": closed + " turned packets away: no STAMP reflector on UDP port " + port,
		"icmp":  "target: ICMP has no ports: write 127.0.0.1",
		"tcp":   "connecting to " + closed + ": dial tcp " + closed + ": connect: connection refused",
		"quic":  closed + " turned packets away: nobody listens on UDP port " + port + " there",
		"dns":   "query to " + closed + ": ",
	}
	for _, c := range []badInput{
		{"http over QUIC, refused port", []string{"probe", "http", closed, "--count", "1", "--version", "3"}, exitUnreachable, "QUIC handshake with " + closed + ": " + refused["quic"]},
		{"dns over QUIC, refused port", []string{"probe", "dns", closed, "--count", "1", "--transport", "quic"}, exitUnreachable, "QUIC handshake with " + closed + ": " + refused["quic"]},
	} {
		t.Run(c.name, c.check)
	}
	for _, kind := range all.Kinds().All() {
		probe := func(target string, more ...string) []string {
			return append(append([]string{"probe", kind.Name, target}, brief(kind.Name)...), more...)
		}
		text, code := "connection refused", exitUnreachable
		if own := refused[kind.Name]; own != "" {
			text = own
		}
		if kind.Port == 0 {
			code = exitUsage
		}
		for _, c := range []badInput{
			{"wrong interface", probe("127.0.0.1", "--interface", "nope0"), exitUnreachable, `there is no interface "nope0": there are `},
			{"unresolvable name", probe("far.example", "--dns", server), exitUnreachable, "error: resolving far.example: lookup far.example on " + server + ": no such host\n"},
			{"name of the other family", probe("far.example", "--dns", server, "--ip-family", "6"), exitUnreachable, "no such host, or no IPv6 address of it"},
			{"address of the other family", probe("127.0.0.1", "--ip-family", "6"), exitUnreachable, "address 127.0.0.1 is not IPv6, which alone is to be used"},
			{"refused port", probe(closed), code, text},
		} {
			t.Run(kind.Name+", "+c.name, c.check)
		}
	}
}

// TestWrongKey takes each kind that holds its far end to a key through a wrong one.
func TestWrongKey(t *testing.T) {
	far := startFarEnd(t, farEnds()...)
	key := strings.Repeat("k", 16)
	locked := startFarEnd(t, farend.Service{Name: stamp.Name, Packets: (&stamp.Reflector{Key: []byte(key), Log: slog.New(slog.DiscardHandler)}).Serve})
	open, keyed, quic, tls := far.Addrs().STAMP[0].String(), locked.Addrs().STAMP[0].String(), far.Addrs().QUIC[0].String(), far.Addrs().TLS[0].String()
	pin := "has the pin " + far.Pin() + ", not " + wrongPin
	probe := func(kind, target string, more ...string) []string {
		return append(append([]string{"probe", kind, target}, brief(kind)...), more...)
	}
	for _, c := range []badInput{
		{"stamp, too short", probe("stamp", open, "--key", "short"), exitUsage, "key has 5 bytes: STAMP needs 16 or more"},
		{"stamp, another one", probe("stamp", keyed, "--key", strings.Repeat("x", 16)), exitFailed, "the key is not that of the reflector at"},
		{"stamp, at a far end without", probe("stamp", open, "--key", key), exitFailed, "the key is not that of the reflector at"},
		{"stamp, the right one", probe("stamp", keyed, "--key", key, "--size", "112"), exitOK, ": ok in "},
		{"quic", probe("quic", quic, "--pin", wrongPin), exitFailed, pin},
		{"http over TLS", probe("http", tls, "--pin", wrongPin), exitFailed, pin},
		{"http over QUIC", probe("http", quic, "--version", "3", "--pin", wrongPin), exitFailed, pin},
		{"http, unknown authority", probe("http", tls), exitFailed, "a server that no public authority vouches for is accepted with a pin, with ca or with insecure"},
		{"dns over HTTPS", probe("dns", tls, "--transport", "https", "--pin", wrongPin), exitFailed, pin},
		{"throughput", probe("throughput", quic, "--transport", "quic", "--pin", wrongPin), exitFailed, pin},
		{"responsiveness", probe("responsiveness", tls, "--pin", wrongPin), exitFailed, pin},
	} {
		t.Run(c.name, c.check)
	}
}

// TestExamplesOfKinds: the help of each kind shows a command line that measures with it.
func TestExamplesOfKinds(t *testing.T) {
	for _, kind := range all.Kinds().All() {
		stdout, stderr, code := run(t, "probe", kind.Name, "--help")
		if code != exitOK || !strings.Contains(stdout, fmt.Sprintf("Examples:\n  nrprobe probe %s ", kind.Name)) {
			t.Errorf("%s: exit code %d\n%s%s", kind.Name, code, stdout, stderr)
		}
	}
}
