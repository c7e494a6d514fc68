package dns

import (
	"cmp"
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

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
	b := probetest.NewBench(t, s.link, s.link)
	if s.server == nil {
		s.server = zone
	}
	b.Serve(s.server.serve)
	if s.tls != nil {
		b.Env.TLS = s.tls
	}
	config := defaults()
	if s.change != nil {
		s.change(&config)
	}
	return b.Measure(t.Context(), Kind(), &config, cmp.Or(s.target, probetest.FarName))
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
					probetest.Expect(t, r, map[string]float64{
						"answer_min_seconds": 0.02, "answer_max_seconds": 0.02, "resolve_seconds": 0,
						"packets_sent": 5, "packets_received": 5, "packets_lost": 0, "loss_ratio": 0,
					})
					connections := uint64(5)
					if keep {
						connections = 1
					}
					for _, phase := range phases[transport] {
						probetest.Expect(t, r, map[string]float64{phase + "_seconds": 0.02})
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
				probetest.Expect(t, r, map[string]float64{"packets_sent": 5, "packets_received": 0, "packets_lost": 5, "loss_ratio": 1})
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
		probetest.Expect(t, r, map[string]float64{"packets_sent": 5, "packets_received": 3, "packets_lost": 2, "loss_ratio": 0.4, "answer_max_seconds": 0.02})
	})
}
