package stamp

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The arrival of the golden request.
func goldenArrival() arrival {
	return arrival{
		from: netip.MustParseAddrPort("203.0.113.9:54321"), to: netip.MustParseAddrPort("198.51.100.1:862"),
		t2: golden.UnixNano() + 125e6, method: methodLocal, ttl: 63, tos: 46<<2 | 1,
	}
}

func newResponder(t *testing.T, r Reflector) *responder {
	t.Helper()
	if r.Log == nil {
		r.Log = quiet()
	}
	rs, err := r.responder()
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// TestTLVsAreAnsweredAsSpecified holds each TLV of RFC 8972 against what its section says, written by hand.
func TestTLVsAreAnsweredAsSpecified(t *testing.T) {
	for _, c := range []struct{ name, request, reply string }{
		{"extra padding, 4.1", "80 01 0003 AABBCC", "00 01 0003 AABBCC"},
		{"location, 4.2: ports and source", `
			80 02 0018 0000 0000   80 07 0010 00000000 00000000 00000000 00000000`, `
			00 02 0018 035E D431   00 08 0010 CB007109 00000000 00000000 00000000`},
		{"location, 4.2: destination, and the source's hardware address, which a socket does not see", `
			80 02 0024 0000 0000   80 04 0010 00000000 00000000 00000000 00000000   80 01 0008 00000000 00000000`, `
			00 02 0024 035E D431   00 05 0010 C6336401 00000000 00000000 00000000   00 03 0008 00000000 00000000`},
		{"location, 4.2.1: unknown part", "80 02 000A 0000 0000 80 63 0002 1234", "00 02 000A 035E D431 80 63 0002 1234"},
		{"location, 4.2.1: part of the wrong length", "80 02 000A 0000 0000 80 07 0002 0000", "40 02 000A 035E D431 40 07 0002 0000"},
		{"location too short", "80 02 0002 0000", "40 02 0002 0000"},
		{"timestamp information, 4.3", "80 03 0004 00 00 00 00", "00 03 0004 05 02 05 02"},
		{"class of service, 4.4: DSCP1 = CS1, received EF and ECT(1)", "80 04 0004 2000 0000", "00 04 0004 22E4 0000"},
		{"class of service of a wrong length", "80 04 0003 200000", "40 04 0003 200000"},
		{"direct measurement, 4.5", "80 05 000C 00000103 FFFFFFFF FFFFFFFF", "00 05 000C 00000103 00000001 00000001"},
		{"access report, 4.6: 3GPP available", "80 06 0004 1F 01 FFFF", "00 06 0004 10 01 0000"},
		{"access report, 4.6: invalid access", "80 06 0004 30 01 0000", "80 06 0004 30 01 0000"},
		{"follow-up telemetry, 4.7: nothing stamped yet", `
			80 07 0010 FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF`, `
			00 07 0010 00000000 00000000 00000000 00000000`},
		{"follow-up telemetry, 4.7: wrong length is cleared", "80 07 0004 FFFFFFFF", "40 07 0004 00000000"},
		{"unknown type", "80 B0 0002 1234  80 01 0000", "80 B0 0002 1234  00 01 0000"},
		{"reserved type", "80 FF 0000", "80 FF 0000"},
		{"private type without enterprise number", "80 FC 0003 123456  80 01 0000", "40 FC 0003 123456  80 01 0000"},
		{"private type", "80 FC 0004 00001234", "80 FC 0004 00001234"},
		{"runs past the end: the rest is copied", "80 01 0000  80 01 00FF 1234", "00 01 0000  40 01 00FF 1234"},
		{"header cut off", "80 01 0000  80 01", "00 01 0000  40 01"},
		{"no key for the HMAC", "80 08 0010 00000000 00000000 00000000 00000000", "80 08 0010 00000000 00000000 00000000 00000000"},
		{"HMAC before another TLV", `
			80 08 0010 00000000 00000000 00000000 00000000  80 03 0004 00000000`, `
			A0 08 0010 00000000 00000000 00000000 00000000  A0 03 0004 00000000`},
		{"padding of a TWAMP-Light sender", "00 00 0000 00000000 000000", "00 00 0000 00000000 000000"},
		{"three octets of padding", "800100", "800100"},
	} {
		rs := newResponder(t, Reflector{})
		packet := append(unhex(t, goldenRequest), unhex(t, c.request)...)
		x := exchange{arrival: goldenArrival()}
		if n := rs.answer(packet, len(packet), &x); n != len(packet) {
			t.Errorf("%s: %d octets in, %d out", c.name, len(packet), n)
			continue
		}
		if got, want := packet[baseSize:], unhex(t, c.reply); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, want\n%x", c.name, got, want)
		}
	}
}

