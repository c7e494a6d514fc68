package wire

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

func now() time.Time { return time.Unix(1000, 0) }

func TestDecodeIsTolerant(t *testing.T) {
	result := string(Append(nil, small()))
	for name, c := range map[string]struct {
		body     string
		options  Options
		results  int
		foreign  int
		problems string
	}{
		"nothing":                 {body: ""},
		"blank and comments":      {body: "\n\r\n# a comment\n   \n"},
		"no newline at the end":   {body: strings.TrimSuffix(result, "\n"), results: 1},
		"carriage returns":        {body: strings.ReplaceAll(result+result, "\n", "\r\n"), results: 1},
		"a bad line between":      {body: result + "cpu,host= usage=1\n" + "mem used=1i 5\n", results: 1, foreign: 1, problems: `line 2: column 10: expected tag value after tag key "host", but none found`},
		"garbage before":          {body: "\x00\xff\n" + result, results: 1, problems: "line 1: column 1: invalid character '\\x00' found at start of measurement name"},
		"a string with a newline": {body: "m s=\"a\nb\",f=1 5\n" + result, results: 1, foreign: 1},
		"a quote left open": {
			body: "m s=\"a,f=1 5\n" + result + "m f=1x\n", results: 1,
			problems: "line 1: column 5: expected closing quote for string field value, found end of input\n" +
				`line 3: column 5: cannot parse value for field key "f": invalid float value syntax`,
		},
		"a quote in a tag":       {body: "m,t=\"a f=1 5\n" + result, results: 1, foreign: 1},
		"a backslash at the end": {body: "m f=1 5\\\n" + result, results: 1, problems: `line 1: column 7: invalid timestamp ("5\\")`},
		"a line too long": {
			body: "m f=\"" + strings.Repeat("x", 10<<20) + "\" 5\n" + result, results: 1,
			problems: `line 1: longer than 1048576 bytes; it begins "m f=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"`,
		},
		"too many lines":    {body: "m f=1\nm f=2\nm f=3\nm f=4\n", options: Options{MaxLines: 2}, foreign: 2, problems: "line 3: more than 2 lines: send fewer at once"},
		"time out of range": {body: "m f=1 9223372036854775807\n", options: Options{Precision: Second}, problems: "line 1: time stamp 9223372036854775807 is outside of the years 1677 to 2262: is the precision right?"},
		"time too long":     {body: "m f=1 92233720368547758070\n", problems: `line 1: time stamp "92233720368547758070" is not a whole number within 64 bits`},
		"without identity":  {body: "nrprobe,agent=a f=1\nnrprobe,agent=a boot=1i,seq=1i\nnrprobe,agent=a boot=\"b\",seq=-1i\nnrprobe_event,agent=a boot=\"b\",seq=7i\n", foreign: 4},
		"a bad histogram":   {body: `nrprobe,agent=a boot="b",seq=1i,rtt_hist="4;x"` + "\n", results: 1, problems: `line 1: field "rtt_hist" is left out: histogram: want 4;count;sum;min;max;zero;buckets`},
		"a bad duration":    {body: `nrprobe,agent=a boot="b",seq=1i,elapsed_seconds=1e300` + "\n", results: 1, problems: `line 1: field "elapsed_seconds" is left out: 1e+300 s is no duration`},
	} {
		c.options.Now = now()
		b := Decode([]byte(c.body), c.options)
		var text []string
		for _, p := range b.Problems {
			text = append(text, p.String())
		}
		if got := strings.Join(text, "\n"); len(b.Results) != c.results || len(b.Foreign) != c.foreign || got != c.problems || b.Bad != len(b.Problems) {
			t.Errorf("%s: %d results, %d foreign points, problems:\n%s\nwant %d, %d:\n%s", name, len(b.Results), len(b.Foreign), got, c.results, c.foreign, c.problems)
		}
	}
}

