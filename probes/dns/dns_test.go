package dns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// server answers queries, on every transport alike. It returns nil to say nothing.
type server func(query []byte) []byte

// zone knows example.com by two addresses of version 4, one of version 6 behind an alias, and a text.
func zone(query []byte) []byte { return packed(zoneMessage(query)) }

func zoneMessage(query []byte) *dnsmessage.Message {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	switch {
	case !strings.EqualFold(q.Name.String(), "example.com."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{
			{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}},
			{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 8}}},
		}
	case q.Type == dnsmessage.TypeAAAA:
		alias := header
		alias.Type = dnsmessage.TypeCNAME
		header.Name = dnsmessage.MustNewName("www.example.com.")
		m.Answers = []dnsmessage.Resource{
			{Header: alias, Body: &dnsmessage.CNAMEResource{CNAME: header.Name}},
			{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::7").As16()}},
		}
	case q.Type == dnsmessage.TypeTXT:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{"hello"}}}}
	}
	return &m
}

func packed(m *dnsmessage.Message) []byte {
	if m == nil {
		return nil
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// changed is zone with its answers changed.
func changed(change func(*dnsmessage.Message)) server {
	return func(query []byte) []byte {
		m := zoneMessage(query)
		change(m)
		return packed(m)
	}
}

// serve answers on all ports of DNS.
func (s server) serve(ctx context.Context, network probes.Network) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	udp, err := network.ListenPacket(ctx, "udp", ":53")
	if err != nil {
		return err
	}
	quic, err := network.ListenPacket(ctx, "udp", ":853")
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	conf := probetest.ServerTLS()
	conf.NextProtos = []string{"doq"}
	transport := &quicgo.Transport{Conn: quic}
	ql, err := transport.Listen(conf, nil)
	if err != nil {
		return errors.Join(err, quic.Close(), udp.Close())
	}
	var listeners []net.Listener
	for _, port := range []string{":53", ":853", ":443"} {
		l, err := network.Listen(ctx, "tcp", port)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	conf = probetest.ServerTLS()
	conf.NextProtos = []string{"dot"}
	web := &http.Server{
		Handler: http.HandlerFunc(s.serveHTTP), TLSConfig: probetest.ServerTLS(), ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	wg.Go(func() { s.servePackets(udp) })
	wg.Go(func() { s.serveStreams(listeners[0]) })
	wg.Go(func() { s.serveStreams(tls.NewListener(listeners[1], conf)) })
	wg.Go(func() { _ = web.ServeTLS(listeners[2], "", "") })
	wg.Go(func() { s.serveQUIC(ctx, ql) })
	<-ctx.Done()
	return errors.Join(udp.Close(), listeners[0].Close(), listeners[1].Close(), web.Close(), ql.Close(), transport.Close(), quic.Close())
}

func (s server) servePackets(pc net.PacketConn) {
	b := make([]byte, 65536)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		if answer := s(b[:n]); answer != nil {
			_, _ = pc.WriteTo(answer, from)
		}
	}
}

func (s server) serveStreams(l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			for s.serveStream(c) == nil {
			}
		})
	}
}

func (s server) serveStream(c io.ReadWriter) error {
	query, err := readFramed(c)
	if err != nil {
		return err
	}
	if answer := s(query); answer != nil {
		_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
	return err
}

func (s server) serveQUIC(ctx context.Context, l *quicgo.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return
		}
		wg.Go(func() {
			for {
				stream, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				_ = s.serveStream(stream)
			}
		})
	}
}

