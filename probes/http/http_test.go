package http

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// page answers every path of the test server.
func page(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/":
		_, _ = io.WriteString(w, "hello")
	case "/think":
		time.Sleep(30 * time.Millisecond)
		_, _ = io.WriteString(w, "hello")
	case "/slow":
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(w, "second")
	case "/hang":
		<-req.Context().Done()
	case "/large":
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(make([]byte, 5000))
	case "/moved":
		http.Redirect(w, req, "/", http.StatusFound)
	case "/loop":
		http.Redirect(w, req, "/loop", http.StatusFound)
	case "/away":
		http.Redirect(w, req, "http://other.example/", http.StatusMovedPermanently)
	case "/mail":
		http.Redirect(w, req, "mailto:someone@far.example", http.StatusMovedPermanently)
	default:
		http.NotFound(w, req)
	}
}

// serve is a web server for all versions, with TLS on 443 and without on 80.
func serve(ctx context.Context, network probes.Network) error {
	secure, err := network.Listen(ctx, "tcp", ":443")
	if err != nil {
		return err
	}
	plain, err := network.Listen(ctx, "tcp", ":80")
	if err != nil {
		return errors.Join(err, secure.Close())
	}
	pc, err := network.ListenPacket(ctx, "udp", ":443")
	if err != nil {
		return errors.Join(err, secure.Close(), plain.Close())
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: http.HandlerFunc(page), TLSConfig: probetest.ServerTLS(), Protocols: protocols,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: time.Minute,
	}
	third := &http3.Server{Handler: http.HandlerFunc(page), TLSConfig: http3.ConfigureTLSConfig(probetest.ServerTLS())}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ServeTLS(secure, "", "") })
	wg.Go(func() { _ = server.Serve(plain) })
	wg.Go(func() { _ = third.Serve(pc) })
	<-ctx.Done()
	err = errors.Join(server.Close(), third.Close(), pc.Close())
	wg.Wait()
	return err
}

func TestContract(t *testing.T) {
	for version, closed := range map[string]probes.Outcome{"auto": probes.Refused, "1.1": probes.Refused, "3": probes.Timeout} {
		t.Run(version, func(t *testing.T) {
			probetest.Suite{Kind: Kind(), Serve: serve, Closed: closed, Config: func(c any) { c.(*Config).Version = version }}.Run(t)
		})
	}
}

// setting is one measurement in a bubble, across a link of 10 ms each way.
type setting struct {
	target string // far.example when empty
	change func(*Config)
	link   netsim.Profile
	serve  func(context.Context, probes.Network) error
	tls    func(probes.Target) *tls.Config
}

func (s setting) measure(t *testing.T) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, s.link, s.link)
	b.Net.Name("other.example", probetest.FarAddress4)
	if s.serve == nil {
		s.serve = serve
	}
	b.Serve(s.serve)
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
	for version, test := range map[string]struct {
		scheme, path, protocol string
		values                 map[string]float64
	}{
		"auto": {"https", "/", "HTTP/2.0", map[string]float64{"connect_seconds": 0.02, "handshake_seconds": 0.02, "ttfb_seconds": 0.02, "transfer_seconds": 0}},
		"1.1":  {"https", "/think", "HTTP/1.1", map[string]float64{"connect_seconds": 0.02, "handshake_seconds": 0.02, "ttfb_seconds": 0.05, "transfer_seconds": 0}},
		"2":    {"http", "/slow", "HTTP/2.0", map[string]float64{"connect_seconds": 0.02, "ttfb_seconds": 0.02, "transfer_seconds": 0.05}},
		"3":    {"https", "/slow", "HTTP/3.0", map[string]float64{"handshake_seconds": 0.02, "ttfb_seconds": 0.02, "transfer_seconds": 0.05}},
	} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setting{change: func(c *Config) { c.Version, c.Scheme, c.Path = version, test.scheme, test.path }}.measure(t)
				if r.Outcome != probes.OK || r.Error != "" {
					t.Errorf("%s: %s", r.Outcome, r.Error)
				}
				probetest.Expect(t, r, test.values)
				probetest.Expect(t, r, map[string]float64{"resolve_seconds": 0, "packets_sent": 5, "packets_received": 5, "packets_lost": 0, "loss_ratio": 0})
				if r.Info["protocol"] != test.protocol || r.Info["status"] != "200" || r.Info["url"] != test.scheme+"://far.example"+test.path {
					t.Errorf("info: %v", r.Info)
				}
				if want := map[string]string{"https": "TLS 1.3"}[test.scheme]; r.Info["tls_version"] != want {
					t.Errorf("TLS version %q, want %q", r.Info["tls_version"], want)
				}
				_, connected := r.Values["connect_seconds"]
				if _, want := test.values["connect_seconds"]; connected != want {
					t.Errorf("values: %v", r.Values)
				}
			})
		})
	}
}

