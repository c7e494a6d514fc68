package reflector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
	"github.com/nrprobe/nrprobe/probes/quic"
	"github.com/nrprobe/nrprobe/probes/tcp"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// packets answers each datagram with its first byte.
func packets(_ context.Context, pc net.PacketConn) error {
	b := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return err
		}
		_, _ = pc.WriteTo(b[:min(n, 1)], from)
	}
}

func farEnds() []farend.Service {
	log := slog.New(slog.DiscardHandler)
	return []farend.Service{
		{Name: "stamp", Packets: packets},
		tcp.FarEnd(log),
		quic.FarEnd(log),
		{Name: "http", HTTP: map[string]http.Handler{"GET /zeros": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) })}},
	}
}

// onLoopback is the default configuration on free ports of the loopback interface.
func onLoopback(t *testing.T) Config {
	t.Helper()
	c := Defaults()
	for _, l := range []*Listen{&c.STAMP.Listen, &c.Streams, &c.TLS, &c.QUIC} {
		l.Addresses = []string{"127.0.0.1:0"}
	}
	c.Data, c.Names, c.Grace = t.TempDir(), []string{"localhost", "127.0.0.1"}, 100*time.Millisecond
	return c
}

func realNetwork(t *testing.T) probes.Network {
	t.Helper()
	n, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start runs a reflector until the test, or the function returned, ends it.
func start(t *testing.T, config Config, network probes.Network) (*Reflector, func()) {
	t.Helper()
	r, err := New(config, network, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})), farEnds()...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func run(t *testing.T, kind probes.Kind, env probes.Env, text string, change func(any)) *probes.Result {
	t.Helper()
	target, err := probes.ParseTarget(text, kind.Port)
	if err != nil {
		t.Fatal(err)
	}
	config := kind.NewConfig()
	if change != nil {
		change(config)
	}
	probe, err := kind.Build(config, env, target)
	if err != nil {
		t.Fatal(err)
	}
	var result *probes.Result
	(&probes.Runner{Agent: "a", Boot: "b"}).Run(t.Context(), probes.Job{Kind: kind.Name, Name: "p", Target: text, Probe: probe, Timeout: kind.Timeout(config)},
		func(r *probes.Result) { result = r })
	return result
}

// quick makes runs short. Without a delay on the way, quic-go may take in the far end's parameters while a 0-RTT stream is
// being opened, which the race detector reports (quic-go issue 4303, open): 0-RTT is tested in virtual time.
func quick(config any) {
	switch c := config.(type) {
	case *tcp.Config:
		c.Interval, c.EchoTimeout = time.Millisecond, time.Minute
	case *quic.Config:
		c.Interval, c.Resume = time.Millisecond, false
	}
}

func TestProbesAcrossLoopback(t *testing.T) {
	r, _ := start(t, onLoopback(t), realNetwork(t))
	env := probetest.Env(t, realNetwork(t))
	env.TLS = trust.Policy{Pin: r.Pin()}.TLS
	addrs := r.Addrs()
	result := run(t, tcp.Kind(), env, addrs.Streams[0].String(), quick)
	if result.Outcome != probes.OK || result.Values["packets_received"] != 10 {
		t.Errorf("tcp: %s %s %v", result.Outcome, result.Error, result.Values)
	}
	if runtime.GOOS == "linux" && (result.Values["transport_rtt_seconds"] <= 0 || result.Values["congestion_window_bytes"] <= 0) {
		t.Errorf("tcp: the kernel's own figures are missing: %v", result.Values)
	}
	result = run(t, tcp.Kind(), env, addrs.TLS[0].String(), func(c any) { c.(*tcp.Config).Count, c.(*tcp.Config).Echo = 1, false })
	if result.Outcome != probes.OK {
		t.Errorf("tcp without echo: %s %s", result.Outcome, result.Error)
	}
	result = run(t, quic.Kind(), env, addrs.QUIC[0].String(), quick)
	if result.Outcome != probes.OK || result.Values["packets_sent"] != 20 || result.Values["handshake_seconds"] <= 0 {
		t.Errorf("quic: %s %s %v %v", result.Outcome, result.Error, result.Values, result.Info)
	}
	env.TLS = trust.Policy{Pin: trust.Pin(nil)}.TLS
	result = run(t, quic.Kind(), env, addrs.QUIC[0].String(), quick)
	if result.Outcome != probes.Auth || !strings.Contains(result.Error, "has the pin "+r.Pin()) {
		t.Errorf("quic with another pin: %s %s", result.Outcome, result.Error)
	}
}

