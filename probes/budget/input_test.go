package budget

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

func rttColumns(t *testing.T, timeColumn string) Columns {
	t.Helper()
	c, err := ParseColumns(timeColumn, []string{"rtt=rtt_ms"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnybodysCSV(t *testing.T) {
	in, err := Read("drive.csv", strings.NewReader("\ufeffunix_ms,note,rtt_ms\n1700000000200,b,\n1700000000000,a,12.5\n1700000000400,\"c, d\",30\n"), rttColumns(t, "unix_ms"))
	if err != nil {
		t.Fatal(err)
	}
	track := in.Pieces[0].Tracks["rtt"]
	if want := []float64{0.0125, math.Inf(1), 0.03}; !slices.Equal(track.Values, want) {
		t.Errorf("values %v, want %v: in the order of time, lost ones in their place", track.Values, want)
	}
	if r := in.Pieces[0].Result; !r.Start.Equal(time.UnixMilli(1700000000000)) || r.Elapsed != 400*time.Millisecond {
		t.Errorf("from %v for %v", r.Start, r.Elapsed)
	}
	for _, text := range []string{"rtt_ms\n12\n", "x;rtt_ms\n1;12\n", "x\trtt_ms\n1\t12\n", "rtt_ms\r\n12\r\n"} {
		in, err := Read("x.csv", strings.NewReader(text), rttColumns(t, ""))
		if err != nil || in.Pieces[0].Tracks["rtt"].Values[0] != 0.012 {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, err := ParseColumns("at", []string{"owd_up=delay:us", "rtt=d_s"})
	if err != nil {
		t.Fatal(err)
	}
	in, err = Read("x.csv", strings.NewReader("at,delay,d_s\n2024-05-06T07:08:09.5Z,1500,0.25\n1715000000,1,1\n"), c)
	if err != nil {
		t.Fatal(err)
	}
	if in.Pieces[0].Tracks["owd_up"].Values[0] != 0.0015 || in.Pieces[0].Tracks["rtt"].Values[0] != 0.25 {
		t.Errorf("%+v", in.Pieces[0].Tracks)
	}
}

// TestBadInputNamesFileLineValueAndRemedy has what users get wrong.
func TestBadInputNamesFileLineValueAndRemedy(t *testing.T) {
	for _, c := range []struct{ name, text, clock, want string }{
		{"empty", "  \n", "", "f: is empty: there is nothing to judge"},
		{"header only", "rtt_ms\n", "", "f: holds no results"},
		{"NaN", "rtt_ms\n1\nNaN\n", "", `f:3: rtt_ms: "NaN" is not a number; leave it empty for a packet that was lost`},
		{"infinite", "rtt_ms\ninf\n", "", `f:2: rtt_ms: "inf" is not a number`},
		{"word", "rtt_ms\n12ms\n", "", `f:2: rtt_ms: "12ms" is not a number`},
		{"negative", "rtt_ms\n-1\n", "", `f:2: rtt_ms: "-1" is below zero`},
		{"no column", "rtt_msec,x\n1,2\n", "", `f:1: no column "rtt_ms" (did you mean "rtt_msec"?): the header has`},
		{"no time column", "rtt_ms\n1\n", "at", `f:1: no column "at"`},
		{"bad time", "at,rtt_ms\nyesterday,1\n", "at", `f:2: at: "yesterday" is not a time`},
		{"time in another unit", "at,rtt_ms\n1700000000000,1\n", "at", `f:2: at: "1700000000000" in units of 1s is not between the years 1990 and 2200`},
		{"ragged", "a,rtt_ms\n1\n", "", `f:2: not CSV: wrong number of fields`},
		{"quote", "rtt_ms\n\"1\n", "", `f:`},
		{"JSON cut short", `{"id":{},"values":{"rtt_p50_seconds":1}`, "", `f:1: not a Result in JSON: the file ends in the middle of an object`},
		{"other JSON", `{"a":1}`, "", `f:1: an object without values is no Result`},
		{"report", `{"schema":"nrprobe-check/1"}`, "", `f: has the schema "nrprobe-check/1": it is the report of a check; a baseline is written with --save`},
		{"newer baseline", `{"schema":"nrprobe-baseline/9"}`, "", `f: has the schema "nrprobe-baseline/9": this version reads nrprobe-baseline/1`},
		{"baseline of nothing", `{"schema":"nrprobe-baseline/1","pieces":[{}]}`, "", `f: pieces[0] has no result`},
		{"baseline with odd times", `{"schema":"nrprobe-baseline/1","pieces":[{"result":{"values":{}},"tracks":{"rtt":{"values":[1],"at_us":[1,2]}}}]}`, "", `f: pieces[0].tracks.rtt: 2 times for 1 values`},
		{"bad line protocol", "nrprobe,agent=a \n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read("f", strings.NewReader(c.text), rttColumns(t, c.clock))
			if err == nil {
				t.Fatalf("accepted: %+v", in)
			}
			if _, ok := errors.AsType[*InputError](err); !ok || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := Read("f.csv", strings.NewReader("rtt_ms\n1\n"), Columns{}); err == nil || !strings.Contains(err.Error(), "add --value rtt=COLUMN") {
		t.Errorf("CSV without a word about its columns: %v", err)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "missing.json"), Columns{}); err == nil || !strings.Contains(err.Error(), "missing.json") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := ReadFile(t.TempDir(), Columns{}); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("folder: %v", err)
	}
	for _, values := range [][]string{{"rtt"}, {"rtt="}, {"rtd=a_ms"}, {"rtt=a_ms", "rtt=b_ms"}} {
		if _, err := ParseColumns("", values); err == nil {
			t.Errorf("columns %q accepted", values)
		}
	}
	if _, err := Read("f.csv", strings.NewReader("delay\n1\n"), Columns{Values: map[string]string{"rtt": "delay"}}); err == nil || !strings.Contains(err.Error(), "rtt=delay:ms") {
		t.Errorf("column without a unit: %v", err)
	}
}

// windows makes Results of a link as an agent would, a second each.
func windows(n int) []Piece {
	var list []Piece
	for i := range n {
		rec := probes.NewRecorder()
		for k := range 100 {
			rec.Observe(probes.RTT, probes.Both, 0.010+float64((i*100+k)*37%1000)*1e-6)
		}
		rec.Add(probes.PacketsSent, probes.Both, 101)
		rec.Add(probes.PacketsLost, probes.Both, 1)
		r := rec.Snapshot()
		r.ID, r.Kind, r.Probe, r.Target, r.Outcome = probes.ID{Agent: "van", Boot: "b", Seq: uint64(i + 1)}, "stamp", "edge", "edge.example", probes.OK
		r.Start, r.Elapsed = time.Unix(1700000000+int64(i), 0).UTC(), time.Second
		list = append(list, Piece{Result: r})
	}
	return list
}

func TestJSONAndLineProtocolSayTheSame(t *testing.T) {
	pieces := windows(30)
	var asJSON, asLines, asList bytes.Buffer
	lines := json.NewEncoder(&asJSON)
	for _, p := range pieces {
		if err := lines.Encode(p.Result); err != nil {
			t.Fatal(err)
		}
	}
	for i := range pieces { // the other way round: order does not matter
		asLines.Write(wire.Append(nil, pieces[len(pieces)-1-i].Result))
	}
	asLines.WriteString("nrprobe broken\n")
	asList.WriteString("[" + strings.ReplaceAll(strings.TrimSpace(asJSON.String()), "\n", ",") + "]")
	asJSON.WriteString(asJSON.String()) // copies are dropped
	plan, err := parse(t, "budgets: [{metric: rtt, statistic: p95, bound: 11.5ms, of: received}, {metric: loss, statistic: ratio, bound: 2%}, {metric: rtt, statistic: mean, bound: 11ms}, {metric: rtt, statistic: max, bound: 10.5ms, of: received}]")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, text := range []*bytes.Buffer{&asJSON, &asLines, &asList} {
		in, err := Read("input", text, Columns{})
		if err != nil {
			t.Fatal(err)
		}
		if len(in.Pieces) != 30 {
			t.Fatalf("%d results, want 30", len(in.Pieces))
		}
		r, err := Check(t.Context(), plan, Options{Input: in})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []Outcome{Pass, Pass, Pass, Fail} {
			if r.Verdicts[i].Outcome != want {
				t.Errorf("%s: %s, want %s: %s", r.Verdicts[i].Name, r.Verdicts[i].Outcome, want, r.Verdicts[i].Reason)
			}
			reasons = append(reasons, r.Verdicts[i].Reason)
		}
	}
	if !slices.Equal(reasons[:4], reasons[4:8]) || !slices.Equal(reasons[:4], reasons[8:]) {
		t.Errorf("the formats differ:\n%s", strings.Join(reasons, "\n"))
	}
}

func TestResultsAreChosenByTagsTargetAndProbe(t *testing.T) {
	pieces := windows(40)
	for i := range pieces {
		if i%2 == 0 {
			pieces[i].Result.Labels = map[string]string{"site": "north"}
			pieces[i].Result.Target = "other.example"
		}
	}
	for yaml, want := range map[string]int{
		"":                           40,
		", tags: {site: north}":      20,
		", target: edge.example":     20,
		", tags: {agent: elsewhere}": 0,
		", probe: tcp":               -1,
	} {
		plan, err := parse(t, "budgets: [{metric: rtt, statistic: p50, bound: 1s"+yaml+"}]")
		if want < 0 {
			if err == nil {
				t.Errorf("%s: accepted", yaml)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := Check(t.Context(), plan, Options{Input: &Input{Pieces: pieces}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdicts[0].Results != want {
			t.Errorf("%s: %d results, want %d", yaml, r.Verdicts[0].Results, want)
		}
		if mixed := yaml == ""; mixed != (len(r.Warnings) > 0) {
			t.Errorf("%s: warnings %q", yaml, r.Warnings)
		}
	}
}

func TestFewResultsDecideNothing(t *testing.T) {
	plan, err := parse(t, "budgets: [{metric: rtt, statistic: p50, bound: 1s}, {metric: connect, statistic: p50, bound: 1s}]")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), plan, Options{Input: &Input{Pieces: windows(9)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"9 results are too few to tell how much they vary with time: at least 10 are needed", "no results with connect"} {
		if v := r.Verdicts[i]; v.Outcome != Inconclusive || !strings.HasPrefix(v.Reason, want) {
			t.Errorf("%s: %s", v.Outcome, v.Reason)
		}
	}
}

func TestMoreIsBetterForRates(t *testing.T) {
	input := func(rate float64) *Input {
		in := &Input{}
		for i := range 12 {
			rec := probes.NewRecorder()
			rec.Set(probes.Goodput, probes.Down, rate+float64(i*5%12)*1e4)
			r := rec.Snapshot()
			r.Start = time.Unix(1700000000+int64(i)*60, 0)
			in.Pieces = append(in.Pieces, Piece{Result: r})
		}
		return in
	}
	plan, err := parse(t, "budgets: [{metric: goodput_down, statistic: p50, at_least: 100Mbit/s}]")
	if err != nil {
		t.Fatal(err)
	}
	for rate, want := range map[float64]Outcome{15e6: Pass, 10e6: Fail, 12.44e6: Inconclusive} {
		r, err := Check(t.Context(), plan, Options{Input: input(rate)})
		if err != nil {
			t.Fatal(err)
		}
		v := r.Verdicts[0]
		if v.Outcome != want || v.Estimate < rate || v.Lower > v.Estimate || v.Upper < v.Estimate {
			t.Errorf("%v B/s: %s with %v in [%v, %v]: %s", rate, v.Outcome, v.Estimate, v.Lower, v.Upper, v.Reason)
		}
	}
	r, err := Check(t.Context(), plan, Options{Input: input(10e6), Baseline: input(15e6)})
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Verdicts[1]; v.Outcome != Fail || !strings.Contains(v.Reason, "lower than the baseline's") {
		t.Errorf("a third slower than the baseline: %s: %s", v.Outcome, v.Reason)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"unix_ms,rtt_ms\n1700000000000,12\n", `{"values":{"x":1},"histograms":{"rtt":{"schema":4,"count":0}}}`, "nrprobe,agent=a boot=\"b\",seq=1i 1\n",
		`{"schema":"nrprobe-baseline/1","pieces":[{"result":{"values":{}},"tracks":{"rtt":{"values":[null]}}}]}`, "[", "\"", "rtt_ms\n\n",
	} {
		f.Add([]byte(text))
	}
	columns := Columns{Values: map[string]string{"rtt": "rtt_ms"}}
	plan, err := Parse("b", []byte("budgets: [{metric: rtt, statistic: p95, bound: 20ms}, {metric: rtt, statistic: availability, survival: 10ms, at_least: 90%, bound: 20ms}, {metric: loss, statistic: ratio, bound: 1%}, {metric: rtt, statistic: mean, bound: 1s}]"), nil, kinds(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := Read("f", bytes.NewReader(text), columns)
		if err != nil {
			return
		}
		r, err := Check(t.Context(), plan, Options{Input: in, Baseline: in})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := errors.Join(r.WriteJSON(&b), r.WriteJUnit(&b, ""), r.WriteMarkdown(&b), r.WriteTable(&b), r.WriteAnnotations(&b)); err != nil {
			t.Fatal(err)
		}
	})
}