func TestKeptConnection(t *testing.T) {
	for _, version := range []string{"1.1", "2", "3"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setting{change: func(c *Config) { c.Keep, c.Version = true, version }}.measure(t)
				if n := r.Hists["handshake"].Count(); n != 1 || r.Outcome != probes.OK {
					t.Errorf("%d handshakes, %s: %s", n, r.Outcome, r.Error)
				}
				if r.Hists["ttfb"].Count() != 5 {
					t.Errorf("%v first bytes", r.Hists["ttfb"].Count())
				}
				probetest.Expect(t, r, map[string]float64{"ttfb_max_seconds": 0.02, "packets_received": 5, "transferred_down_bytes": 25})
				if want := 4*time.Second + 20*time.Millisecond; r.Elapsed < want || r.Elapsed > want+40*time.Millisecond {
					t.Errorf("took %v", r.Elapsed)
				}
			})
		})
	}
}

func TestBodyIsCut(t *testing.T) {
	for size, test := range map[int]struct {
		cut        string
		handshakes uint64
	}{4999: {"true", 5}, 5000: {"", 1}} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setting{change: func(c *Config) {
					c.Path, c.Keep, c.Version = "/large", true, "1.1"
					_ = c.MaxBody.UnmarshalText([]byte(strconv.Itoa(size)))
				}}.measure(t)
				if r.Outcome != probes.OK || r.Info["body_cut"] != test.cut || r.Hists["handshake"].Count() != test.handshakes {
					t.Errorf("%s: %s, info %v, %v handshakes", r.Outcome, r.Error, r.Info, r.Hists["handshake"].Count())
				}
				probetest.Expect(t, r, map[string]float64{"transferred_down_bytes": float64(5 * size)})
			})
		})
	}
}

func TestRedirects(t *testing.T) {
	for name, test := range map[string]struct {
		path      string
		redirects int
		outcome   probes.Outcome
		status    string
		connects  uint64
		text      string
	}{
		"not asked for":    {"/moved", 0, probes.OK, "302", 1, ""},
		"followed":         {"/moved", 1, probes.OK, "200", 2, ""},
		"too many":         {"/loop", 3, probes.OK, "302", 4, ""},
		"to another host":  {"/away", 5, probes.OK, "200", 2, ""},
		"to something odd": {"/mail", 5, probes.Invalid, "301", 1, "its scheme is neither https nor http"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setting{change: func(c *Config) { c.Count, c.Path, c.Redirects = 1, test.path, test.redirects }}.measure(t)
				if r.Outcome != test.outcome || r.Info["status"] != test.status || !strings.Contains(r.Error, test.text) {
					t.Errorf("%s: %s, status %s", r.Outcome, r.Error, r.Info["status"])
				}
				if n := r.Hists["connect"].Count(); n != test.connects {
					t.Errorf("%d connections, want %d", n, test.connects)
				}
			})
		})
	}
}

// speaks is a server on port 443 that says one thing, whatever it is told, and hangs up.
func speaks(text string) func(context.Context, probes.Network) error {
	return func(ctx context.Context, network probes.Network) error {
		l, err := network.Listen(ctx, "tcp", ":443")
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}
}

// oldServer speaks HTTP/1.1 over TLS 1.2 alone.
func oldServer(ctx context.Context, network probes.Network) error {
	l, err := network.Listen(ctx, "tcp", ":443")
	if err != nil {
		return err
	}
	conf := probetest.ServerTLS()
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	server := &http.Server{
		Handler: http.HandlerFunc(page), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: time.Minute,
		TLSConfig: conf, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ServeTLS(l, "", "") })
	<-ctx.Done()
	err = server.Close()
	wg.Wait()
	return err
}

