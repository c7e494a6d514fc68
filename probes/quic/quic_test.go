package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// server is a far end of QUIC alone.
type server struct {
	alpn   string
	config quicgo.Config
	serve  func(context.Context, *quicgo.Conn) error
}

func echoServer() server {
	return server{
		alpn: farend.ALPNEcho, config: quicgo.Config{Allow0RTT: true, EnableDatagrams: true},
		serve: FarEnd(slog.New(slog.DiscardHandler)).QUIC[farend.ALPNEcho],
	}
}

func (s server) run(ctx context.Context, network probes.Network) error {
	pc, err := network.ListenPacket(ctx, "udp", ":8443")
	if err != nil {
		return err
	}
	conf := probetest.ServerTLS()
	conf.NextProtos = []string{s.alpn}
	conf.SetSessionTicketKeys([][32]byte{{1}})
	transport := &quicgo.Transport{Conn: pc}
	l, err := transport.ListenEarly(conf, &s.config)
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	var wg sync.WaitGroup
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			break
		}
		wg.Go(func() {
			_ = s.serve(ctx, c)
			_ = c.CloseWithError(0, "")
		})
	}
	wg.Wait()
	return errors.Join(l.Close(), transport.Close(), pc.Close())
}

func TestContract(t *testing.T) {
	probetest.Suite{Kind: Kind(), Serve: echoServer().run}.Run(t)
}

// setting is one measurement in a bubble.
type setting struct {
	server server
	change func(*Config)
	up     netsim.Profile
	tls    func(probes.Target) *tls.Config
}

func (s setting) measure(t *testing.T) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, s.up, nil)
	if s.server.serve != nil {
		b.Serve(s.server.run)
	}
	if s.tls != nil {
		b.Env.TLS = s.tls
	}
	config := defaults()
	if s.change != nil {
		s.change(&config)
	}
	return b.Measure(t.Context(), Kind(), &config, probetest.FarName)
}

func tenMilliseconds() netsim.State { return netsim.State{Delay: 10 * time.Millisecond} }

func TestTenMillisecondsEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{server: echoServer()}.measure(t)
		if r.Outcome != probes.OK || r.Error != "" {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{
			"handshake_seconds": 0.02, "resumed_seconds": 0.02, "rtt_min_seconds": 0.02, "rtt_max_seconds": 0.02, "resolve_seconds": 0,
			"stream_rtt_min_seconds": 0.02, "stream_rtt_max_seconds": 0.02,
			"packets_sent": 20, "packets_received": 20, "packets_lost": 0, "packets_duplicated": 0, "packets_reordered": 0, "loss_ratio": 0,
			"transport_min_rtt_seconds": 0.02, "transport_packets_lost": 0, "schedule_error_max_seconds": 0,
		})
		for key, want := range map[string]string{"used_0rtt": "true", "congestion_control": "newreno", "quic_version": "v1", "gso": "false", "address": "192.0.2.1:8443", "stream_echoes": "20 of 20"} {
			if r.Info[key] != want {
				t.Errorf("%s is %q, want %q", key, r.Info[key], want)
			}
		}
		if !strings.HasPrefix(r.Info["quic_implementation"], "quic-go") {
			t.Errorf("info: %v", r.Info)
		}
	})
}

func TestLostDatagramsStayLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The sixth to the tenth datagram leave 250 to 450 ms after the handshake, which takes 20 ms.
		up := netsim.WithOutages(tenMilliseconds(), netsim.Interval{Start: 265 * time.Millisecond, End: 475 * time.Millisecond})
		r := setting{server: echoServer(), up: up, change: func(c *Config) { c.Resume = false }}.measure(t)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{"packets_sent": 20, "packets_received": 15, "packets_lost": 5, "loss_ratio": 0.25, "rtt_max_seconds": 0.02})
	})
}

// TestStreamsSendAgain loses the first of three echoes with the packet that carries it.
func TestStreamsSendAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The handshake takes 20 ms; the echoes leave 25, 75 and 125 ms after it.
		up := netsim.WithOutages(tenMilliseconds(), netsim.Interval{Start: 40 * time.Millisecond, End: 60 * time.Millisecond})
		r := setting{server: echoServer(), up: up, change: func(c *Config) { c.Count, c.Resume = 3, false }}.measure(t)
		if r.Outcome != probes.OK || r.Info["stream_echoes"] != "3 of 3" {
			t.Errorf("%s: %s: %s", r.Outcome, r.Error, r.Info["stream_echoes"])
		}
		probetest.Expect(t, r, map[string]float64{"packets_lost": 0, "rtt_max_seconds": 0.02, "stream_rtt_min_seconds": 0.02})
		if h := r.Hists["stream_rtt"]; h.Count() != 3 || h.Max() <= 0.04 {
			t.Errorf("%d echoes, the slowest %v s: the first was lost", h.Count(), h.Max())
		}
	})
}

func TestStreamsCanBeLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{server: echoServer(), change: func(c *Config) { c.Stream = false }}.measure(t)
		if _, measured := r.Hists["stream_rtt"]; measured || r.Outcome != probes.OK || r.Values["packets_received"] != 20 {
			t.Errorf("%s: %s: %v", r.Outcome, r.Error, r.Values)
		}
	})
}

func TestMissingZeroRTTIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := echoServer()
		s.config.Allow0RTT = false
		r := setting{server: s}.measure(t)
		if _, measured := r.Values["resumed_seconds"]; measured || r.Outcome != probes.OK || r.Info["used_0rtt"] != "false" {
			t.Errorf("%s %s, used_0rtt %q, values %v", r.Outcome, r.Error, r.Info["used_0rtt"], r.Values)
		}
	})
}

