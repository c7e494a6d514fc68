package stamp

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes/netsim"
)

// TestForgedRequestsAreTurnedDown holds what a reflector says to a code that does not fit its key, and how often.
func TestForgedRequestsAreTurnedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := newResponder(t, Reflector{Key: bytes.Repeat([]byte{7}, 16)})
		answer := func(alter int) ([]byte, int) {
			packet := append(unhex(t, goldenRequestAuth), make([]byte, hmacSize)...)
			rs.sign.signBase(packet)
			packet = append(packet, unhex(t, "80 03 0004 00000000")...)
			if alter >= 0 {
				packet[alter] ^= 1
			}
			n := rs.answer(packet, len(packet), &exchange{arrival: goldenArrival()})
			rs.depart(packet, golden.UnixNano())
			return packet, n
		}
		packet, n := answer(100)
		var p reply
		if n != len(packet) || !p.parse(packet, authenticated) {
			t.Fatalf("%d octets of %d", n, len(packet))
		}
		q := request{}
		q.parse(append(unhex(t, goldenRequestAuth), make([]byte, hmacSize)...), authenticated)
		if p.senderSeq != q.seq || p.t1 != q.t1 || p.ssid != q.ssid || p.seq != 0 || p.t2 != 0 || p.t3 != 0 {
			t.Errorf("turned down with %+v", p)
		}
		if code := packet[baseSizeAuth-hmacSize : baseSizeAuth]; !bytes.Equal(code, make([]byte, hmacSize)) {
			t.Errorf("turned down with a code, %x", code)
		}
		if tlv(packet[baseSizeAuth:]).flags()&flagIntegrity == 0 {
			t.Error("the extension has no I flag")
		}
		if len(rs.table.sessions) != 0 {
			t.Error("a stranger has a session")
		}
		if _, n = answer(100); n != 0 {
			t.Error("turned down twice at once")
		}
		if packet, n = answer(-1); n != len(packet) || !rs.sign.checkBase(packet) {
			t.Error("a request with the right code was not answered")
		}
		time.Sleep(turnDownAfter)
		if _, n = answer(5); n != 0 {
			t.Error("a request of the other layout was turned down: its sender would take that for a reply")
		}
		if packet, n = answer(100); n != len(packet) {
			t.Error("not turned down again")
		}
	})
}

// counted is a socket that counts what is sent on it.
type counted struct {
	net.PacketConn
	packets *atomic.Int64
}

func (c counted) WriteTo(b []byte, to net.Addr) (int, error) {
	c.packets.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

// answers is how many packets two reflectors on ports of their own send after one that seems to come from the first has
// arrived at the second.
func answers(t *testing.T, forged []byte, keys [2][]byte) int {
	t.Helper()
	var packets atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		network := netsim.New(1)
		defer network.Close()
		hosts := [2]*netsim.Host{network.Host("a", "192.0.2.7"), network.Host("b", "192.0.2.8")}
		network.Connect(hosts[0], hosts[1], netsim.State{Delay: 5 * ms}, netsim.State{Delay: 5 * ms})
		serving, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		var sockets [2]net.PacketConn
		for i, host := range hosts {
			pc, err := host.ListenPacket(t.Context(), "udp", fmt.Sprintf(":%d", 9000+i))
			if err != nil {
				t.Fatal(err)
			}
			sockets[i] = pc
			r := Reflector{Key: keys[i], Log: quiet()}
			served.Go(func() {
				if err := r.Serve(serving, counted{pc, &packets}); err != nil {
					t.Errorf("reflector %d: %v", i, err)
				}
			})
		}
		if _, err := sockets[0].WriteTo(forged, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.8:9001"))); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		stop()
		served.Wait()
	})
	return int(packets.Load())
}

