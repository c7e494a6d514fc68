package capacity

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestChangingRate: 20 Mbit/s for four seconds, then 60: the capacity is that of the best second, and the search has to
// climb there in steps of 1 Mbit/s.
func TestChangingRate(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
				if elapsed < 4*time.Second {
					return mbit(20)
				}
				return mbit(60)
			})
			w := newWorld(t, link, DefaultLimits())
			r := w.measure(t.Context(), func(c *Config) { c.Direction = direction })
			got, want := r.Values["ip_capacity_"+direction+"_bytes_per_second"], ipRate(60*megabit, maxSize)
			if r.Outcome != probes.OK || math.Abs(got/want-1) > 0.03 {
				t.Errorf("%s: %s %s, capacity %v bytes/s, want %v", direction, r.Outcome, r.Error, got, want)
			}
		})
	}
}

// TestShortOutage: an interruption below the second of the stop rules costs packets and ends nothing.
func TestShortOutage(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.WithOutages(mbit(20), netsim.Interval{Start: 3 * time.Second, End: 3800 * time.Millisecond})
			w := newWorld(t, link, DefaultLimits())
			r := w.measure(t.Context(), func(c *Config) { c.Direction = direction })
			got, want := r.Values["ip_capacity_"+direction+"_bytes_per_second"], ipRate(20*megabit, maxSize)
			if r.Outcome != probes.OK || math.Abs(got/want-1) > 0.03 || r.Values["packets_lost"] == 0 {
				t.Errorf("%s: %s %s, capacity %v bytes/s, want %v; %v", direction, r.Outcome, r.Error, got, want, r.Values)
			}
		})
	}
}

// TestLongOutage: the link is dead for 20 s from the third second on. The run ends by the stop rules with what it had, and
// the far end is free a second later.
func TestLongOutage(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		synctest.Test(t, func(t *testing.T) {
			link := netsim.WithOutages(mbit(20), netsim.Interval{Start: 3 * time.Second, End: 23 * time.Second})
			w := newWorld(t, link, DefaultLimits())
			start := time.Now()
			looked := make(chan struct{})
			watch := time.AfterFunc(4300*time.Millisecond, func() {
				defer close(looked)
				if n := w.Far.Sockets(); n > 1 {
					t.Errorf("%s: the far end holds %d sockets after 1.3 s without a client", direction, n)
				}
			})
			defer watch.Stop()
			r := w.measure(t.Context(), func(c *Config) { c.Direction = direction })
			took := time.Since(start)
			<-looked
			got, want := r.Values["ip_capacity_"+direction+"_bytes_per_second"], ipRate(20*megabit, maxSize)
			if r.Outcome != probes.Timeout || !r.Quality.Has(probes.Partial) || math.Abs(got/want-1) > 0.03 {
				t.Errorf("%s: %s %q %v, capacity %v bytes/s, want %v", direction, r.Outcome, r.Error, r.Quality, got, want)
			}
			if took > 10*time.Second {
				t.Errorf("%s: took %v", direction, took)
			}
		})
	}
}

// TestFarEndKilled: the control connection's end is noticed at once.
func TestFarEndKilled(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		for _, mode := range []string{"search", "train"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mbit(20), DefaultLimits())
				timer := time.AfterFunc(800*time.Millisecond, w.Kill)
				defer timer.Stop()
				start := time.Now()
				r := w.measure(t.Context(), func(c *Config) { c.Mode, c.Direction, c.Trains = mode, direction, maxTrains })
				if r.Outcome != probes.Error || !strings.Contains(r.Error, "closed the session") {
					t.Errorf("%s %s: %s %q", mode, direction, r.Outcome, r.Error)
				}
				if took := time.Since(start); took > 1100*time.Millisecond {
					t.Errorf("%s %s: took %v", mode, direction, took)
				}
				if r.Values["ip_capacity_"+direction+"_bytes_per_second"] <= 0 {
					t.Errorf("%s %s: nothing is left of what was measured: %v", mode, direction, r.Values)
				}
			})
		}
	}
}

// TestClientGone: a client that was ended frees the far end as soon as the word of it has arrived.
func TestClientGone(t *testing.T) {
	for _, direction := range []string{"down", "up"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit(20), DefaultLimits())
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, context.Canceled)
			defer cancel()
			r := w.measure(ctx, func(c *Config) { c.Direction = direction })
			if r.Outcome != probes.Canceled {
				t.Errorf("%s: %s %q", direction, r.Outcome, r.Error)
			}
			time.Sleep(200 * time.Millisecond)
			w.checkFree()
		})
	}
}

