package capacity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

func messages() []message {
	var h probes.Hist
	h.Add(0.001)
	return []message{
		{Open: &open{Version: 1, Up: true, Train: true, Duration: time.Minute, Size: maxSize, MaxBytes: 1e12, MaxRate: 1e9, InitialRate: 1e6, Trains: maxTrains}},
		{Accepted: &accepted{Token: token{1, 2, 3}, Port: 65535, MaxRate: 1e9}},
		{Refused: &refused{Outcome: "busy", Text: "come back later"}},
		{Start: &struct{}{}},
		{Go: &struct{}{}},
		{Done: &done{Sent: 1 << 50, Refused: 1, Skipped: 2, Rate: 3.5, Congested: true, Stop: byDuration, GSO: true}},
		{Report: &report{Elapsed: time.Second, Received: 1 << 50, Bytes: 1 << 60, Reordered: 1, Duplicated: 2, Dropped: 3, Capacity: 1e9, Error: 1e8, Trains: 3, Variation: &h, Stop: byNoLoad, GRO: true, Stamped: true, Final: true}},
	}
}

var equal = cmp.Comparer(func(a, b *probes.Hist) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(b)
})

func TestMessagesRoundTrip(t *testing.T) {
	var wire []byte
	for _, m := range messages() {
		var err error
		if wire, err = frames.Append(wire, m); err != nil {
			t.Fatal(err)
		}
	}
	r := bytes.NewReader(append(wire, "what follows"...))
	for _, want := range messages() {
		got, err := readMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Errorf("round trip changed the message:\n%s", diff)
		}
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "what follows" {
		t.Errorf("left %q, %v, want what follows the last message untouched", rest, err)
	}
}

