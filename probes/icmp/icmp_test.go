package icmp

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// port carries the ICMP messages of the emulated network, which has datagrams of UDP only.
const port = 8620

// kernelID is the identifier that the emulated kernel writes into every message, as Linux does on datagram sockets.
const kernelID = 0xbeef

// emulated gives an emulated network datagram sockets of ICMP.
type emulated struct {
	probes.Network
	refuse func(n int) error // what the kernel says to the nth message; nil when it takes all
}

// DialICMP implements probes.ICMPNetwork.
func (e emulated) DialICMP(ctx context.Context, to netip.Addr) (c probes.ICMPConn, raw bool, err error) {
	u, err := e.Dial(ctx, "udp", netip.AddrPortFrom(to, port).String())
	return &emulatedConn{Conn: u, refuse: e.refuse}, false, err
}

type emulatedConn struct {
	net.Conn
	refuse func(n int) error
	writes int
}

// Write implements probes.ICMPConn.
func (c *emulatedConn) Write(message []byte) (int, error) {
	c.writes++
	if c.refuse != nil {
		if err := c.refuse(c.writes); err != nil {
			return 0, err
		}
	}
	message = bytes.Clone(message)
	message[4], message[5] = kernelID>>8, kernelID&0xff
	return c.Conn.Write(message)
}

// Read implements probes.ICMPConn.
func (c *emulatedConn) Read(b []byte) (probes.ICMPArrival, error) {
	n, err := c.Conn.Read(b)
	return probes.ICMPArrival{Size: n, TTL: 57, Time: time.Now()}, err
}

// reply makes the echo reply to a request; nil for anything else.
func reply(request []byte) []byte {
	b := bytes.Clone(request)
	switch {
	case len(b) < 8:
		return nil
	case b[0] == 8: // RFC 792
		b[0] = 0
	case b[0] == 128: // RFC 4443
		b[0] = 129
	default:
		return nil
	}
	return b
}

// answers is a far host whose kernel answers each request as it is told.
func answers(answer func(n int, request []byte, send func([]byte))) func(context.Context, probes.Network) error {
	return func(ctx context.Context, network probes.Network) error {
		pc, err := network.ListenPacket(ctx, "udp", ":8620")
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { _ = pc.Close() })()
		b := make([]byte, 65536)
		for n := 1; ; n++ {
			size, from, err := pc.ReadFrom(b)
			if err != nil {
				return nil
			}
			answer(n, bytes.Clone(b[:size]), func(m []byte) { _, _ = pc.WriteTo(m, from) })
		}
	}
}

func atOnce(_ int, request []byte, send func([]byte)) {
	if r := reply(request); r != nil {
		send(r)
	}
}

// held answers the numbered request after a time, and all others at once.
func held(number int, by time.Duration) func(int, []byte, func([]byte)) {
	return func(n int, request []byte, send func([]byte)) {
		if n == number {
			time.AfterFunc(by, func() { send(reply(request)) })
			return
		}
		send(reply(request))
	}
}

// kind measures on a network that it gives sockets of ICMP.
func kind(refuse func(int) error) probes.Kind {
	return probes.Define(Kind(), defaults, func(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
		env.Net = emulated{Network: env.Net, refuse: refuse}
		return build(c, env, target)
	})
}

func TestContract(t *testing.T) {
	probetest.Suite{Kind: kind(nil), Serve: answers(atOnce)}.Run(t)
}

// setting is one measurement in a bubble, across a link of 10 ms each way.
type setting struct {
	change func(*Config)
	up     netsim.Profile
	answer func(int, []byte, func([]byte))
	refuse func(int) error
	v6     bool
}

func (s setting) measure(t *testing.T) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, s.up, nil)
	if s.answer == nil {
		s.answer = atOnce
	}
	b.Serve(answers(s.answer))
	config := defaults()
	if s.change != nil {
		s.change(&config)
	}
	host := probetest.FarName
	if s.v6 {
		host = probetest.FarAddress6
	}
	return b.Measure(t.Context(), kind(s.refuse), &config, host)
}