func TestDecodeForeign(t *testing.T) {
	body := "cpu,host=a\\ b,cpu=0 user=1.5,n=3i,u=4u,ok=true,s=\"x\\\"y\" 1500\nmem free=1\n"
	got := Decode([]byte(body), Options{Precision: Millisecond, Now: now()})
	want := Batch{Foreign: []Point{
		{Measurement: "cpu", Tags: []Tag{{"host", "a b"}, {"cpu", "0"}}, Time: time.Unix(1, 500_000_000), Fields: []Field{
			{"user", 1.5}, {"n", int64(3)}, {"u", uint64(4)}, {"ok", true}, {"s", `x"y`},
		}},
		{Measurement: "mem", Fields: []Field{{"free", 1.0}}, Time: now()},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if got := Decode([]byte("m f=1"), Options{}); time.Since(got.Foreign[0].Time) > time.Minute {
		t.Errorf("a line without time stamp is from %v, want now", got.Foreign[0].Time)
	}
}

func TestDecodeOldFromNewer(t *testing.T) {
	body := `nrprobe,agent=a,kind=k2,new_tag=x boot="b",seq=1u,outcome="tired",quality="partial,moonlight",jitter_furlongs=3i,flag=true,note="text" 5`
	got := Decode([]byte(body), Options{})
	want := Batch{Results: []*probes.Result{{
		ID: probes.ID{Agent: "a", Boot: "b", Seq: 1}, Agent: "a", Kind: "k2", Start: time.Unix(0, 5),
		Labels: map[string]string{"new_tag": "x"}, Outcome: "tired", Quality: probes.Partial,
		Values: map[string]float64{"jitter_furlongs": 3}, Hists: map[string]*probes.Hist{},
	}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestLinesOfAResultInAnyOrderAndTwice(t *testing.T) {
	split := bytes.SplitAfter(Append(nil, full()), []byte("\n"))
	split = split[:len(split)-1]
	var mixed []byte
	for _, i := range []int{3, 1, 0, 4, 2, 5, 6} {
		mixed = append(mixed, split[i]...)
	}
	want := full()
	want.Events = []probes.Event{want.Events[1], want.Events[2], want.Events[3], want.Events[0]} // 0 came first, as an orphan
	if d := cmp.Diff(Batch{Results: []*probes.Result{want}}, Decode(mixed, Options{})); d != "" {
		t.Errorf("mixed: -want +got\n%s", d)
	}
	other := Append(nil, small())
	twice := bytes.Join([][]byte{Append(nil, full()), other, Append(nil, full()), other}, nil)
	if d := cmp.Diff(Batch{Results: []*probes.Result{full(), small()}, Duplicates: 2}, Decode(twice, Options{})); d != "" {
		t.Errorf("twice: -want +got\n%s", d)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	b := Decode(bytes.Repeat([]byte("x\n"), 5000), Options{})
	if len(b.Problems) != MaxProblems || b.Bad != 5000 {
		t.Errorf("%d problems kept of %d, want %d of 5000", len(b.Problems), b.Bad, MaxProblems)
	}
}

func TestAStringLongerThanALineMayBeIsCutAtItsNewlines(t *testing.T) {
	body := "m f=\"\n" + strings.Repeat("x\n", 50) + "\" 5\nm f=1\n"
	if b := Decode([]byte(body), Options{MaxLine: 80}); b.Bad != 52 || b.Problems[51].Line != 52 || len(b.Foreign) != 1 {
		t.Errorf("%d problems and %d points, want 52 and 1: %v", b.Bad, len(b.Foreign), b.Problems)
	}
	if b := Decode([]byte(body), Options{}); b.Bad != 0 || len(b.Foreign) != 2 {
		t.Errorf("%d problems and %d points, want 0 and 2: %v", b.Bad, len(b.Foreign), b.Problems)
	}
}

func TestParsePrecision(t *testing.T) {
	for text, want := range map[string]Precision{"": Nanosecond, "ns": Nanosecond, "us": Microsecond, "u": Microsecond, "ms": Millisecond, "s": Second, "h": Precision(time.Hour)} {
		if got, err := ParsePrecision(text); got != want || err != nil {
			t.Errorf("ParsePrecision(%q) = %v, %v", text, got, err)
		}
	}
	if _, err := ParsePrecision("fortnight"); err == nil || err.Error() != `precision "fortnight" is unknown: want ns, us, ms or s` {
		t.Errorf("got %v", err)
	}
}

// FuzzDecode holds that no body makes Decode panic, and that whatever Results it finds go through line protocol
// unchanged from then on.
func FuzzDecode(f *testing.F) {
	golden, err := os.ReadFile("testdata/full.lp")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	for _, seed := range []string{
		"nrprobe,agent=a boot=\"b\",seq=1i\n", "m s=\"a\nb\" 5\n", "m s=\"a\n", "\\\n\"=\\\" \x00,", "nrprobe,label_=1,label_nth=2 boot=\"\",seq=2u,_hist=\"4;0;0;0;0;0;\",info_=\"\"",
		"nrprobe_event boot=\"\",seq=1i,duration_seconds=1e9\nnrprobe boot=\"\",seq=1i\n", "nrprobe_radio boot=\"\",seq=1i,pci=1e300,rsrp_dbm=1\nnrprobe boot=\"\",seq=1i,radio_rsrp_dbm=3\n",
	} {
		f.Add([]byte(seed))
	}
	near := cmp.Comparer(func(a, b time.Duration) bool { // float64 holds nanoseconds exactly only up to 26 days
		return a == b || math.Abs(float64(a-b)) <= math.Abs(float64(a))*1e-15
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := Decode(body, Options{Now: now(), MaxLine: 1 << 16, MaxLines: 1000})
		if len(b.Problems) != min(b.Bad, MaxProblems) {
			t.Errorf("%d problems of %d", len(b.Problems), b.Bad)
		}
		var again []byte
		for _, r := range b.Results {
			again = Append(again, r)
		}
		back := Decode(again, Options{})
		if d := cmp.Diff(Batch{Results: b.Results}, back, near); d != "" {
			t.Errorf("-first +again\n%s\n%s", d, again)
		}
		if lines := bytes.Count(again, []byte("\n")); len(again) > 0 && lines != countLines(b.Results) {
			t.Errorf("%d lines, want %d: a newline slipped into a line\n%s", lines, countLines(b.Results), again)
		}
	})
}

func countLines(results []*probes.Result) (n int) {
	for _, r := range results {
		n += 1 + len(r.Events)
		if r.Radio != nil && r.Radio.Before != nil {
			n++
		}
		if r.Radio != nil && r.Radio.After != nil {
			n++
		}
	}
	return n
}