func TestReplyIsTheGoldenOne(t *testing.T) {
	rs := newResponder(t, Reflector{})
	x := exchange{arrival: goldenArrival()}
	packet := unhex(t, goldenRequest)
	for seq := range byte(0x78) {
		packet = unhex(t, goldenRequest)
		if rs.answer(packet, len(packet), &x); packet[3] != seq {
			t.Fatalf("reply %d has the number %d", seq, packet[3])
		}
	}
	rs.depart(packet, golden.UnixNano()+25e7)
	if want := unhex(t, goldenReply); !bytes.Equal(packet, want) {
		t.Errorf("reply is\n%x, want\n%x", packet, want)
	}
}

func TestStatelessReplyRepeatsTheSendersNumber(t *testing.T) {
	rs := newResponder(t, Reflector{Stateless: true})
	x := exchange{arrival: goldenArrival()}
	packet := append(unhex(t, goldenRequest), unhex(t, `
		80 05 000C 00000103 00000000 00000000
		80 07 0010 FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF`)...)
	rs.answer(packet, len(packet), &x)
	if packet[2] != 1 || packet[3] != 2 {
		t.Errorf("number is %x, want 00000102", packet[:4])
	}
	want := unhex(t, `
		80 05 000C 00000103 00000000 00000000
		00 07 0010 00000000 00000000 00000000 00000000`)
	if !bytes.Equal(packet[baseSize:], want) {
		t.Errorf("TLVs are\n%x, want\n%x", packet[baseSize:], want)
	}
}

// TestAuthenticatedTLVs holds section 4.8: what must be protected, where the code must stand, and what failure does.
func TestAuthenticatedTLVs(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 16)
	sign, err := newSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	request := func(tail string, broken bool) []byte {
		packet := append(append(unhex(t, goldenRequestAuth), make([]byte, hmacSize)...), unhex(t, tail)...)
		if code, preceding, found, _, _ := findHMAC(packet[baseSizeAuth:]); found {
			sign.signTLVs(packet, preceding, code)
			if broken {
				code.value()[0] ^= 1
			}
		}
		sign.signBase(packet)
		return packet
	}
	const code = " 80 08 0010 00000000 00000000 00000000 00000000 "
	for _, c := range []struct {
		name, tail string
		broken     bool
		flags      []tlvFlags // of the TLVs in order
	}{
		{"only padding needs none", "80 01 0002 AAAA", false, []tlvFlags{0}},
		{"protected", "80 03 0004 00000000" + code + "80 01 0002 AAAA", false, []tlvFlags{0, 0, 0}},
		{"unprotected", "80 03 0004 00000000", false, []tlvFlags{0xa0}},
		{"unprotected among padding", "80 01 0002 AAAA 80 01 0000", false, []tlvFlags{0xa0, 0xa0}},
		{"not behind all", code + "80 03 0004 00000000", false, []tlvFlags{0xa0, 0xa0}},
		{"twice", "80 03 0004 00000000" + code + code, false, []tlvFlags{0xa0, 0xa0, 0xa0}},
		{"wrong", "80 03 0004 00000000" + code, true, []tlvFlags{0xa0, 0xa0}},
	} {
		rs := newResponder(t, Reflector{Key: key})
		packet := request(c.tail, c.broken)
		x := exchange{arrival: goldenArrival()}
		if n := rs.answer(packet, len(packet), &x); n != len(packet) {
			t.Errorf("%s: no reply", c.name)
			continue
		}
		rs.depart(packet, golden.UnixNano())
		if !sign.checkBase(packet) {
			t.Errorf("%s: the base of the reply is not signed", c.name)
		}
		rest := packet[baseSizeAuth:]
		for i, want := range c.flags {
			v, next, ok := cutTLV(rest)
			if !ok || v.flags() != want {
				t.Errorf("%s: TLV %d has flags %x, want %x", c.name, i, v.flags(), want)
			}
			rest = next
		}
		if code, preceding, found, _, _ := findHMAC(packet[baseSizeAuth:]); found && c.flags[0] == 0 && !sign.checkTLVs(packet, preceding, code) {
			t.Errorf("%s: the TLVs of the reply are not signed", c.name)
		}
	}
}

func TestShortRequestsAreAnsweredOutOfCredit(t *testing.T) {
	rs := newResponder(t, Reflector{})
	in, out, replies := 0, 0, []int{}
	for n := range 7 {
		buffer := append(unhex(t, goldenRequest)[:14], make([]byte, 100)...)
		x := exchange{arrival: goldenArrival()}
		in += 14
		if size := rs.answer(buffer, 14, &x); size > 0 {
			out += size
			replies = append(replies, n)
		}
	}
	if out > in || len(replies) != 2 || replies[0] != 3 || replies[1] != 6 {
		t.Errorf("%d octets in, %d out, replies to %v: want 44 for each 44 that came in", in, out, replies)
	}
}