func TestLimits(t *testing.T) {
	limits := Limits{Sessions: 1, Duration: 2 * time.Second, Bytes: 1e6, Rate: 5 * megabit}
	for name, c := range map[string]struct {
		change  func(*Config)
		outcome probes.Outcome
		text    string
	}{
		"duration": {func(c *Config) { c.Duration = 3 * time.Second }, probes.Refused, "duration: 3s is more than the 2s that are granted"},
		"bytes":    {func(c *Config) { c.Duration, c.MaxBytes = time.Second, 1e7 }, probes.Refused, "max_bytes: 10000000 is more than the 1000000 that are granted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit(20), limits)
			if r := w.measure(t.Context(), c.change); r.Outcome != c.outcome || !strings.Contains(r.Error, c.text) {
				t.Errorf("%s: %s %q, want %s %q", name, r.Outcome, r.Error, c.outcome, c.text)
			}
			time.Sleep(time.Second)
			w.checkFree()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit(20), limits)
		r := w.measure(t.Context(), func(c *Config) { c.Duration = 2 * time.Second })
		if sent := r.Values["packets_sent"] * (maxSize + 28); r.Outcome != probes.OK || sent > 1e6 || sent < 1e6-2500 || r.Info["limited_by"] != "max_rate" {
			t.Errorf("%s %q: %v bytes sent, want the 1 MB that is granted, at the rate that is: %v", r.Outcome, r.Error, sent, r.Info)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit(20), Limits{Sessions: 1, Duration: time.Minute, Bytes: 1e9})
		first := w.probe(func(c *Config) { c.Duration = time.Second })
		outcome := make(chan probes.Outcome, 1)
		go func() {
			rec := probes.NewRecorder()
			outcome <- probes.Classify(first.Measure(t.Context(), rec))
		}()
		time.Sleep(500 * time.Millisecond)
		second := w.probe(func(*Config) {})
		if err := second.Measure(t.Context(), probes.NewRecorder()); probes.Classify(err) != probes.Busy {
			t.Errorf("the second session: %v, want busy", err)
		}
		if got := <-outcome; got != probes.OK {
			t.Errorf("the first session: %v", got)
		}
	})
}

// TestIPv6CountsItsHeaders: over IPv6 each datagram has 48 bytes of headers, and the capacity has them too.
func TestIPv6CountsItsHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mbit(20), DefaultLimits())
		c := defaults()
		c.Size = 500
		r := w.Measure(t.Context(), probes.Define(Kind(), defaults, build), &c, probetest.FarAddress6)
		got, want := r.Values["ip_capacity_down_bytes_per_second"], 20*megabit*548./500
		if r.Outcome != probes.OK || math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s %q: capacity %v bytes/s, want %v", r.Outcome, r.Error, got, want)
		}
	})
}

// stranger is a third host, and a session that was asked for and not yet begun.
type stranger struct {
	*world
	net.PacketConn
	control net.Conn
	token   token
	target  *net.UDPAddr
}

func newStranger(t *testing.T) *stranger {
	w := newWorld(t, mbit(20), DefaultLimits())
	host := w.Net.Host("stranger", "10.0.0.66")
	w.Net.Connect(host, w.Far, mbit(20), mbit(20))
	s := &stranger{world: w}
	var err error
	if s.PacketConn, err = host.ListenPacket(t.Context(), "udp4", ""); err != nil {
		t.Fatal(err)
	}
	if s.control, err = w.Edge.Dial(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(probetest.FarAddress4), 8620).String()); err != nil {
		t.Fatal(err)
	}
	plan := (&Config{Direction: "down", Duration: time.Second, Size: maxSize}).plan()
	frame, err := frames.Append([]byte(Preamble), message{Open: &plan})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.control.Write(frame); err != nil {
		t.Fatal(err)
	}
	m, err := readMessage(s.control)
	if err != nil || m.Accepted == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	s.token = m.Accepted.Token
	s.target = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(probetest.FarAddress4), m.Accepted.Port))
	return s
}

// ask sends a datagram and returns all that comes back within three tenths of a second.
func (s *stranger) ask(t *testing.T, b []byte) (answers [][]byte) {
	t.Helper()
	if _, err := s.WriteTo(b, s.target); err != nil {
		t.Fatal(err)
	}
	_ = s.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	for {
		answer := make([]byte, 2000)
		n, _, err := s.ReadFrom(answer)
		if err != nil {
			return answers
		}
		answers = append(answers, answer[:n])
	}
}

