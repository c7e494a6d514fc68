//go:build netns

package e2e

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServerAt has this test binary be a name server instead of running the tests.
const nameServerAt = "NRPROBE_TEST_NAME_SERVER"

// TestNameServer is no test: it is the name server of TestNetnsNamesThroughTheInterface, in a process of another namespace. It
// knows one IPv4 address, its own, by every name.
func TestNameServer(t *testing.T) {
	address, ok := os.LookupEnv(nameServerAt)
	if !ok {
		t.Skip("started by TestNetnsNamesThroughTheInterface alone")
	}
	pc, err := net.ListenPacket("udp4", address+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	own := [4]byte(net.ParseIP(address).To4())
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1500); ; {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(b[:n]); err != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: own},
			}}
		}
		packed, err := reply.Pack()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = pc.WriteTo(packed, from)
	}
}

// TestNetnsNamesThroughTheInterface: the name server stands behind the second interface alone. It is asked through the
// interface that is measured, and through no other.
func TestNetnsNamesThroughTheInterface(t *testing.T) {
	l := newLink(t)
	l.addLink(t)
	// Or the far end would answer for all of its addresses on each of its interfaces.
	if _, stderr, code := run(t, in(l.far, "sysctl", "-w", "net.ipv4.conf.all.arp_ignore=1")...); code != 0 {
		t.Fatal(stderr)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, in(l.far, "env", nameServerAt+"=10.78.0.2", self, "-test.run=^TestNameServer$", "-test.v")...)
	server.waitFor(t, `^ready`, patience)
	reflector := start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...)
	reflector.waitFor(t, `ready`, patience)
	for _, c := range []struct {
		name, link, family string
		code               int
		want               string
	}{
		{"through the interface", "wwan1", "4", 0, "address: 10.78.0.2:8620"},
		{"through another one", "wwan0", "4", 4, "lookup far.example on 10.78.0.2: "},
		{"a name without such an address", "wwan1", "6", 4, "or no IPv6 address of it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			argv := []string{program(t), "probe", "tcp", "far.example", "--count", "1", "--dns", "10.78.0.2", "--interface", c.link, "--ip-family", c.family}
			stdout, stderr, code := run(t, in(l.near, argv...)...)
			if code != c.code || !strings.Contains(stdout, c.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, c.code, c.want, stdout, stderr)
			}
		})
	}
}
