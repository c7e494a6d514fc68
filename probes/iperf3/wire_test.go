package iperf3

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCookie(t *testing.T) {
	c := newCookie()
	back, err := readCookie(bytes.NewReader(c[:]))
	if err != nil || back != c || newCookie() == c {
		t.Errorf("%q: %v", c, err)
	}
	for _, bad := range []string{strings.Repeat("a", 37), strings.Repeat("A", 36) + "\x00", strings.Repeat("1", 36) + "\x00", "a\x00" + strings.Repeat("a", 34) + "\x00"} {
		if _, err := readCookie(strings.NewReader(bad)); !errors.Is(err, errProtocol) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestParamsOfRealClients reads what iperf3 3.12 sends, and what others get away with.
func TestParamsOfRealClients(t *testing.T) {
	var p params
	text := `{"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":1,"len":131072,"pacing_timer":1000,"client_version":"3.12"}`
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	want := params{TCP: true, Time: 10, Parallel: 1, Len: 131072, PacingTimer: 1000, ClientVersion: "3.12"}
	if diff := cmp.Diff(want, p); diff != "" || p.refuse(600) != 0 {
		t.Errorf("refused with %d:\n%s", p.refuse(600), diff)
	}
	p = params{}
	text = `{"udp":true,"time":1.5,"parallel":2,"bandwidth":1.048576e6,"reverse":1,"udp_counters_64bit":1,"len":"x","congestion":5,"extra":{"a":[]}}`
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if p.refuse(600) != 0 || p.Len != udpBlock || !bool(p.Reverse) || p.Bandwidth != 1048576 || p.Time != 1 || p.Congestion != "" {
		t.Errorf("%+v", p)
	}
}

func TestParamsRefused(t *testing.T) {
	for text, want := range map[string]int32{
		`{}`:                                                   errUnimplemen,
		`{"sctp":true,"parallel":1}`:                           errUnimplemen,
		`{"tcp":true,"udp":true}`:                              errUnimplemen,
		`{"tcp":true}`:                                         errStreams,
		`{"tcp":true,"parallel":129}`:                          errStreams,
		`{"tcp":true,"parallel":1,"time":1e300}`:               errDuration,
		`{"tcp":true,"parallel":1,"time":601}`:                 errDuration,
		`{"tcp":true,"parallel":1,"time":600,"omit":1}`:        errDuration,
		`{"tcp":true,"parallel":1,"time":9223372036854775807}`: errDuration,
		`{"tcp":true,"parallel":1,"omit":-1}`:                  errOmit,
		`{"tcp":true,"parallel":1,"len":1048577}`:              errBlockSize,
		`{"udp":true,"parallel":1,"len":15}`:                   errBlockSize,
		`{"udp":true,"parallel":1,"bandwidth":-5}`:             errUnimplemen,
	} {
		var p params
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got := p.refuse(600); got != want {
			t.Errorf("%s: error %d, want %d", text, got, want)
		}
	}
}

func TestStreamIDs(t *testing.T) {
	for i, want := range []int{1, 3, 4, 5, 6} {
		if got := streamID(i); got != want {
			t.Errorf("stream %d has id %d, want %d", i, got, want)
		}
	}
}

func TestDatagramHeader(t *testing.T) {
	b := make([]byte, 16)
	putHeader(b, 3*time.Second+7*time.Microsecond, 9, false)
	if want := "\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00\x09\x00\x00\x00\x00"; string(b) != want {
		t.Errorf("header % x, want % x", b, want)
	}
	putHeader(b, 3*time.Second+7*time.Microsecond, 1<<40, true)
	if sent, seq, ok := parseHeader(b, true); !ok || seq != 1<<40 || sent != 3*time.Second+7*time.Microsecond {
		t.Errorf("read %v, %d, %v", sent, seq, ok)
	}
	if _, _, ok := parseHeader(b[:15], true); ok {
		t.Error("a header of 15 bytes was accepted")
	}
}

func TestTally(t *testing.T) {
	arrive := func(seqs ...uint64) streamResult {
		y := &tally{}
		b := make([]byte, 100)
		for i, seq := range seqs {
			putHeader(b, time.Duration(seq)*time.Millisecond, seq, false)
			y.arrive(b, time.Duration(seq)*time.Millisecond+time.Duration(i%2)*time.Millisecond)
		}
		var r streamResult
		y.result(&r)
		return r
	}
	for name, c := range map[string]struct {
		seqs            []uint64
		packets, errors number
	}{
		"in order":       {[]uint64{1, 2, 3}, 3, 0},
		"a gap":          {[]uint64{1, 2, 5}, 5, 2},
		"a gap filled":   {[]uint64{1, 3, 2, 4}, 4, 0},
		"the first lost": {[]uint64{2, 3}, 3, 1},
		"a duplicate":    {[]uint64{1, 1, 2}, 2, 0},
		"no number":      {[]uint64{0}, 0, 0},
	} {
		if got := arrive(c.seqs...); got.Packets != c.packets || got.Errors != c.errors {
			t.Errorf("%s: %d packets, %d errors; want %d, %d", name, got.Packets, got.Errors, c.packets, c.errors)
		}
	}
	// Transit times 0, 1, 0 ms: J = 1/16, then 1/16 + (1 - 1/16)/16, in ms.
	if got, want := float64(arrive(1, 2, 3).Jitter), (1./16+(1-1./16)/16)/1000; math.Abs(got-want) > 1e-12 {
		t.Errorf("jitter %v, want %v", got, want)
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, text := range []string{
		`{"tcp":true,"time":10,"parallel":4,"len":131072}`, `{"streams":[{"id":1,"bytes":1e30,"jitter":-1}]}`, `[]`, `{`, `{"udp":true,"blockcount":1e18,"len":16,"parallel":1}`,
	} {
		f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p params
		if readJSON(bytes.NewReader(b), maxParams, &p) == nil && p.refuse(600) == 0 {
			if up, down := p.streams(); up+down < 1 || up+down > 2*maxStreams || len(newTraffic(&p, 0, 1).block) != int(p.Len) {
				t.Errorf("accepted %+v", p)
			}
		}
		var r results
		if readJSON(bytes.NewReader(b), maxResults, &r) == nil {
			r.find(1)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte(clientHello), true)
	f.Add(make([]byte, 16), false)
	f.Fuzz(func(t *testing.T, b []byte, wide bool) {
		y := &tally{wide: wide}
		y.arrive(b, time.Second)
		y.arrive(b, 2*time.Second)
		var r streamResult
		y.result(&r)
		if r.Errors < 0 || r.Packets < 0 || r.Bytes < 0 || math.IsNaN(float64(r.Jitter)) {
			t.Errorf("%+v", r)
		}
	})
}