// TestNoAnswerToStrangers: garbage, and whoever does not know the token, gets nothing; who knows it gets a challenge
// smaller than what he sent, and no load before the challenge is met from the same address.
func TestNoAnswerToStrangers(t *testing.T) {
	packet := func(kind kindOf, own token) []byte {
		b := make([]byte, helloSize)
		putHeader(b, kind, own)
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStranger(t)
		for name, b := range map[string][]byte{
			"nothing":            {},
			"zeros":              make([]byte, 1400),
			"a STAMP packet":     binary.BigEndian.AppendUint32(nil, 1),
			"hello with a guess": packet(helloPacket, token{1}),
			"a short hello":      packet(helloPacket, s.token)[:helloSize-1],
			"confirm unasked":    packet(confirmPacket, s.token),
			"load":               packet(loadPacket, s.token),
		} {
			if answers := s.ask(t, b); len(answers) > 0 {
				t.Errorf("%s is answered with %d datagrams", name, len(answers))
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStranger(t)
		hello := packet(helloPacket, s.token)
		answers := s.ask(t, hello)
		if len(answers) != 1 || len(answers[0]) > len(hello) {
			t.Fatalf("a hello is answered with %d datagrams", len(answers))
		}
		own, err := s.Edge.ListenPacket(t.Context(), "udp4", "")
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		confirm := packet(confirmPacket, s.token)
		copy(confirm[headerSize:], answers[0][headerSize:])
		if _, err := own.WriteTo(confirm, s.target); err != nil { // the stranger's cookie from another address
			t.Fatal(err)
		}
		_ = own.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, _, err := own.ReadFrom(make([]byte, 2000)); err == nil {
			t.Errorf("a cookie of another address is answered with %d bytes", n)
		}
		s.checkRefused(t)
	})
}

// checkRefused holds that a session nobody proved an address for is given up.
func (s *stranger) checkRefused(t *testing.T) {
	t.Helper()
	if m, err := readMessage(s.control); err != nil || m.Refused == nil || m.Refused.Outcome != string(probes.Timeout) {
		t.Errorf("the far end says %+v, %v, want that no datagram came", m, err)
	}
	synctest.Wait()
	if n := s.active.Load(); n > 0 {
		t.Errorf("%d sessions are held", n)
	}
}

// TestStrangersDoNotDisturb: what a third host sends to the port of a running session changes nothing.
func TestStrangersDoNotDisturb(t *testing.T) {
	values := map[bool]map[string]float64{}
	for _, disturbed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mbit(20), DefaultLimits())
			host := w.Net.Host("stranger", "10.0.0.66")
			w.Net.Connect(host, w.Far, netsim.State{}, netsim.State{})
			w.Net.Connect(host, w.Edge, netsim.State{}, netsim.State{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if disturbed {
				timer := time.AfterFunc(500*time.Millisecond, func() { flood(ctx, t, host) })
				defer timer.Stop()
			}
			r := w.measure(t.Context(), func(c *Config) { c.Duration = 2 * time.Second })
			if r.Outcome != probes.OK {
				t.Errorf("%s %q", r.Outcome, r.Error)
			}
			values[disturbed] = r.Values
		})
	}
	for name, want := range values[false] {
		if got := values[true][name]; got != want {
			t.Errorf("%s: %v with a stranger's datagrams, %v without", name, got, want)
		}
	}
}

// flood sends feedback and load with guessed tokens to all ports that may be in use.
func flood(ctx context.Context, t *testing.T, host *netsim.Host) {
	pc, err := host.ListenPacket(ctx, "udp4", "")
	if err != nil {
		t.Error(err)
		return
	}
	for port := range 8 {
		for _, to := range []string{probetest.FarAddress4, "10.0.0.1"} {
			target := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), uint16(49152+port)))
			load := make([]byte, maxSize)
			putHeader(load, loadPacket, token{})
			for _, b := range [][]byte{feedback{number: 1 << 40, lost: 1000}.encode(token{}), load, nil} {
				if _, err := pc.WriteTo(b, target); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestLostFeedback: when only the feedback's way is interrupted, for less than ends the test, the load is reduced until
// it comes again.
func TestLostFeedback(t *testing.T) {
	sent := map[bool]float64{}
	for _, interrupted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, netsim.State{}, DefaultLimits())
			back := netsim.Profile(netsim.State{Delay: 10 * time.Millisecond})
			if interrupted {
				back = netsim.WithOutages(back, netsim.Interval{Start: time.Second, End: 1700 * time.Millisecond})
			}
			w.Net.Connect(w.Edge, w.Far, netsim.State{Delay: 10 * time.Millisecond}, back)
			r := w.measure(t.Context(), func(c *Config) { c.Direction, c.Duration, c.MaxRate = "up", 3*time.Second, 40*megabit })
			if r.Outcome != probes.OK || r.Values["packets_lost"] != 0 {
				t.Errorf("%s %q, %v packets lost", r.Outcome, r.Error, r.Values["packets_lost"])
			}
			if want := map[bool]string{false: "max_rate", true: "path"}[interrupted]; r.Info["limited_by"] != want {
				t.Errorf("feedback interrupted: %v, limited by %q, want %q", interrupted, r.Info["limited_by"], want)
			}
			sent[interrupted] = r.Values["packets_sent"]
		})
	}
	if sent[true] > 0.9*sent[false] {
		t.Errorf("%v datagrams were sent with the feedback interrupted, %v without", sent[true], sent[false])
	}
}
