package stamp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// unhex reads a packet written by hand, field by field; text behind # is a remark.
func unhex(t *testing.T, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		field, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(field), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// half past New Year 2026, the time stamps of the golden packets.
var golden = time.Date(2026, 1, 1, 0, 0, 0, 5e8, time.UTC)

const goldenRequest = `
	00000102            # sequence number
	ED003780 80000000   # T1: 3976214400 s since 1900, and a half
	8BD2                # error estimate: S=1 Z=0 scale=11 multiplier=210, 100 µs
	BEEF                # SSID
	` + mbz28

const mbz28 = `00000000 00000000 00000000 00000000 00000000 00000000 00000000`

const goldenReply = `
	00000077            # reflector's sequence number
	ED003780 C0000000   # T3
	3FFF                # error estimate: S=0, as large as can be
	BEEF                # SSID
	ED003780 A0000000   # T2
	00000102            # session-sender sequence number
	ED003780 80000000   # session-sender timestamp
	8BD2 0000           # session-sender error estimate, MBZ
	3F 000000           # session-sender TTL, MBZ`

const goldenRequestAuth = `
	00000102 00000000 00000000 00000000
	ED003780 80000000 8BD2 BEEF 00000000
	00000000 00000000 00000000 00000000
	00000000 00000000 00000000 00000000
	00000000 00000000 00000000 00000000
	00000000 00000000 00000000 00000000`

const goldenReplyAuth = `
	00000077 00000000 00000000 00000000
	ED003780 C0000000 3FFF BEEF 00000000
	ED003780 A0000000 00000000 00000000
	00000102 00000000 00000000 00000000
	ED003780 80000000 8BD2 0000 00000000
	3F000000 00000000 00000000 00000000`

func TestGoldenPackets(t *testing.T) {
	at := golden.UnixNano()
	q := request{seq: 0x102, t1: newTimestamp(at, formatNTP), err: newErrorEstimate(100*time.Microsecond, true, formatNTP), ssid: 0xbeef}
	p := reply{
		seq: 0x77, t3: newTimestamp(at+25e7, formatNTP), err: errorUnknown, ssid: 0xbeef,
		t2: newTimestamp(at+125e6, formatNTP), senderSeq: 0x102, t1: q.t1, senderErr: q.err, ttl: 63,
	}
	for _, c := range []struct {
		name           string
		mode           mode
		request, reply string
	}{
		{"unauthenticated", unauthenticated, goldenRequest, goldenReply},
		{"authenticated", authenticated, goldenRequestAuth, goldenReplyAuth},
	} {
		wantRequest, wantReply := unhex(t, c.request), unhex(t, c.reply)
		b := bytes.Repeat([]byte{0xff}, c.mode.base()) // what must be zero is made so
		q.put(b, c.mode)
		if !bytes.Equal(b[:len(wantRequest)], wantRequest) {
			t.Errorf("%s request is\n%x, want\n%x", c.name, b, wantRequest)
		}
		var q2 request
		if !q2.parse(b, c.mode) || q2 != q {
			t.Errorf("%s request reads back as %+v, want %+v", c.name, q2, q)
		}
		p.put(b, c.mode)
		if !bytes.Equal(b[:len(wantReply)], wantReply) {
			t.Errorf("%s reply is\n%x, want\n%x", c.name, b, wantReply)
		}
		var p2 reply
		if !p2.parse(b, c.mode) || p2 != p {
			t.Errorf("%s reply reads back as %+v, want %+v", c.name, p2, p)
		}
	}
}

func TestShortPacketsOfTWAMPLight(t *testing.T) {
	var q request
	if full := unhex(t, goldenRequest); !q.parse(full[:14], unauthenticated) || q.seq != 0x102 || q.ssid != 0 {
		t.Errorf("14 octets read as %+v", q)
	}
	var p reply
	if full := unhex(t, goldenReply); !p.parse(full[:36], unauthenticated) || p.senderSeq != 0x102 || p.ttl != 0 {
		t.Errorf("36 octets read as %+v", p)
	}
	if q.parse(make([]byte, 13), unauthenticated) || p.parse(make([]byte, 35), unauthenticated) ||
		q.parse(make([]byte, 111), authenticated) || p.parse(make([]byte, 111), authenticated) {
		t.Error("a packet that is too short was taken for one")
	}
}

// TestHMACVector holds the code against one computed with another implementation: the first golden request, keyed with
// sixteen times 0x0b, by `openssl dgst -sha256 -mac hmac`.
func TestHMACVector(t *testing.T) {
	sign, err := newSigner(bytes.Repeat([]byte{0x0b}, 16))
	if err != nil {
		t.Fatal(err)
	}
	packet := append(unhex(t, goldenRequestAuth), make([]byte, hmacSize)...)
	sign.signBase(packet)
	if got, want := hex.EncodeToString(packet[96:]), "1b87c3ffea82f50c5898ff5119a35a7d"; got != want {
		t.Errorf("code is %s, want %s", got, want)
	}
	if !sign.checkBase(packet) {
		t.Error("the code just made is refused")
	}
	for i := range packet {
		packet[i] ^= 1
		if sign.checkBase(packet) {
			t.Errorf("a change of octet %d goes unnoticed", i)
		}
		packet[i] ^= 1
	}
	if _, err := newSigner([]byte("short")); err == nil || err.Error() != "key has 5 bytes: STAMP needs 16 or more" {
		t.Errorf("short key: %v", err)
	}
}

func TestTimestamps(t *testing.T) {
	for _, at := range []time.Time{
		golden, time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 999999999), time.Unix(-1, 5),
		time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), // the last second of the first NTP era
		time.Date(2036, 2, 7, 6, 28, 16, 1, time.UTC),         // the first one of the second
		time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),         // PTP seconds begin anew
		time.Date(2200, 1, 1, 0, 0, 0, 123456789, time.UTC),
	} {
		for _, f := range []format{formatNTP, formatPTP} {
			for _, skew := range []time.Duration{0, -50 * 365 * 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
				near := at.UnixNano() + int64(skew)
				if at.Year() == 2200 && skew > 0 {
					continue // beyond what nanoseconds since 1970 can hold
				}
				if got := newTimestamp(at.UnixNano(), f).unixNano(f, near); got != at.UnixNano() {
					t.Errorf("%v in format %d, read near %v off, is %v", at, f, skew, time.Unix(0, got))
				}
			}
		}
	}
	if got := newTimestamp(golden.UnixNano(), formatPTP); got != 0x6955B900_1DCD6500 {
		t.Errorf("PTP golden is %016x", uint64(got))
	}
}

