package stamp

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
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

// TestReflectorsDoNotAnswerEachOther brings two together as a forged source address would.
func TestReflectorsDoNotAnswerEachOther(t *testing.T) {
	for _, c := range []struct {
		key  []byte
		from string
		want bool // an answer
	}{
		{nil, "192.0.2.7:862", false},
		{nil, "192.0.2.7:8620", false},
		{nil, "192.0.2.7:9000", false}, // the port on which ours listens
		{nil, "192.0.2.7:54321", true}, // what senders put where zeros belong is ignored
		{bytes.Repeat([]byte{7}, 16), "192.0.2.7:862", false},
	} {
		one, other := newResponder(t, Reflector{Key: c.key}), newResponder(t, Reflector{Key: c.key})
		template := newTemplate(&Config{Size: 200, TLVs: true}, one.sign, 7, newRandom())
		template.prepare(0)
		packet := template.depart(golden.UnixNano())
		a := arrival{from: netip.MustParseAddrPort(c.from), to: netip.MustParseAddrPort("192.0.2.8:9000"), t2: golden.UnixNano(), tos: -1}
		if n := one.answer(packet, len(packet), &exchange{arrival: a}); n != len(packet) {
			t.Errorf("from %s: a request was not answered", c.from)
		}
		one.depart(packet, golden.UnixNano())
		if n := other.answer(packet, len(packet), &exchange{arrival: a}); (n > 0) != c.want {
			t.Errorf("from %s: %d octets in answer to a reply", c.from, n)
		}
	}
}
