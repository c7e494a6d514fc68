package throughput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes/load"
)

func messages() []message {
	return []message{
		{Open: &open{Version: 1, Up: 64, Down: 64, Duration: 5 * time.Minute, Interval: 100 * time.Millisecond, Limit: 1e12, CongestionControl: "cubic"}},
		{Accepted: &accepted{Session: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}},
		{Refused: &refused{Outcome: "busy", Text: "come back later"}},
		{Data: &data{Session: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Up: true}},
		{Start: &start{Clock: time.Hour}},
		{Report: &report{Elapsed: time.Second, Received: 1 << 60, Sent: 1 << 60, Loose: true, Final: true, Sender: &load.State{
			Transport: "tcp", Sockets: 64, RTT: time.Second, MinRTT: time.Second, CongestionWindow: 1 << 40, PacketsLost: 1 << 40,
			Retransmitted: 1 << 40, SentBytes: 1 << 60, RetransmittedBytes: 1 << 60, Busy: time.Hour, ReceiveWindow: time.Hour,
			SendBuffer: time.Hour, CongestionControl: "cubic",
		}}},
		{Alive: &struct{}{}},
		{Stop: &struct{}{}},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	var wire bytes.Buffer
	for _, m := range messages() {
		if err := writeMessage(&wire, m); err != nil {
			t.Fatal(err)
		}
	}
	wire.WriteString("what follows")
	for _, want := range messages() {
		got, err := readMessage(&wire)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported()); diff != "" {
			t.Errorf("round trip changed the message:\n%s", diff)
		}
	}
	if rest := wire.String(); rest != "what follows" {
		t.Errorf("left %q, want what follows the last message untouched", rest)
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
		"nothing":            {"", io.EOF},
		"half a length":      {"\x00", io.ErrUnexpectedEOF},
		"length of 0":        {"\x00\x00", errFrame},
		"length of 4097":     {"\x10\x01" + strings.Repeat(" ", 4097), errFrame},
		"cut short":          {frame(`{"stop":{}}`)[:7], io.ErrUnexpectedEOF},
		"no JSON":            {frame("GET / HTTP/1.1"), errFrame},
		"no message":         {frame(`{}`), errFrame},
		"unknown message":    {frame(`{"hello":{}}`), errFrame},
		"two messages":       {frame(`{"stop":{},"alive":{}}`), errFrame},
		"no streams":         {frame(`{"open":{"version":1,"duration":1,"interval":100000000}}`), errFrame},
		"many streams":       {frame(`{"open":{"version":1,"up":65,"duration":1,"interval":100000000}}`), errFrame},
		"negative streams":   {frame(`{"open":{"version":1,"up":2,"down":-1,"duration":1,"interval":100000000}}`), errFrame},
		"no duration":        {frame(`{"open":{"version":1,"up":2,"interval":100000000}}`), errFrame},
		"interval of 1 ns":   {frame(`{"open":{"version":1,"up":2,"duration":1,"interval":1}}`), errFrame},
		"negative limit":     {frame(`{"open":{"version":1,"up":2,"duration":1,"interval":100000000,"limit":-1}}`), errFrame},
		"negative count":     {frame(`{"report":{"received":-1}}`), errFrame},
		"a number too large": {frame(`{"report":{"received":1e30}}`), errFrame},
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
	f.Add([]byte("\x00\x02{}"))
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
		if diff := cmp.Diff(m, back); diff != "" {
			t.Fatalf("round trip changed the message:\n%s", diff)
		}
	})
}