func TestHTTP(t *testing.T) {
	r, _ := start(t, onLoopback(t), realNetwork(t))
	conf := trust.Policy{Pin: r.Pin()}.TLS(probes.Target{Host: "127.0.0.1", Port: 1})
	h2 := &http.Transport{TLSClientConfig: conf.Clone(), ForceAttemptHTTP2: true}
	defer h2.CloseIdleConnections()
	h1 := &http.Transport{TLSClientConfig: conf.Clone()}
	defer h1.CloseIdleConnections()
	h3 := &http3.Transport{TLSClientConfig: conf.Clone()}
	defer h3.Close()
	for _, test := range []struct {
		transport http.RoundTripper
		addr      net.Addr
		proto     string
	}{{h1, r.Addrs().TLS[0], "HTTP/1.1"}, {h2, r.Addrs().TLS[0], "HTTP/2.0"}, {h3, r.Addrs().QUIC[0], "HTTP/3.0"}} {
		for path, want := range map[string]string{"/": about, "/zeros": strings.Repeat("\x00", 100), "/none": "404 page not found\n"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+test.addr.String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := test.transport.RoundTrip(request)
			if err != nil {
				t.Fatalf("%s %s: %v", test.proto, path, err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || string(body) != want || response.Proto != test.proto {
				t.Errorf("%s %s: %s %q, %v", test.proto, path, response.Proto, body, err)
			}
		}
	}
}

func TestGarbageIsCountedAndAnsweredWithSilence(t *testing.T) {
	r, stop := start(t, onLoopback(t), realNetwork(t))
	addrs := r.Addrs()
	garbage := bytes.Repeat([]byte("\x00\xff\x17nonsense"), 120)
	for _, addr := range []net.Addr{addrs.Streams[0], addrs.TLS[0]} {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(garbage)
		if reply, err := io.ReadAll(c); len(reply) > 7 || err != nil && !errors.Is(err, syscall.ECONNRESET) { // 7: a TLS alert
			t.Errorf("%s answered %q, %v", addr, reply, err)
		}
		_ = c.Close()
	}
	for _, addr := range []net.Addr{addrs.QUIC[0], addrs.STAMP[0]} {
		c, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []byte{0x00, 0x40, 0xc0, 0xff} {
			_, _ = c.Write(append([]byte{first}, garbage...))
		}
		_ = c.Close()
	}
	env := probetest.Env(t, realNetwork(t))
	env.TLS = trust.Policy{Pin: r.Pin()}.TLS
	if result := run(t, quic.Kind(), env, addrs.QUIC[0].String(), quick); result.Outcome != probes.OK {
		t.Errorf("afterwards quic: %s %s", result.Outcome, result.Error)
	}
	if result := run(t, tcp.Kind(), env, addrs.Streams[0].String(), quick); result.Outcome != probes.OK {
		t.Errorf("afterwards tcp: %s %s", result.Outcome, result.Error)
	}
	stop() // so that everything has been counted
	if s := r.Stats(); s.Streams.Garbage != 1 || s.TLS.Garbage != 1 || s.QUIC.Garbage == 0 || s.Streams.Accepted != 2 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// inABubble runs a reflector on an emulated host, with the virtual clock where a certificate made now is valid.
func inABubble(t *testing.T, change func(*Config)) (r *Reflector, edge *netsim.Host, stop func()) {
	t.Helper()
	n := netsim.New(1)
	edge, far := n.Host("edge", "192.0.2.2"), n.Host("far.example", "192.0.2.1")
	link := netsim.State{Delay: 10 * time.Millisecond}
	n.Connect(edge, far, link, link)
	config := Defaults()
	config.Data = t.TempDir()
	if change != nil {
		change(&config)
	}
	r, end := start(t, config, far)
	return r, edge, func() {
		end()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if open := far.Sockets(); open != 0 {
			t.Errorf("the reflector left %d sockets open", open)
		}
	}
}

func TestTenMillisecondsEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, edge, stop := inABubble(t, nil)
		defer stop()
		env := probetest.Env(t, edge)
		env.TLS = trust.Policy{Pin: r.Pin()}.TLS
		result := run(t, tcp.Kind(), env, "far.example", nil)
		for _, name := range []string{"connect_seconds", "rtt_min_seconds", "rtt_max_seconds"} {
			if result.Values[name] != 0.02 {
				t.Errorf("tcp %s = %v (%s %s)", name, result.Values[name], result.Outcome, result.Error)
			}
		}
		result = run(t, quic.Kind(), env, "far.example", nil)
		for _, name := range []string{"handshake_seconds", "resumed_seconds", "rtt_min_seconds", "rtt_max_seconds"} {
			if result.Values[name] != 0.02 {
				t.Errorf("quic %s = %v (%s %s)", name, result.Values[name], result.Outcome, result.Error)
			}
		}
	})
}

func TestShutdownGivesGraceAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		r, edge, stop := inABubble(t, nil)
		c, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:8620")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, farend.PreambleEcho)
		pc, err := edge.ListenPacket(t.Context(), "udp", "")
		if err != nil {
			t.Fatal(err)
		}
		transport := &quicgo.Transport{Conn: pc}
		conf := trust.Policy{Pin: r.Pin()}.TLS(probes.Target{Host: "far.example", Port: 8443})
		conf.NextProtos = []string{farend.ALPNEcho}
		q, err := transport.Dial(t.Context(), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8443}, conf, &quicgo.Config{EnableDatagrams: true})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			stop()
		}()
		time.Sleep(time.Second)
		_, _ = io.WriteString(c, "still there")
		b := make([]byte, 11)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "still there" {
			t.Errorf("within the grace: %q, %v", b, err)
		}
		if _, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:8620"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection within the grace: %v", err)
		}
		<-stopped
		if took := time.Since(begin); took != Defaults().Grace {
			t.Errorf("shutdown took %v", took)
		}
		if _, err := q.ReceiveDatagram(t.Context()); err == nil {
			t.Error("the QUIC connection goes on")
		}
		_, _ = transport.Close(), pc.Close()
	})
}

func TestShutdownWithoutConnectionsTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, stop := inABubble(t, nil)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}