func TestFailures(t *testing.T) {
	other := echoServer()
	other.alpn = "h3"
	silent := echoServer()
	silent.serve = func(_ context.Context, c *quicgo.Conn) error {
		<-c.Context().Done()
		return nil
	}
	plain := silent
	plain.config.EnableDatagrams = false
	rude := echoServer()
	rude.serve = func(_ context.Context, c *quicgo.Conn) error { return c.CloseWithError(7, "go away") }
	foreign := echoServer()
	foreign.serve = func(_ context.Context, c *quicgo.Conn) error {
		_ = c.SendDatagram([]byte("hi"))
		_ = c.SendDatagram([]byte("something else"))
		<-c.Context().Done()
		return nil
	}
	for name, test := range map[string]struct {
		setting setting
		outcome probes.Outcome
		text    string
	}{
		"no answer":       {setting{}, probes.Timeout, "no QUIC handshake with far.example:8443 within 5s"},
		"another service": {setting{server: other}, probes.Refused, "serves no probes of ours: is it nrprobe reflector?"},
		"no datagrams":    {setting{server: plain}, probes.Refused, "speaks QUIC without datagrams"},
		"silent":          {setting{server: silent}, probes.Timeout, "took the connection and sent no datagram back within 3s"},
		"rude":            {setting{server: rude}, probes.Refused, "far.example:8443 ended the connection"},
		"foreign":         {setting{server: foreign}, probes.Invalid, "sent datagrams that were not ours"},
		"certificate":     {setting{server: echoServer(), tls: func(probes.Target) *tls.Config { return &tls.Config{ServerName: "far.example"} }}, probes.Auth, "certificate of far.example:8443"},
		"policy": {setting{server: echoServer(), tls: func(probes.Target) *tls.Config {
			return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return probes.Fail(probes.Auth, "the pin differs") }}
		}}, probes.Auth, "the pin differs"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.setting.measure(t)
				if r.Outcome != test.outcome || !strings.Contains(r.Error, test.text) {
					t.Errorf("%s: %q, want %s: %q", r.Outcome, r.Error, test.outcome, test.text)
				}
			})
		})
	}
}

func TestExplain(t *testing.T) {
	m := &run{probe: &probe{target: probes.Target{Host: "far.example", Port: 8443}}}
	for _, test := range []struct {
		err  error
		want probes.Outcome
	}{
		{&quicgo.VersionNegotiationError{Theirs: []quicgo.Version{0x1a2a3a4a}}, probes.Invalid},
		{&quicgo.TransportError{ErrorCode: quicgo.ConnectionRefused, Remote: true}, probes.Busy},
		{&quicgo.TransportError{ErrorCode: client.AlertNoALPN, Remote: true}, probes.Refused},
		{&quicgo.TransportError{ErrorCode: 0x174, Remote: true}, probes.Auth},
		{&quicgo.TransportError{ErrorCode: quicgo.ProtocolViolation}, probes.Invalid},
		{&quicgo.StatelessResetError{}, probes.Refused},
		{&quicgo.IdleTimeoutError{}, probes.Timeout},
		{&quicgo.HandshakeTimeoutError{}, probes.Timeout},
		{&net.OpError{Op: "write", Err: errors.New("anything")}, probes.Error},
	} {
		if err := m.explain(t.Context(), test.err); probes.Classify(err) != test.want || !strings.Contains(err.Error(), "far.example:8443") {
			t.Errorf("%T: %v (%s), want %s", test.err, err, probes.Classify(err), test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.explain(ctx, &quicgo.IdleTimeoutError{}); probes.Classify(err) != probes.Canceled {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestTally(t *testing.T) {
	r := probes.NewRecorder()
	tally := &tally{r: r, want: 3, done: make(chan struct{}), received: make([]bool, 3), highest: -1}
	now := time.Now()
	for range 3 {
		tally.begin()
	}
	for _, number := range []byte{0, 2, 1, 1, 9} {
		tally.arrived([]byte{0, 0, 0, 0, 0, 0, 0, number}, now)
	}
	tally.arrived([]byte("short"), now)
	select {
	case <-tally.done:
	default:
		t.Error("all are back, and it is not done")
	}
	tally.account()
	probetest.Expect(t, r.Snapshot(), map[string]float64{"packets_sent": 3, "packets_received": 3, "packets_duplicated": 1, "packets_reordered": 1, "loss_ratio": 0})
	if tally.foreign != 2 {
		t.Errorf("%d foreign, want 2", tally.foreign)
	}
}

func FuzzArrived(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 3)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255}, 1)
	f.Add([]byte("short"), 0)
	f.Fuzz(func(t *testing.T, payload []byte, sent int) {
		const want = 4
		tally := &tally{r: probes.NewRecorder(), want: want, done: make(chan struct{}), received: make([]bool, want), highest: -1}
		for range min(max(sent, 0), want) {
			tally.begin()
		}
		for range 2 {
			tally.arrived(payload, time.Now())
		}
		if tally.count > len(tally.sent) || tally.count == 0 && tally.foreign != 2 || tally.count > 0 && tally.foreign > 0 {
			t.Errorf("%d counted and %d foreign of two copies of %q, %d sent", tally.count, tally.foreign, payload, len(tally.sent))
		}
	})
}