func TestFailures(t *testing.T) {
	system := func(target probes.Target) *tls.Config { return &tls.Config{ServerName: target.Host} }
	pinned := func(probes.Target) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return probes.Fail(probes.Auth, "the pin differs") }}
	}
	plain := func(c *Config) { c.Scheme = "http" }
	for name, test := range map[string]struct {
		setting setting
		outcome probes.Outcome
		text    string
		values  map[string]float64
	}{
		"no answer": {
			setting{link: netsim.State{Down: true}},
			probes.Timeout, "far.example:443: no complete answer within 10s",
			map[string]float64{"packets_sent": 5, "packets_lost": 5, "loss_ratio": 1},
		},
		"no such name":     {setting{target: "nobody.example"}, probes.Unreachable, "nobody.example", nil},
		"nobody listens":   {setting{target: "far.example:444"}, probes.Refused, "connecting to 192.0.2.1:444", nil},
		"hangs":            {setting{change: func(c *Config) { c.Path = "/hang" }}, probes.Timeout, "no complete answer within 10s", map[string]float64{"handshake_seconds": 0.02}},
		"status":           {setting{change: func(c *Config) { c.Path = "/nowhere" }}, probes.Invalid, "https://far.example/nowhere answered with status 404 Not Found, want one below 400", map[string]float64{"packets_received": 5, "ttfb_seconds": 0.02}},
		"another status":   {setting{change: func(c *Config) { c.Status = 204 }}, probes.Invalid, "answered with status 200 OK, want 204 No Content", nil},
		"expected status":  {setting{change: func(c *Config) { c.Path, c.Status = "/nowhere", 404 }}, probes.OK, "", nil},
		"not TLS":          {setting{serve: speaks("220 mail.example ESMTP\r\n")}, probes.Invalid, "is that a port for TLS?", nil},
		"not HTTP":         {setting{target: "far.example:443", change: plain, serve: speaks("220 mail.example ESMTP\r\n")}, probes.Invalid, "does not answer as the protocol wants", nil},
		"TLS, not asked":   {setting{target: "far.example:443", change: plain}, probes.Invalid, "answered with status 400 Bad Request", nil},
		"hangs up":         {setting{serve: speaks("")}, probes.Refused, "closed the connection before the answer was complete", nil},
		"hangs up half":    {setting{target: "far.example:443", change: plain, serve: speaks("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")}, probes.Refused, "reading the answer of far.example:443", map[string]float64{"packets_lost": 5, "transferred_down_bytes": 20}},
		"certificate":      {setting{tls: system}, probes.Auth, "no public authority vouches for", nil},
		"certificate, 3":   {setting{tls: system, change: func(c *Config) { c.Version = "3" }}, probes.Auth, "QUIC handshake with far.example:443", nil},
		"pin":              {setting{tls: pinned}, probes.Auth, "the pin differs", nil},
		"pin, 3":           {setting{tls: pinned, change: func(c *Config) { c.Version = "3" }}, probes.Auth, "the pin differs", nil},
		"old":              {setting{serve: oldServer}, probes.OK, "", map[string]float64{"handshake_seconds": 0.04}},
		"too old":          {setting{serve: oldServer, change: func(c *Config) { c.Version = "2" }}, probes.Refused, "far.example:443", nil},
		"unencrypted, 1.1": {setting{change: plain}, probes.OK, "", map[string]float64{"connect_seconds": 0.02, "ttfb_seconds": 0.02}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.setting.measure(t)
				if r.Outcome != test.outcome || !strings.Contains(r.Error, test.text) || (r.Error == "") != (test.text == "") {
					t.Errorf("%s: %q, want %s: %q", r.Outcome, r.Error, test.outcome, test.text)
				}
				probetest.Expect(t, r, test.values)
			})
		})
	}
}

func TestSomeRequestsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.WithOutages(netsim.State{Delay: 10 * time.Millisecond}, netsim.Interval{Start: 900 * time.Millisecond, End: 2900 * time.Millisecond})
		r := setting{link: link, change: func(c *Config) { c.RequestTimeout = 500 * time.Millisecond }}.measure(t)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{"packets_sent": 5, "packets_received": 3, "packets_lost": 2, "loss_ratio": 0.4, "ttfb_max_seconds": 0.02})
	})
}

func TestBuild(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		change func(*Config)
		url    string
		text   string
	}{
		"plain":     {"far.example", func(*Config) {}, "https://far.example/", ""},
		"port":      {"far.example:8443", func(c *Config) { c.Path = "/a?b=c" }, "https://far.example:8443/a?b=c", ""},
		"http":      {"far.example", func(c *Config) { c.Scheme = "http" }, "http://far.example/", ""},
		"http, 443": {"far.example:443", func(c *Config) { c.Scheme = "http" }, "http://far.example:443/", ""},
		"v6":        {"2001:db8::1", func(*Config) {}, "https://[2001:db8::1]/", ""},
		"v6, port":  {"[2001:db8::1]:80", func(*Config) {}, "https://[2001:db8::1]:80/", ""},
		"h3":        {"far.example", func(c *Config) { c.Scheme, c.Version = "http", "3" }, "", "version: HTTP/3 is always encrypted"},
		"relative":  {"far.example", func(c *Config) { c.Path = "index.html" }, "", `path: "index.html" does not begin with a slash`},
		"broken":    {"far.example", func(c *Config) { c.Path = "/%zz" }, "", "path: "},
	} {
		t.Run(name, func(t *testing.T) {
			config := defaults()
			test.change(&config)
			target, err := probes.ParseTarget(test.target, portHTTPS)
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
			if err != nil || p.(*probe).url.String() != test.url {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}
