package dns

import (
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

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