func (s server) serveHTTP(w http.ResponseWriter, req *http.Request) {
	query, err := io.ReadAll(req.Body)
	if err != nil || req.URL.Path != "/dns-query" || req.Header.Get("Content-Type") != mediaType || req.ProtoMajor != 2 {
		http.NotFound(w, req)
		return
	}
	answer := s(query)
	if answer == nil {
		<-req.Context().Done()
		return
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(answer)
}

func transports() []string { return []string{overUDP, overTCP, overTLS, overHTTPS, overQUIC} }

func TestContract(t *testing.T) {
	for _, transport := range transports() {
		t.Run(transport, func(t *testing.T) {
			closed := probes.Refused
			if transport == overUDP || transport == overQUIC {
				closed = probes.Timeout
			}
			probetest.Suite{Kind: Kind(), Serve: server(zone).serve, Closed: closed, Config: func(c any) { c.(*Config).Transport = transport }}.Run(t)
		})
	}
}

// setting is one measurement in a bubble, across a link of 10 ms each way.
type setting struct {
	server server
	target string // far.example when empty
	change func(*Config)
	link   netsim.Profile
	tls    func(probes.Target) *tls.Config
}

func (s setting) measure(t *testing.T) *probes.Result {
	t.Helper()
	n := netsim.New(1)
	defer n.Close()
	edge, far := n.Host("edge", "192.0.2.2"), n.Host("far.example", "192.0.2.1")
	if s.link == nil {
		s.link = netsim.State{Delay: 10 * time.Millisecond}
	}
	n.Connect(edge, far, s.link, s.link)
	if s.server == nil {
		s.server = zone
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.server.serve(ctx, far); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	config := defaults()
	if s.change != nil {
		s.change(&config)
	}
	env := probetest.Env(t, edge)
	if s.tls != nil {
		env.TLS = s.tls
	}
	if s.target == "" {
		s.target = "far.example"
	}
	target, err := probes.ParseTarget(s.target, portDNS)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := Kind().Build(&config, env, target)
	if err != nil {
		t.Fatal(err)
	}
	var result *probes.Result
	(&probes.Runner{Agent: "a", Boot: "b"}).Run(t.Context(), probes.Job{Kind: "dns", Name: "p", Target: "far", Probe: probe, Timeout: config.Timeout()},
		func(r *probes.Result) { result = r })
	if open := edge.Sockets(); open != 0 {
		t.Errorf("%d sockets were left open", open)
	}
	cancel()
	wg.Wait()
	return result
}

func expect(t *testing.T, r *probes.Result, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if got, ok := r.Values[name]; !ok || got != value {
			t.Errorf("%s = %v (%v), want %v", name, got, ok, value)
		}
	}
}

func TestPhases(t *testing.T) {
	phases := map[string][]string{
		overUDP: {}, overTCP: {"connect"}, overTLS: {"connect", "handshake"}, overHTTPS: {"connect", "handshake"}, overQUIC: {"handshake"},
	}
	for _, transport := range transports() {
		for _, keep := range []bool{false, true} {
			t.Run(transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := setting{change: func(c *Config) { c.Transport, c.Keep = transport, keep }}.measure(t)
					if r.Outcome != probes.OK || r.Error != "" || r.Info["rcode"] != "NOERROR" || r.Info["records"] != "2" {
						t.Errorf("%s: %s, info %v", r.Outcome, r.Error, r.Info)
					}
					expect(t, r, map[string]float64{
						"answer_min_seconds": 0.02, "answer_max_seconds": 0.02, "resolve_seconds": 0,
						"packets_sent": 5, "packets_received": 5, "packets_lost": 0, "loss_ratio": 0,
					})
					connections := uint64(5)
					if keep {
						connections = 1
					}
					for _, phase := range phases[transport] {
						expect(t, r, map[string]float64{phase + "_seconds": 0.02})
						if n := r.Hists[phase].Count(); n != connections {
							t.Errorf("%d times %s, want %d", n, phase, connections)
						}
					}
					if want := 2 + len(phases[transport]); len(r.Hists) != want {
						t.Errorf("%d histograms, want %d: %v", len(r.Hists), want, r.Hists)
					}
				})
			})
		}
	}
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		server  server
		change  func(*Config)
		outcome probes.Outcome
		code    string
		text    string
	}{
		"the address":       {nil, func(c *Config) { c.Expect = "192.0.2.8" }, probes.OK, "NOERROR", ""},
		"another address":   {nil, func(c *Config) { c.Expect = "192.0.2.9" }, probes.Invalid, "NOERROR", "far.example:53 answered the query for example.com. A with NOERROR and [192.0.2.7 192.0.2.8], want 192.0.2.9"},
		"behind an alias":   {nil, func(c *Config) { c.Type, c.Expect = "AAAA", "2001:db8::7" }, probes.OK, "NOERROR", ""},
		"text":              {nil, func(c *Config) { c.Type = "TXT" }, probes.OK, "NOERROR", ""},
		"no record":         {nil, func(c *Config) { c.Type = "MX" }, probes.Invalid, "NOERROR", "NOERROR and 0 records of the type, want a record of the type"},
		"no name":           {nil, func(c *Config) { c.Query = "nobody.example" }, probes.Invalid, "NXDOMAIN", "with NXDOMAIN"},
		"no name, as asked": {nil, func(c *Config) { c.Query, c.Expect = "nobody.example", expectNone }, probes.OK, "NXDOMAIN", ""},
		"refused": {changed(func(m *dnsmessage.Message) {
			m.RCode, m.Questions, m.Answers = dnsmessage.RCodeRefused, nil, nil
		}), nil, probes.Invalid, "REFUSED", "with REFUSED"},
		"extended code": {changed(func(m *dnsmessage.Message) {
			var opt dnsmessage.ResourceHeader
			_ = opt.SetEDNS0(512, dnsmessage.RCode(16), false)
			m.Answers, m.Additionals = nil, []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}}
		}), nil, probes.Invalid, "RCODE16", "with RCODE16"},
		"truncated":    {changed(func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil }), nil, probes.Invalid, "NOERROR", "cut short: ask over tcp"},
		"other case":   {changed(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("EXAMPLE.com.") }), nil, probes.OK, "NOERROR", ""},
		"other name":   {changed(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("example.org.") }), nil, probes.Invalid, "", "not an answer to what was asked"},
		"other type":   {changed(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }), nil, probes.Invalid, "", "not an answer to what was asked"},
		"no question":  {changed(func(m *dnsmessage.Message) { m.Questions = nil }), nil, probes.Invalid, "", "not an answer to what was asked"},
		"other number": {changed(func(m *dnsmessage.Message) { m.ID++ }), nil, probes.Invalid, "", "not an answer to what was asked"},
		"the question": {func(query []byte) []byte { return query }, nil, probes.Invalid, "", "not an answer to what was asked"},
		"half of one":  {func(query []byte) []byte { return zone(query)[:40] }, nil, probes.Invalid, "", "the answer makes no sense"},
	} {
		for _, transport := range transports() {
			t.Run(name+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := setting{server: test.server, change: func(c *Config) {
						c.Transport, c.Count = transport, 2
						if test.change != nil {
							test.change(c)
						}
					}}.measure(t)
					text := strings.ReplaceAll(test.text, ":53 ", map[string]string{overTLS: ":853 ", overQUIC: ":853 ", overHTTPS: ":443 "}[transport])
					if transport == overUDP || transport == overTCP {
						text = test.text
					}
					if r.Outcome != test.outcome || r.Info["rcode"] != test.code || !strings.Contains(r.Error, text) || (r.Error == "") != (text == "") {
						t.Errorf("%s %q: %q, want %s %q: %q", r.Outcome, r.Info["rcode"], r.Error, test.outcome, test.code, text)
					}
				})
			})
		}
	}
}