// forgeries are packets of every kind that somebody may send under another's address.
func forgeries(t *testing.T, key []byte) map[string][]byte {
	t.Helper()
	sign, err := newSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	signed := append(unhex(t, goldenRequestAuth), make([]byte, hmacSize)...)
	sign.signBase(signed)
	undated := make([]byte, baseSizeAuth)
	sign.signBase(undated)
	template := newTemplate(&Config{Size: 200, TLVs: true, DSCP: 46}, sign, 7, newRandom())
	template.prepare(0)
	random := make([]byte, 1400)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	timeless := make([]byte, 1400) // of a request of either layout, nothing but its number
	timeless[3] = 1
	keyed := make([]byte, 1400)
	copy(keyed, unhex(t, goldenRequestAuth))
	turnedDown := make([]byte, baseSizeAuth)
	(&reply{err: errorUnknown, senderSeq: 1, t1: 1 << 63, senderErr: errorUnknown}).put(turnedDown, authenticated)
	slow := unhex(t, goldenReply) // reflected after more than a second
	slow[7] += 2
	return map[string][]byte{
		"zeros":                    make([]byte, 1400),
		"ones":                     bytes.Repeat([]byte{0xff}, 1400),
		"random":                   random,
		"without times":            timeless,
		"request":                  unhex(t, goldenRequest),
		"extended request":         bytes.Clone(template.depart(golden.UnixNano())),
		"shortest request":         unhex(t, goldenRequest)[:leastRequest],
		"signed request":           signed,
		"signed, without a time":   undated,
		"request with another key": keyed,
		"turn-down":                turnedDown,
		"reply":                    unhex(t, goldenReply),
		"short reply":              unhex(t, goldenReply)[:leastReply],
		"slow reply":               slow,
		"keyed reply":              append(unhex(t, goldenReplyAuth), make([]byte, hmacSize)...),
	}
}

// TestReflectorsDoNotAnswerEachOther brings two together as a forged source address would: whatever the packet is, a few
// answers later there is silence.
func TestReflectorsDoNotAnswerEachOther(t *testing.T) {
	key, other := bytes.Repeat([]byte{7}, 16), bytes.Repeat([]byte{9}, 16)
	for name, keys := range map[string][2][]byte{
		"open":           {nil, nil},
		"same key":       {key, key},
		"another key":    {other, key},
		"open and keyed": {nil, key},
		"keyed and open": {key, nil},
	} {
		total := 0
		for kind, forged := range forgeries(t, key) {
			n := answers(t, forged, keys)
			if total += n; n > 2 {
				t.Errorf("%s: %d answers to one %s", name, n, kind)
			}
		}
		if total == 0 {
			t.Errorf("%s: nothing was answered", name)
		}
	}
}

// TestWhatRequestsHaveInPlaceOfZerosIsIgnored holds that none is taken for a reply: padding of every kind behind times of
// every kind. A reply is taken for one in both formats and from reflectors that take one time for T2 and T3.
func TestWhatRequestsHaveInPlaceOfZerosIsIgnored(t *testing.T) {
	draw := rand.NewChaCha8([32]byte{1})
	for kind, fill := range map[string]func(b []byte){
		"zeros":   func(b []byte) { clear(b) },
		"ones":    func(b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) },
		"pattern": func(b []byte) { copy(b, bytes.Repeat([]byte("ping"), len(b)/4)) },
		"random":  func(b []byte) { _, _ = draw.Read(b) },
		"numbers": func(b []byte) { copy(b, bytes.Repeat([]byte{0, 0, 0, 1}, len(b)/4)) },
	} {
		for name, t1 := range map[string]timestamp{
			"NTP": newTimestamp(golden.UnixNano(), formatNTP), "PTP": newTimestamp(golden.UnixNano(), formatPTP),
			"none": 0, "since the start": 1000 << 32, "since just now": 1 << 31, "all ones": 1<<64 - 1<<33,
		} {
			for _, m := range []mode{unauthenticated, authenticated} {
				for range 1000 {
					packet := make([]byte, 400)
					(&request{seq: 5, t1: t1, err: errorUnknown}).put(packet, m)
					fill(packet[m.t1Offset()+12 : 396])
					if reflected(packet, m) {
						t.Fatalf("a request with %s behind the time %s, mode %d, is taken for a reply", kind, name, m)
					}
				}
			}
		}
	}
	for _, f := range []format{formatNTP, formatPTP} {
		for _, apart := range []time.Duration{0, time.Microsecond, time.Second, -time.Microsecond} {
			for _, m := range []mode{unauthenticated, authenticated} {
				packet := make([]byte, m.base())
				at := golden.Add(300 * ms).UnixNano() // so that a part lies in another second
				(&reply{t1: 1, t2: newTimestamp(at, f), t3: newTimestamp(at+int64(apart), f)}).put(packet, m)
				if !reflected(packet, m) || m == unauthenticated && !reflected(packet[:leastReply], m) {
					t.Errorf("a reply %v after its request, format %d, mode %d, is not taken for one", apart, f, m)
				}
			}
		}
	}
}