func TestBadMessages(t *testing.T) {
	frame := func(text string) string {
		return string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":          {"", io.EOF},
		"half a length":    {"\x00", io.ErrUnexpectedEOF},
		"length of 0":      {"\x00\x00", errFrame},
		"length too large": {"\x80\x01" + strings.Repeat(" ", 40_000), errFrame},
		"cut short":        {frame(`{"start":{}}`)[:7], io.ErrUnexpectedEOF},
		"no JSON":          {frame("GET / HTTP/1.1"), errFrame},
		"no message":       {frame(`{}`), errFrame},
		"two messages":     {frame(`{"start":{},"go":{}}`), errFrame},
		"no duration":      {frame(`{"open":{"size":1222}}`), errFrame},
		"long duration":    {frame(`{"open":{"size":1222,"duration":60000000001}}`), errFrame},
		"small datagrams":  {frame(`{"open":{"size":63,"duration":1000}}`), errFrame},
		"large datagrams":  {frame(`{"open":{"size":1223,"duration":1000}}`), errFrame},
		"negative limit":   {frame(`{"open":{"size":1222,"duration":1000,"max_bytes":-1}}`), errFrame},
		"trains unbounded": {frame(`{"open":{"size":1222,"duration":1000,"train":true,"trains":5}}`), errFrame},
		"many trains":      {frame(`{"open":{"size":1222,"duration":1000,"train":true,"trains":101,"max_bytes":1}}`), errFrame},
		"no port":          {frame(`{"accepted":{"token":"00000000000000000000000000000000"}}`), errFrame},
		"short token":      {frame(`{"accepted":{"port":1,"token":"0000"}}`), errFrame},
		"negative count":   {frame(`{"report":{"received":-1}}`), errFrame},
		"negative rate":    {frame(`{"report":{"capacity":-1}}`), errFrame},
		"negative sent":    {frame(`{"done":{"sent":-1}}`), errFrame},
		"a bad histogram":  {frame(`{"report":{"variation":{"schema":99}}}`), errFrame},
	} {
		if _, err := readMessage(strings.NewReader(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	for _, m := range messages() {
		frame, err := frames.Append(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := readMessage(bytes.NewReader(frame))
		if err != nil {
			return
		}
		again, err := frames.Append(nil, m)
		if err != nil {
			t.Skip("longer when written out in full") // escapes can grow a text that was within the limit
		}
		back, err := readMessage(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("what was accepted is not accepted again: %v", err)
		}
		if diff := cmp.Diff(m, back, equal); diff != "" {
			t.Fatalf("round trip changed the message:\n%s", diff)
		}
	})
}

// TestLargestReportFits: a histogram of all the delays there can be is within what is read.
func TestLargestReportFits(t *testing.T) {
	var d delays
	for v := time.Duration(1); v < time.Hour; v += v/40 + 1 {
		d.add(v)
	}
	frame, err := frames.Append(nil, message{Report: &report{Variation: d.hist(), Final: true}})
	if err != nil || len(frame) > maxFrame/2 {
		t.Errorf("%d bytes, %v", len(frame), err)
	}
}

// TestLoadLayout pins the datagrams byte by byte.
func TestLoadLayout(t *testing.T) {
	b := make([]byte, minSize)
	putHeader(b, loadPacket, token{0xaa, 15: 0xbb})
	putLoad(b, 0x0102030405060708, 0x1112131415161718)
	putTrain(b, 0x2122, 0x31323334, 0x41424344)
	want := "nrC1\x04\x00\x21\x22\xaa\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xbb" +
		"\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x15\x16\x17\x18\x31\x32\x33\x34\x41\x42\x43\x44"
	if got := string(b[:loadHeader]); got != want {
		t.Errorf("load begins with\n%x, want\n%x", got, want)
	}
}

func TestDatagrams(t *testing.T) {
	own := token{1}
	want := feedback{number: 7, received: 1, lost: 2, reordered: 3, duplicated: 4, delayRange: 5, train: 6, arrived: 8, spread: 9}
	b := want.encode(own)
	if got, err := parseFeedback(b, own); err != nil || got != want {
		t.Errorf("round trip gives %+v, %v", got, err)
	}
	if _, err := parseFeedback(b, token{2}); !errors.Is(err, errDatagram) {
		t.Errorf("feedback of another session: %v", err)
	}
	change := func(at int, v byte) []byte {
		c := bytes.Clone(b)
		c[at] = v
		return c
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "a header only": b[:headerSize], "one byte short": b[:len(b)-1], "other magic": change(0, 'N'),
		"kind 0": change(4, 0), "kind 9": change(4, 9), "reserved byte": change(5, 1), "load": change(4, byte(loadPacket)),
		"negative time": change(32, 0x80), "negative range": change(headerSize+24, 0x80), "negative spread": change(headerSize+32, 0x80),
	} {
		if _, err := parseFeedback(bad, own); !errors.Is(err, errDatagram) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if challengeSize > helloSize {
		t.Error("a challenge is larger than what it answers")
	}
}

func FuzzDatagram(f *testing.F) {
	own := token{1}
	f.Add(feedback{number: 7, delayRange: time.Second}.encode(own))
	load := make([]byte, minSize)
	putHeader(load, loadPacket, own)
	f.Add(load)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDatagram(b, own)
		if err == nil && (len(b) < d.kind.least() || !bytes.Equal(b[8:24], own[:])) {
			t.Fatalf("accepted %x", b)
		}
		v, err := parseFeedback(b, own)
		if err != nil {
			return
		}
		again, err := parseFeedback(v.encode(own), own)
		if err != nil || again != v {
			t.Fatalf("round trip changed %+v to %+v, %v", v, again, err)
		}
	})
}

func FuzzReceive(f *testing.F) {
	own := token{1}
	load := make([]byte, 2*minSize)
	putHeader(load, loadPacket, own)
	putTrain(load, 1, 0, 16)
	putHeader(load[minSize:], loadPacket, own)
	putLoad(load[minSize:], 1, 5)
	f.Add(load, minSize)
	f.Fuzz(func(t *testing.T, b []byte, segment int) {
		r := &receiver{link: link{socket: &socket{}, token: own, plan: open{Size: minSize, Train: true, Duration: time.Second}}, start: time.Unix(0, 0)}
		r.intervals.length = time.Second
		r.take(b, segment, time.Unix(1, 0))
		if r.bytes != r.tally.received*minSize || r.bytes > int64(len(b)) {
			t.Fatalf("%d bytes in %d datagrams out of %d bytes", r.bytes, r.tally.received, len(b))
		}
	})
}
