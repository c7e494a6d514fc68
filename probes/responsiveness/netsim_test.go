package responsiveness

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// handler serves a far end's HTTP handlers.
func handler(service farend.Service) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range service.HTTP {
		mux.Handle(pattern, h)
	}
	return mux
}

// serve serves HTTP/2 and HTTP/3 on the TLS port until ctx ends.
func serve(ctx context.Context, network probes.Network, h http.Handler) error {
	l, pc, err := listenBoth(ctx, network, ":8443")
	if err != nil {
		return err
	}
	return serveOn(ctx, l, pc, h)
}

// listenBoth opens one port for TCP and UDP.
func listenBoth(ctx context.Context, network probes.Network, address string) (net.Listener, net.PacketConn, error) {
	l, err := network.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	pc, err := network.ListenPacket(ctx, "udp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, pc, nil
}

// tracking is a listener that remembers its connections, to close them at once: http.Server.Close would hold a mutex while
// TLS waits for room to say goodbye, which stops the time of a synctest bubble.
type tracking struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *tracking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *tracking) closeAll() error {
	err := l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close() // most have been closed
	}
	return err
}

func serveOn(ctx context.Context, plain net.Listener, pc net.PacketConn, h http.Handler) error {
	l := &tracking{Listener: plain}
	conf := probetest.ServerTLS()
	var serving sync.WaitGroup
	h2 := &http.Server{Handler: h, TLSConfig: conf.Clone(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	serving.Go(func() { _ = h2.ServeTLS(l, "", "") })
	transport := &quic.Transport{Conn: pc}
	listener, err := transport.ListenEarly(http3.ConfigureTLSConfig(conf), &quic.Config{})
	if err != nil {
		return errors.Join(err, l.Close(), pc.Close())
	}
	h3 := &http3.Server{Handler: h}
	serving.Go(func() { _ = h3.ServeListener(listener) })
	<-ctx.Done()
	err = errors.Join(l.closeAll(), h2.Close(), h3.Close(), listener.Close(), transport.Close(), pc.Close())
	serving.Wait()
	return err
}

func TestSuite(t *testing.T) {
	h := handler(FarEnd(slog.New(slog.DiscardHandler)))
	for _, version := range []string{"2", "3"} {
		t.Run("HTTP/"+version, func(t *testing.T) {
			closed := probes.Refused
			if version == "3" {
				closed = probes.Timeout
			}
			probetest.Suite{
				Kind: Kind(), Closed: closed,
				Serve: func(ctx context.Context, network probes.Network) error { return serve(ctx, network, h) },
				Config: func(config any) {
					c := config.(*Config)
					c.HTTP, c.Direction, c.Interval, c.Duration, c.MaxBytes = version, "down", 100*time.Millisecond, time.Second, 50e6
				},
			}.Run(t)
		})
	}
}

// world is a bench with a server on its far host.
type world struct {
	*probetest.Bench
	t *testing.T
}

func newWorld(t *testing.T, link netsim.Profile, h http.Handler) world {
	t.Helper()
	w := world{probetest.NewBench(t, link, link), t}
	w.Serve(func(ctx context.Context, far probes.Network) error {
		if err := serve(ctx, far, h); ctx.Err() == nil {
			return err
		}
		return nil // how a server that is told to close closes says nothing
	})
	return w
}

// measure runs one probe, which asks for no lease.
func (w world) measure(ctx context.Context, change func(*Config)) *probes.Result {
	c := defaults()
	change(&c)
	return w.Measure(ctx, probes.Define(Kind(), defaults, build), &c, probetest.FarName)
}

// TestFullQueue: a link of 10 Mbit/s with 20 ms of round trip, whose queue streams keep filled to three quarters of its
// 200 ms. What a probe waits is that and the round trip; the queue of a busy link is never much emptier.
func TestFullQueue(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		t.Run("HTTP/"+version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 250_000}
				w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
				r := w.measure(t.Context(), func(c *Config) { c.HTTP, c.Direction, c.Connections = version, "down", 4 })
				if r.Outcome != probes.OK {
					t.Fatalf("outcome %s (%s)", r.Outcome, r.Error)
				}
				if got := r.Values["goodput_down_bytes_per_second"]; got < 0.85*1.25e6 || got > 1.25e6 {
					t.Errorf("goodput %v bytes/s on a link of 1.25 MB/s", got)
				}
				if got := r.Values["loaded_latency_seconds"]; got < 0.1 || got > 0.35 {
					t.Errorf("a request on a loaded connection took %v s, want the queue and the round trip", got)
				}
				if rpm := r.Values["responsiveness_rpm"]; rpm < 200 || rpm > 700 {
					t.Errorf("%v round trips per minute", rpm)
				}
			})
		})
	}
}