func TestTableForgetsTheLongestSilent(t *testing.T) {
	table := newTable(3, time.Minute)
	key := func(n uint16) sessionKey { return sessionKey{ssid: n} }
	at := func(d time.Duration) int64 { return int64(d) }
	for n := range uint16(3) {
		table.visit(key(n), at(time.Duration(n)*time.Second)).sent = 100
	}
	table.visit(key(0), at(4*time.Second))
	table.visit(key(9), at(5*time.Second)) // takes the place of 1
	for n, want := range map[uint16]uint32{0: 100, 2: 100, 9: 0} {
		if s, known := table.sessions[key(n)]; !known || s.sent != want {
			t.Errorf("session %d: known %v, want it with %d packets", n, known, want)
		}
	}
	table.visit(key(2), at(62*time.Second))
	table.visit(key(2), at(66*time.Second)) // 0 and 9 were silent for more than a minute
	if len(table.sessions) != 1 {
		t.Errorf("%d sessions left, want 1", len(table.sessions))
	}
	if table.visit(key(9), at(67*time.Second)); len(table.sessions) != 2 || table.free == nil {
		t.Errorf("%d sessions, free list %v", len(table.sessions), table.free)
	}
}

func TestAnsweringAllocatesNothing(t *testing.T) {
	for name, r := range map[string]Reflector{"unauthenticated": {}, "authenticated": {Key: bytes.Repeat([]byte{7}, 16)}} {
		rs := newResponder(t, r)
		sign, err := newSigner(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		template := newTemplate(&Config{Size: 400, TLVs: true, DSCP: 46}, sign, 0xbeef, newRandom())
		buffer := make([]byte, 400)
		x := exchange{}
		seq := uint32(0)
		allocs := testing.AllocsPerRun(1000, func() {
			template.prepare(seq)
			n := copy(buffer, template.depart(golden.UnixNano()))
			x = exchange{arrival: sampleArrival}
			if rs.answer(buffer, n, &x) == 0 {
				t.Fatal("no answer")
			}
			rs.depart(buffer[:n], golden.UnixNano())
			seq++
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per packet made, answered and signed", name, allocs)
		}
	}
}

var sampleArrival = goldenArrival()

func TestReadingAllocatesNothing(t *testing.T) {
	rs := newResponder(t, Reflector{})
	template := newTemplate(&Config{Size: 200, TLVs: true, DSCP: 46}, nil, 0xbeef, newRandom())
	template.prepare(0)
	packet := template.depart(golden.UnixNano())
	x := exchange{arrival: sampleArrival}
	n := rs.answer(packet, len(packet), &x)
	var p reply
	var e extensions
	if allocs := testing.AllocsPerRun(1000, func() {
		if !p.parse(packet[:n], unauthenticated) {
			t.Fatal("not a reply")
		}
		e.read(packet[:n], nil)
	}); allocs != 0 {
		t.Errorf("%v allocations per reply", allocs)
	}
	if e.source != sampleArrival.from || !e.counts || !e.follows || e.told.ok {
		t.Errorf("extensions read as %+v", e)
	}
}

// FuzzAnswer holds what is true of every reply: nobody is sent more than they sent, and nothing panics.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef\x80\x02\x00\x18xxxx"), true)
	f.Add(bytes.Repeat([]byte{0x80, 7, 0, 4}, 40), false)
	f.Add(append(make([]byte, baseSize), "\x80\x0c\x00\x0c\x00\x50\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x40"+strings.Repeat("p", 64)...), true)
	f.Fuzz(func(t *testing.T, packet []byte, stateless bool) {
		if len(packet) > 2000 {
			return
		}
		rs := newResponder(t, Reflector{Stateless: stateless})
		buffer := make([]byte, 4000)
		n := copy(buffer, packet)
		x := exchange{arrival: sampleArrival}
		got := rs.answer(buffer, n, &x)
		if got > n || got != 0 && got < baseSize || got != 0 && got < n && x.length == 0 {
			t.Errorf("%d octets in, %d out", n, got)
		}
		if bytes.ContainsFunc(buffer[max(n, got):], func(r rune) bool { return r != 0 }) {
			t.Error("wrote behind the reply")
		}
	})
}

// FuzzReply feeds the sender what a stranger may send it.
func FuzzReply(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef\x00\x02\x00\x18xxxx\x00\x08\x00\x10yyyyyyyyyyyyyyyy"), uint64(7))
	f.Add(make([]byte, 36), uint64(0))
	f.Fuzz(func(t *testing.T, packet []byte, sent uint64) {
		if len(packet) > 2000 {
			return
		}
		l := &ledger{timeout: time.Second}
		l.open(&window{end: time.Second, counted: true})
		for range sent % 64 {
			l.send(0, 0, 0)
		}
		var p reply
		if !p.parse(packet, unauthenticated) {
			return
		}
		var x extensions
		x.read(packet, nil)
		for range 3 {
			e := echo{
				seq: p.senderSeq, farSeq: p.seq, received: time.Millisecond, t2: p.t2, t3: p.t3, format: p.err.format(),
				told: x.told, follows: x.follows, counts: x.counts,
			}
			l.receive(&e)
		}
		w, _ := l.takeOut(time.Hour)
		if w.received > w.sent || w.open != int(w.sent-w.received) {
			t.Errorf("%d sent, %d received, %d open", w.sent, w.received, w.open)
		}
		var losses losses
		losses.decide(w, neighbour{}, forever)
		w.delays(nil)
	})
}
