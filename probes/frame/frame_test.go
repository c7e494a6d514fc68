package frame

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type message struct {
	Ask    *string   `json:"ask,omitempty"`
	Answer *int      `json:"answer,omitempty"`
	Alive  *struct{} `json:"alive,omitempty"`
}

var errForeign = errors.New("not ours")

var format = Format{Limit: 20, Foreign: errForeign}

func TestFrames(t *testing.T) {
	var wire []byte
	for _, m := range []message{{Ask: new("how far")}, {Answer: new(0)}, {Alive: &struct{}{}}} {
		var err error
		if wire, err = format.Append(wire, m); err != nil {
			t.Fatal(err)
		}
	}
	if want := "\x00\x11{\"ask\":\"how far\"}\x00\x0c{\"answer\":0}\x00\x0c{\"alive\":{}}"; string(wire) != want {
		t.Fatalf("got %q, want %q", wire, want)
	}
	r := iotest.OneByteReader(strings.NewReader(string(wire) + "data"))
	var ask, answer, alive message
	for _, m := range []*message{&ask, &answer, &alive} {
		if err := format.Read(r, m); err != nil {
			t.Fatal(err)
		}
	}
	if *ask.Ask != "how far" || *answer.Answer != 0 || alive.Alive == nil {
		t.Errorf("got %v, %v and %v", ask, answer, alive)
	}
	if rest, err := io.ReadAll(r); string(rest) != "data" || err != nil {
		t.Errorf("left %q, %v behind the frames", rest, err)
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	for wire, want := range map[string]error{
		"":                                    io.EOF,
		"\x00":                                io.ErrUnexpectedEOF,
		"\x00\x02{":                           io.ErrUnexpectedEOF,
		"\x00\x00":                            errForeign,
		"\x00\x15" + strings.Repeat(" ", 21):  errForeign,
		"\x00\x02{}":                          errForeign,
		"\x00\x04GET ":                        errForeign,
		"\x00\x0c{\"answer\":[]}":             errForeign,
		"\x00\x0c{\"hello\": 1}":              errForeign,
		"\x00\x13{\"ask\":\"\",\"alive\":{}}": errForeign,
	} {
		if err := format.Read(strings.NewReader(wire), new(message)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", wire, err, want)
		}
	}
	for _, m := range []any{message{Ask: new(strings.Repeat("a", 11))}, func() {}} {
		if b, err := format.Append(nil, m); !errors.Is(err, errForeign) {
			t.Errorf("%v: %q, %v", m, b, err)
		}
	}
}