func TestFigures(t *testing.T) {
	good := map[string]float64{
		"packets_sent": 20, "packets_received": 20, "packets_lost": 0, "packets_late": 0, "packets_duplicated": 0, "packets_reordered": 0,
		"packets_refused": 0, "loss_ratio": 0, "rtt_min_seconds": 0.02, "rtt_p50_seconds": 0.02, "rtt_max_seconds": 0.02, "schedule_error_max_seconds": 0,
	}
	outage := netsim.WithOutages(netsim.State{Delay: 10 * time.Millisecond}, netsim.Interval{Start: 990 * time.Millisecond, End: 1990 * time.Millisecond})
	whole := 19*200*time.Millisecond + 20*time.Millisecond
	for name, test := range map[string]struct {
		setting setting
		values  map[string]float64
		took    time.Duration
	}{
		"all is well": {setting{}, nil, whole},
		"IPv6":        {setting{v6: true}, nil, whole},
		"outage":      {setting{up: outage}, map[string]float64{"packets_received": 15, "packets_lost": 5, "loss_ratio": 0.25}, whole + 2980*time.Millisecond},
		"late reply": {
			setting{answer: held(5, 1500*time.Millisecond)},
			map[string]float64{"packets_late": 1, "packets_reordered": 1, "rtt_max_seconds": 1.52},
			whole,
		},
		"late reply to the last": {
			setting{answer: held(20, 2500*time.Millisecond)},
			map[string]float64{"packets_late": 1, "rtt_max_seconds": 2.52},
			whole + 2500*time.Millisecond,
		},
		"reply after the end": {
			setting{answer: held(20, 3*time.Second)},
			map[string]float64{"packets_received": 19, "packets_lost": 1, "loss_ratio": 0.05},
			whole + 2980*time.Millisecond,
		},
		"one overtaken": {
			setting{answer: held(3, 250*time.Millisecond)},
			map[string]float64{"packets_reordered": 1, "rtt_max_seconds": 0.27},
			whole,
		},
		"copies": {
			setting{answer: func(n int, request []byte, send func([]byte)) {
				send(reply(request))
				if n <= 3 {
					send(reply(request))
				}
			}},
			map[string]float64{"packets_duplicated": 3},
			whole,
		},
		"others' messages": {
			setting{answer: func(_ int, request []byte, send func([]byte)) {
				send(request)                           // an echo request of the far end
				send([]byte{3, 1, 0, 0, 0, 0, 0, 0})    // destination unreachable
				send(append(reply(request), "more"...)) // not what was sent
				send(reply(request))
			}}, nil, whole,
		},
		"the kernel's refusals": {
			setting{refuse: func(n int) error {
				if n == 4 || n == 9 {
					return syscall.ENOBUFS
				}
				return nil
			}},
			map[string]float64{"packets_sent": 18, "packets_received": 18, "packets_refused": 2},
			whole,
		},
		"an error told on the occasion of a write": {
			setting{refuse: func(n int) error {
				if n == 4 {
					return syscall.ECONNREFUSED
				}
				return nil
			}}, nil, whole,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.setting.measure(t)
				if r.Outcome != probes.OK || r.Error != "" || r.Elapsed != test.took {
					t.Errorf("%s: %s, took %v, want %v", r.Outcome, r.Error, r.Elapsed, test.took)
				}
				want := maps.Clone(good)
				maps.Copy(want, test.values)
				probetest.Expect(t, r, want)
				if r.Info["ttl"] != "57" || r.Info["socket"] != "datagram" || r.Quality.Has(probes.KernelRefused) != (test.values["packets_refused"] > 0) {
					t.Errorf("info %v, flags %v", r.Info, r.Quality)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		setting setting
		outcome probes.Outcome
		text    string
	}{
		"silence": {setting{answer: func(int, []byte, func([]byte)) {}}, probes.Timeout, "far.example answered none of 20 ICMP echo requests"},
		"something else": {setting{answer: func(_ int, request []byte, send func([]byte)) {
			r := reply(request)
			r[8] ^= 1
			send(r)
		}}, probes.Invalid, "sent back something else"},
		"another time": {setting{answer: func(_ int, request []byte, send func([]byte)) {
			r := reply(request)
			r[8+stampAt+7] ^= 1
			send(r)
		}}, probes.Invalid, "sent back something else"},
		"nothing leaves": {setting{refuse: func(int) error { return syscall.ENETUNREACH }}, probes.Unreachable, "sending to far.example: network is unreachable"},
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

func TestNetworkWithoutICMP(t *testing.T) {
	n := netsim.New(1)
	defer n.Close()
	p, err := build(defaults(), probetest.Env(t, n.Host("edge", "192.0.2.2")), probes.Target{Host: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Measure(t.Context(), probes.NewRecorder()); probes.Classify(err) != probes.Error || !strings.Contains(err.Error(), "no sockets for it") {
		t.Errorf("got %v", err)
	}
}

func TestPortIsRefused(t *testing.T) {
	if _, err := build(defaults(), probetest.Env(t, nil), probes.Target{Host: "far.example", Port: 80}); err == nil || err.Error() != "target: ICMP has no ports: write far.example" {
		t.Errorf("got %v", err)
	}
}

func TestEachRunHasItsOwnIdentifier(t *testing.T) {
	p := &probe{config: defaults(), env: probetest.Env(t, nil)}
	first, second := p.newSession(netip.MustParseAddr("192.0.2.1"), true), p.newSession(netip.MustParseAddr("192.0.2.1"), true)
	if first.id == second.id || first.token == second.token {
		t.Errorf("%v and %v", first, second)
	}
}

func TestWhatIsOnItsWayAtACancelIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := probes.NewRecorder()
		tally := newTally(r, time.Second)
		for i := range 4 { // at 0, 600 ms, 1.2 s and 1.8 s, of 2.4 s
			tally.begin(time.Duration(i) * 600 * time.Millisecond)
			tally.left(i, nil)
			time.Sleep(600 * time.Millisecond)
		}
		tally.account(false)
		v := r.Snapshot().Values
		if v["packets_sent"] != 4 || v["packets_lost"] != 3 || v["loss_ratio"] != 0.75 {
			t.Errorf("values: %v", v)
		}
	})
}

func TestChangesOfTTLAreNoted(t *testing.T) {
	r := probes.NewRecorder()
	tally := newTally(r, time.Second)
	for i, ttl := range []int{57, 57, 0, 55, 57} {
		tally.begin(0)
		tally.arrived(uint64(i), 0, probes.ICMPArrival{TTL: ttl, Time: time.Now()})
	}
	if got := r.Snapshot().Info["ttl"]; got != "57,55" {
		t.Errorf("noted %q", got)
	}
}

func TestRawSocketsSeeOthers(t *testing.T) {
	s := &session{v4: true, id: 7, raw: true, size: leastBytes}
	m, err := s.request(1<<16+3, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	number, stamp, v := s.reply(reply(m))
	if v != ours || number != 1<<16+3 || stamp != time.Second {
		t.Errorf("%v, %v, %v", number, stamp, v)
	}
	s.id = 8
	if _, _, v := s.reply(reply(m)); v != others {
		t.Errorf("a reply to somebody else is %v", v)
	}
	if _, _, v := s.reply(m); v != others {
		t.Errorf("a request is %v", v)
	}
}

func FuzzReply(f *testing.F) {
	sessions := []*session{{v4: true, id: 7, raw: true, size: 56}, {id: 7, size: leastBytes}}
	for _, s := range sessions {
		m, err := s.request(5, time.Millisecond)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(reply(m))
		f.Add(m)
	}
	f.Add([]byte{})
	f.Add([]byte{3, 1, 0, 0, 0, 0, 0, 0, 0x45})
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, s := range sessions {
			number, stamp, v := s.reply(message)
			if v != ours {
				continue
			}
			again, err := s.request(number, stamp)
			if err != nil || !bytes.Equal(reply(again)[numberAt+8:8+leastBytes], message[numberAt+8:8+leastBytes]) {
				t.Errorf("%x was taken for number %d at %v: %v", message, number, stamp, err)
			}
		}
	})
}

func TestErrorsOfTheSocketEndTheReading(t *testing.T) {
	p := &probe{config: defaults()}
	want := errors.New("the interface has gone")
	c := &brokenConn{err: want}
	if err := p.receive(c, &session{}, newTally(probes.NewRecorder(), time.Second)); !errors.Is(err, want) || c.reads != maxErrors {
		t.Errorf("%v after %d reads", err, c.reads)
	}
}

type brokenConn struct {
	probes.ICMPConn
	err   error
	reads int
}

// Read implements probes.ICMPConn.
func (c *brokenConn) Read([]byte) (probes.ICMPArrival, error) {
	c.reads++
	return probes.ICMPArrival{}, c.err
}