func TestFailures(t *testing.T) {
	over := func(transport string) func(*Config) { return func(c *Config) { c.Transport = transport } }
	system := func(target probes.Target) *tls.Config { return &tls.Config{ServerName: target.Host} }
	silent := server(func([]byte) []byte { return nil })
	for name, test := range map[string]struct {
		setting setting
		outcome probes.Outcome
		text    string
	}{
		"silent, udp":        {setting{server: silent}, probes.Timeout, "far.example:53: no answer over udp within 5s"},
		"silent, tcp":        {setting{server: silent, change: over(overTCP)}, probes.Timeout, "no answer over tcp within 5s"},
		"silent, tls":        {setting{server: silent, change: over(overTLS)}, probes.Timeout, "no answer over tls within 5s"},
		"silent, https":      {setting{server: silent, change: over(overHTTPS)}, probes.Timeout, "no answer over https within 5s"},
		"down":               {setting{link: netsim.State{Down: true}, change: over(overQUIC)}, probes.Timeout, "no answer over quic within 5s"},
		"no such name":       {setting{target: "nobody.example"}, probes.Unreachable, "nobody.example"},
		"nobody listens":     {setting{target: "far.example:54", change: over(overTCP)}, probes.Refused, "connecting to 192.0.2.1:54"},
		"not TLS":            {setting{target: "far.example:53", change: over(overTLS)}, probes.Timeout, "no answer over tls"},
		"certificate, tls":   {setting{tls: system, change: over(overTLS)}, probes.Auth, "no public authority vouches for"},
		"certificate, https": {setting{tls: system, change: over(overHTTPS)}, probes.Auth, "no public authority vouches for"},
		"certificate, quic":  {setting{tls: system, change: over(overQUIC)}, probes.Auth, "QUIC handshake with far.example:853"},
		"no HTTP/2":          {setting{target: "far.example:853", change: over(overHTTPS)}, probes.Refused, "TLS handshake with far.example:853"},
		"wrong path":         {setting{change: func(c *Config) { c.Transport, c.Path = overHTTPS, "/other" }}, probes.Invalid, "answered with status 404"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.setting.measure(t)
				if r.Outcome != test.outcome || !strings.Contains(r.Error, test.text) {
					t.Errorf("%s: %q, want %s: %q", r.Outcome, r.Error, test.outcome, test.text)
				}
				expect(t, r, map[string]float64{"packets_sent": 5, "packets_received": 0, "packets_lost": 5, "loss_ratio": 1})
			})
		})
	}
}

func TestSomeQueriesLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.WithOutages(netsim.State{Delay: 10 * time.Millisecond}, netsim.Interval{Start: 900 * time.Millisecond, End: 2900 * time.Millisecond})
		r := setting{link: link, change: func(c *Config) { c.QueryTime = 500 * time.Millisecond }}.measure(t)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		expect(t, r, map[string]float64{"packets_sent": 5, "packets_received": 3, "packets_lost": 2, "loss_ratio": 0.4, "answer_max_seconds": 0.02})
	})
}

// TestPacketsThatAreNoAnswers: what comes beside an answer over UDP does not disturb it, and a copy of the answer before
// is not held against the server.
func TestPacketsThatAreNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * time.Millisecond, Duplicate: 1}
		r := setting{link: link, change: func(c *Config) { c.Keep = true }}.measure(t)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		expect(t, r, map[string]float64{"packets_received": 5, "answer_max_seconds": 0.02})
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		q := question{id: 7, name: dnsmessage.MustNewName("example.com."), kind: dnsmessage.TypeA}
		asked, err := query(q)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			b := make([]byte, 512)
			n, _ := far.Read(b)
			_, _ = far.Write([]byte("x"))
			_, _ = far.Write(b[:n])
			_, _ = far.Write(zone(b[:n]))
		})
		if r, err := overPackets(near)(t.Context(), asked, q); err != nil || r.records != 2 {
			t.Errorf("%v, %v", r, err)
		}
		wg.Wait()
	})
}

func TestBuild(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		change func(*Config)
		port   uint16
		text   string
	}{
		"udp":           {"192.0.2.53", func(*Config) {}, 53, ""},
		"tls":           {"192.0.2.53", func(c *Config) { c.Transport = overTLS }, 853, ""},
		"quic":          {"192.0.2.53", func(c *Config) { c.Transport = overQUIC }, 853, ""},
		"https":         {"192.0.2.53", func(c *Config) { c.Transport = overHTTPS }, 443, ""},
		"tls, port 53":  {"192.0.2.53:53", func(c *Config) { c.Transport = overTLS }, 53, ""},
		"root":          {"192.0.2.53", func(c *Config) { c.Query, c.Type = ".", "NS" }, 53, ""},
		"expect text":   {"192.0.2.53", func(c *Config) { c.Expect = "yes" }, 0, `expect: "yes" is neither any, none nor an address`},
		"expect family": {"192.0.2.53", func(c *Config) { c.Expect = "2001:db8::1" }, 0, "expect: 2001:db8::1 cannot be in a record of type A"},
		"expect in MX":  {"192.0.2.53", func(c *Config) { c.Type, c.Expect = "MX", "192.0.2.1" }, 0, "cannot be in a record of type MX"},
		"no name":       {"192.0.2.53", func(c *Config) { c.Query = "a..b" }, 0, `query: "a..b" is not a domain name`},
		"long name":     {"192.0.2.53", func(c *Config) { c.Query = strings.Repeat("a", 300) }, 0, "is not a domain name"},
		"type":          {"192.0.2.53", func(c *Config) { c.Type = "AXFR" }, 0, `type: "AXFR" is not known`},
		"path":          {"192.0.2.53", func(c *Config) { c.Transport, c.Path = overHTTPS, "dns" }, 0, `path: "dns" does not begin with a slash`},
	} {
		t.Run(name, func(t *testing.T) {
			config := defaults()
			test.change(&config)
			target, err := probes.ParseTarget(test.target, portDNS)
			if err != nil {
				t.Fatal(err)
			}
			p, err := build(config, probetest.Env(t, nil), target)
			if test.text != "" {
				if err == nil || !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || p.(*probe).target.Port != test.port {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	var questions []question
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.TypeMX} {
		q := question{id: 7, name: dnsmessage.MustNewName("example.com."), kind: kind}
		asked, err := query(q)
		if err != nil {
			f.Fatal(err)
		}
		questions = append(questions, q)
		f.Add(asked)
		f.Add(zone(asked))
		f.Add(changed(func(m *dnsmessage.Message) { m.Truncated, m.RCode = true, dnsmessage.RCodeServerFailure })(asked))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, q := range questions {
			r, err := q.read(message)
			if err != nil {
				continue
			}
			if binary.BigEndian.Uint16(message) != q.id || message[2]&0x80 == 0 || len(r.addresses) > r.records || r.String() == "" {
				t.Errorf("%x was taken for %+v", message, r)
			}
		}
	})
}

func FuzzReadFramed(f *testing.F) {
	f.Add("\x00\x03abc")
	f.Add("\xff\xffabc")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, stream string) {
		message, err := readFramed(strings.NewReader(stream))
		if err == nil && !strings.HasPrefix(stream[2:], string(message)) {
			t.Errorf("%q yields %q", stream, message)
		}
	})
}