func TestErrorEstimate(t *testing.T) {
	for bound, want := range map[time.Duration]errorEstimate{
		time.Microsecond: 0x8587, 10 * time.Microsecond: 0x88a8, 100 * time.Microsecond: 0x8bd2, time.Millisecond: 0x8f84,
		5 * time.Millisecond: 0x91a4, 10 * time.Millisecond: 0x92a4, 100 * time.Millisecond: 0x95cd, time.Second: 0x9980,
	} {
		e := newErrorEstimate(bound, true, formatNTP)
		if e != want {
			t.Errorf("%v is written %04x, want %04x", bound, e, want)
		}
		if back := e.bound(); back < bound || float64(back) > 1.01*float64(bound) {
			t.Errorf("%v reads back as %v", bound, back)
		}
		if !e.synced() || e.format() != formatNTP {
			t.Errorf("%v: flags of %04x are wrong", bound, e)
		}
	}
	if e := newErrorEstimate(0, false, formatPTP); e != errorUnknown|errorPTP || e.synced() || e.format() != formatPTP {
		t.Errorf("unknown error is written %04x", e)
	}
	if e := newErrorEstimate(1<<63-1, true, formatNTP); e&0xff == 0 || e.bound() < 36*365*24*time.Hour {
		t.Errorf("the longest duration is written %04x, %v", e, e.bound())
	}
}

func FuzzTimestamp(f *testing.F) {
	f.Add(uint64(0xED003780_80000000), int64(0))
	f.Add(uint64(0), golden.UnixNano())
	f.Fuzz(func(t *testing.T, raw uint64, near int64) {
		near %= 4e18 // one era further would leave the range of nanoseconds
		for _, form := range []format{formatNTP, formatPTP} {
			at := timestamp(raw).unixNano(form, near)
			if apart := at/1e9 - near/1e9; apart > 1<<31+1 || apart < -1<<31-1 {
				t.Errorf("%016x near %d is %d: not the nearest era", raw, near, at)
			}
			if back := newTimestamp(at, form).unixNano(form, near); form == formatNTP && back != at {
				t.Errorf("%016x: %d is written and read as %d", raw, at, back)
			}
		}
	})
}
