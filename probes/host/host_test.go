package host

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

func makeNetwork(t *testing.T, c Config) probes.Network {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDialAndListen(t *testing.T) {
	for _, family := range []string{"any", "4"} {
		n := makeNetwork(t, Config{Family: family})
		l, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		})
		c, err := n.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(c); err != nil || string(text) != "hello" {
			t.Errorf("read %q, %v", text, err)
		}
		wg.Wait()
		_, _ = c.Close(), l.Close()
	}
}

func TestListenPacket(t *testing.T) {
	n := makeNetwork(t, Config{Family: "4"})
	far, err := n.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := n.ListenPacket(t.Context(), "udp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if addr := near.LocalAddr().(*net.UDPAddr).AddrPort(); !addr.Addr().Is4() || addr.Port() == 0 {
		t.Errorf("bound to %v", addr)
	}
	if _, err := near.WriteTo([]byte("ping"), far.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	size, from, err := far.ReadFrom(b)
	if err != nil || string(b[:size]) != "ping" || from.(*net.UDPAddr).Port != near.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("read %q from %v, %v", b[:size], from, err)
	}
	c, err := n.Dial(t.Context(), "udp", far.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	n := makeNetwork(t, Config{Family: "4"})
	_, err := n.Dial(t.Context(), "tcp", "localhost:80")
	if want := `dialing "localhost:80": want an address with a port, like 192.0.2.1:8620: names are resolved apart`; err == nil || err.Error() != want {
		t.Errorf("a name: got %v", err)
	}
	_, err = n.Dial(t.Context(), "tcp", "[::1]:80")
	if want := "dialing [::1]:80: it is not IPv4, which alone is to be used"; err == nil || err.Error() != want || probes.Classify(err) != probes.Unreachable {
		t.Errorf("the other family: got %v", err)
	}
	// Unlike a port that was free a moment ago, the kernel gives this one to nobody.
	if _, err := n.Dial(t.Context(), "tcp", "127.0.0.1:1"); probes.Classify(err) != probes.Refused {
		t.Errorf("a closed port: got %v (%s)", err, probes.Classify(err))
	}
	for _, c := range []Config{{Family: "5"}, {DNS: []string{"dns.example"}}, {DNS: []string{"192.0.2.53:0"}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestResolveLiterals(t *testing.T) {
	for _, test := range []struct {
		family, host string
		want         []netip.Addr
	}{
		{"any", "192.0.2.1", []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{"", "2001:db8::1", []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
		{"4", "::ffff:192.0.2.1", []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{"6", "192.0.2.1", nil},
		{"4", "2001:db8::1", nil},
	} {
		got, err := makeNetwork(t, Config{Family: test.family}).Resolve(t.Context(), test.host)
		if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("family %q, host %s: %v, %v", test.family, test.host, got, err)
		}
		if err != nil && probes.Classify(err) != probes.Unreachable {
			t.Errorf("family %q, host %s: outcome %s", test.family, test.host, probes.Classify(err))
		}
	}
}

// names knows far.example by one address of each family, and old.example by one of IPv4.
func names(reply *dnsmessage.Message) {
	q := reply.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	switch {
	case q.Name.String() == "old.example." && q.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}}}}
	case q.Name.String() == "old.example.":
	case q.Name.String() != "far.example.":
		reply.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
	case q.Type == dnsmessage.TypeAAAA:
		reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()}}}
	}
}

func TestResolveThroughChosenServers(t *testing.T) {
	server := probetest.NameServer(t, names)
	for family, want := range map[string][]string{"4": {"192.0.2.1"}, "6": {"2001:db8::1"}, "any": {"192.0.2.1", "2001:db8::1"}} {
		got, err := makeNetwork(t, Config{Family: family, DNS: []string{server}}).Resolve(t.Context(), "far.example.")
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, addr := range got {
			texts = append(texts, addr.String())
		}
		if slices.Sort(texts); !slices.Equal(texts, want) {
			t.Errorf("family %s: %v, want %v", family, texts, want)
		}
	}
	_, err := makeNetwork(t, Config{DNS: []string{server}}).Resolve(t.Context(), "other.example.")
	if probes.Classify(err) != probes.Unreachable || !strings.HasPrefix(err.Error(), "lookup other.example. on "+server+": no such host") {
		t.Errorf("an unknown name: %v (%s)", err, probes.Classify(err))
	}
	_, err = makeNetwork(t, Config{DNS: []string{server}, Family: "6"}).Resolve(t.Context(), "old.example.")
	if probes.Classify(err) != probes.Unreachable || !strings.HasSuffix(err.Error(), ", or no IPv6 address of it") {
		t.Errorf("a name without an address of the family: %v (%s)", err, probes.Classify(err))
	}
}

func TestNoServerToAsk(t *testing.T) {
	n := &network{}
	err := n.explainLookup(&net.DNSError{Err: "connection refused", Name: "far.example", Server: "[::1]:53"})
	if !strings.Contains(err.Error(), "give one with dns, or an address as target") || probes.Classify(err) != probes.Unreachable {
		t.Errorf("got %v", err)
	}
}
