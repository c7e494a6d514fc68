package lease

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
}

func TestMessagesSurviveTheWire(t *testing.T) {
	longest := strings.Repeat("<", maxName) // six bytes each in JSON
	for _, m := range []message{
		{Ask: &Ask{Version: 1, Site: longest, Agent: longest, Kind: longest, Rate: 1.5e8, Bytes: 1 << 62, Duration: time.Hour}},
		{Queued: &queued{Position: 3, TTL: 5 * time.Second}},
		{Granted: &granted{ID: "abc", Duration: time.Minute, TTL: time.Second}},
		{Refused: &refusal{Outcome: "busy", Text: "later"}},
		{Ended: &refusal{Outcome: "timeout", Text: "silence"}},
		{Alive: &struct{}{}},
	} {
		var b bytes.Buffer
		if err := writeMessage(&b, "12345678", m); err != nil {
			t.Fatal(err)
		}
		b.Next(8)
		b.WriteString("rest")
		got, err := readMessage(iotest.OneByteReader(&b))
		if diff := cmp.Diff(m, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		if rest, _ := io.ReadAll(&b); string(rest) != "rest" {
			t.Errorf("%q is left behind the frame, want what stood there", rest)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"no length":         {0, 0},
		"a large length":    append([]byte{0x10, 0x01}, make([]byte, 5000)...),
		"no object":         framed("[]"),
		"nothing":           framed("{}"),
		"two messages":      framed(`{"alive":{},"queued":{"position":1,"ttl":5000000000}}`),
		"position 0":        framed(`{"queued":{"position":0,"ttl":5000000000}}`),
		"no ttl":            framed(`{"queued":{"position":1}}`),
		"a long ttl":        framed(`{"granted":{"id":"a","duration":1,"ttl":61000000000}}`),
		"no id":             framed(`{"granted":{"duration":1,"ttl":5000000000}}`),
		"no duration":       framed(`{"granted":{"id":"a","ttl":5000000000}}`),
		"a control":         framed(`{"ask":{"version":1,"site":"a\u001b[2J"}}`),
		"a long name":       framed(`{"ask":{"version":1,"agent":"` + strings.Repeat("a", maxName+1) + `"}}`),
		"a negative rate":   framed(`{"ask":{"version":1,"rate":-1}}`),
		"negative bytes":    framed(`{"ask":{"version":1,"bytes":-1}}`),
		"negative duration": framed(`{"ask":{"version":1,"duration":-1}}`),
	} {
		if _, err := readMessage(bytes.NewReader(b)); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v, want it to be no message", name, err)
		}
	}
	for name, b := range map[string][]byte{"nothing": {}, "half a length": {0}, "half a message": {0, 10, '{'}} {
		if _, err := readMessage(bytes.NewReader(b)); err == nil || errors.Is(err, errFrame) {
			t.Errorf("%s: %v, want the end of the stream", name, err)
		}
	}
}

func TestRefusalsHaveOutcomes(t *testing.T) {
	for text, want := range map[string]probes.Outcome{
		"busy": probes.Busy, "timeout": probes.Timeout, "auth": probes.Auth,
		"ok": probes.Refused, "canceled": probes.Refused, "nonsense": probes.Refused, "": probes.Refused,
	} {
		if got := probes.Classify((&refusal{Outcome: text}).failure()); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// FuzzMessage: whatever is read can be written, and reads the same again.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"ask":{"version":1,"site":"s","agent":"a","kind":"throughput","rate":1e9,"bytes":5,"duration":1000000000}}`,
		`{"queued":{"position":1,"ttl":5000000000}}`, `{"granted":{"id":"x","duration":1000000000,"ttl":5000000000}}`,
		`{"refused":{"outcome":"busy","text":"x"}}`, `{"ended":{"outcome":"timeout","text":"x"}}`, `{"alive":{}}`,
	} {
		f.Add(framed(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeMessage(&again, "", m); err != nil {
			if m.Refused == nil && m.Ended == nil { // their text may grow by its escapes
				t.Fatal(err)
			}
			return
		}
		got, err := readMessage(&again)
		if diff := cmp.Diff(m, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