// TestShortQueue: with a queue of 10 ms, the same link answers promptly, and the score says so.
func TestShortQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 12_500}
		w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
		r := w.measure(t.Context(), func(c *Config) { c.Direction = "down" })
		if rpm := r.Values["responsiveness_rpm"]; r.Outcome != probes.OK || rpm < 1000 || rpm > 3000 {
			t.Errorf("outcome %s (%s), %v round trips per minute, want less than the 3,000 of an idle link and more than 1,000", r.Outcome, r.Error, rpm)
		}
		if r.Info["confidence"] != "high" || r.Info["ended_by"] != "stability" || r.Info["draft"] != Draft || r.Info["rating"] != "good" {
			t.Errorf("info %v", r.Info)
		}
	})
}

// Over HTTP/2, net/http holds a mutex while it writes, and a full uplink would then stop the time of a synctest bubble: both
// directions are tested in virtual time over HTTP/3, and over HTTP/2 in TestLoopback.
func TestBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}
		w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
		r := w.measure(t.Context(), func(c *Config) { c.HTTP = "3" })
		up, down := r.Values["goodput_up_bytes_per_second"], r.Values["goodput_down_bytes_per_second"]
		if r.Outcome != probes.OK || up < 0.7*1.25e6 || up > 1.3e6 || down < 0.7*1.25e6 || down > 1.25e6 {
			t.Errorf("outcome %s (%s), %v up, %v down", r.Outcome, r.Error, up, down)
		}
		if _, ok := r.Values["connect_seconds"]; ok {
			t.Error("a time of TCP's handshake over HTTP/3")
		}
	})
}

// loadable is the directions that can be loaded in virtual time.
func loadable(version string) string {
	if version == "2" {
		return "down"
	}
	return "both"
}

func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}
		w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
		r := w.measure(t.Context(), func(c *Config) { c.Direction, c.MaxBytes = "down", 3e6 })
		if got := r.Values["transferred_down_bytes"]; r.Outcome != probes.OK || r.Info["ended_by"] != "max_bytes" || got < 3e6 || got > 3.1e6 {
			t.Errorf("outcome %s (%s), ended by %s, %v bytes", r.Outcome, r.Error, r.Info["ended_by"], got)
		}
		if r.Info["confidence"] != "low" {
			t.Errorf("confidence %q after %v", r.Info["confidence"], r.Elapsed)
		}
	})
}

func TestServerEnds(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}
			w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
			time.AfterFunc(3*time.Second, w.Kill)
			r := w.measure(t.Context(), func(c *Config) { c.HTTP, c.Direction = version, loadable(version) })
			if r.Outcome != probes.Error || !strings.Contains(r.Error, "a load-generating connection failed") || !r.Quality.Has(probes.Partial) {
				t.Errorf("HTTP/%s: outcome %s (%s), flags %v", version, r.Outcome, r.Error, r.Quality)
			}
			if r.Elapsed > 4*time.Second || r.Values["transferred_down_bytes"] < 1e6 {
				t.Errorf("HTTP/%s: ended after %v with %v bytes", version, r.Elapsed, r.Values["transferred_down_bytes"])
			}
		})
	}
}

func TestBlackhole(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.WithOutages(netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}, netsim.Interval{Start: 3 * time.Second, End: time.Hour})
			w := newWorld(t, link, handler(FarEnd(slog.New(slog.DiscardHandler))))
			r := w.measure(t.Context(), func(c *Config) { c.HTTP, c.Direction = version, loadable(version) })
			if r.Outcome == probes.OK || r.Elapsed > 21*time.Second || r.Values["transferred_down_bytes"] < 1e6 {
				t.Errorf("HTTP/%s: outcome %s (%s) after %v with %v bytes", version, r.Outcome, r.Error, r.Elapsed, r.Values["transferred_down_bytes"])
			}
		})
	}
}

// TestOtherServers: what a server that is none, or an odd one, leads to.
func TestOtherServers(t *testing.T) {
	config := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == wellKnown {
				_, _ = io.WriteString(w, text)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		})
	}
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	for what, c := range map[string]struct {
		h       http.Handler
		outcome probes.Outcome
		text    string
	}{
		"not there":      {http.NotFoundHandler(), probes.Refused, "404 Not Found"},
		"overloaded":     {status(503), probes.Busy, "503 Service Unavailable"},
		"too many":       {status(429), probes.Busy, "429 Too Many Requests"},
		"redirects":      {http.RedirectHandler("https://example.com", http.StatusFound), probes.Invalid, "302 Found"},
		"a web page":     {config("<html>"), probes.Invalid, "no configuration"},
		"a large page":   {config(strings.Repeat("a", maxConfiguration+1)), probes.Invalid, "more than 65536 bytes"},
		"redirect later": {config(`{"version":1,"urls":{"small_download_url":"https://far.example:8443/s","large_download_url":"https://far.example:8443/l","upload_url":"https://far.example:8443/u"}}`), probes.Invalid, "302 Found"},
		"unknown host":   {config(`{"version":1,"urls":{"small_download_url":"https://nobody.example/s","large_download_url":"https://nobody.example/l","upload_url":"https://nobody.example/u"}}`), probes.Unreachable, "nobody.example"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}, c.h)
			r := w.measure(t.Context(), func(c *Config) { c.Direction = "down" })
			if r.Outcome != c.outcome || !strings.Contains(r.Error, c.text) {
				t.Errorf("%s: outcome %s (%s), want %s", what, r.Outcome, r.Error, c.outcome)
			}
		})
	}
}

// TestResources asks our server as the draft lets a client ask.
func TestResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, netsim.State{Delay: 10 * ms}, handler(FarEnd(slog.New(slog.DiscardHandler))))
		conf := probetest.ClientTLS(probes.Target{Host: probetest.FarName})
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: conf, DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := w.Edge.Dial(ctx, network, "192.0.2.1:8443")
			if err != nil {
				return nil, err
			}
			conf := conf.Clone()
			conf.NextProtos = []string{"h2"}
			secured := tls.Client(c, conf)
			return secured, secured.HandshakeContext(ctx)
		}}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		do := func(method, path, body string) (*http.Response, string) {
			request, err := http.NewRequestWithContext(t.Context(), method, "https://far.example:8443"+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(io.LimitReader(response.Body, 5000))
			if err != nil {
				t.Fatal(err)
			}
			return response, string(text)
		}
		response, text := do("GET", wellKnown, "")
		if _, err := parseConfiguration([]byte(text)); err != nil || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: %s", err, text)
		}
		for _, key := range []string{"small_https_download_url", "large_https_download_url", "https_upload_url", "small_download_url", "large_download_url", "upload_url"} {
			if !strings.Contains(text, `"`+key+`":"https://far.example:8443/nq/`) {
				t.Errorf("no %s in %s", key, text)
			}
		}
		if response, text := do("GET", smallPath, ""); len(text) != 1 || response.ContentLength != 1 || response.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("small: %q, %v", text, response.Header)
		}
		if response, _ := do("GET", largePath, ""); response.ContentLength < 8e9 {
			t.Errorf("large announces %d bytes, want 8 GB at least", response.ContentLength)
		}
		if response, _ := do("POST", uploadPath, strings.Repeat("a", 100_000)); response.StatusCode != http.StatusOK {
			t.Errorf("upload: %s", response.Status)
		}
		if response, _ := do("GET", wellKnown+"?a=b", ""); response.StatusCode != http.StatusBadRequest {
			t.Errorf("a query: %s", response.Status)
		}
		if response, _ := do("POST", largePath, ""); response.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST to large: %s", response.Status)
		}
	})
}
