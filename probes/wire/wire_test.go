package wire

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// full is a Result with everything a Result can have.
func full() *probes.Result {
	start := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)
	rtt := &probes.Hist{}
	for _, v := range []float64{0.0151, 0.0163, 0.018, 0.25} {
		rtt.Add(v)
	}
	return &probes.Result{
		ID:    probes.ID{Agent: "van-07", Boot: "6f2c", Seq: 42},
		Agent: "van-07", Kind: "stamp", Probe: "edge latency", Target: "reflector.example:8620",
		Labels:  map[string]string{"site": "nansha", "operator": "op,1=x", "kind": "mine", "label_x": "y", "zone": "é"},
		Start:   start,
		Elapsed: 9*time.Second + 999_999_999,
		Outcome: probes.Timeout,
		Error:   "not complete after 10s\n\tat \"here\", C:\\",
		Values: map[string]float64{
			"rtt_p50_seconds": 0.0163, "rtt_max_seconds": 0.25, "packets_sent": 1000, "packets_lost": 0,
			"loss_ratio": 1e-9, "of_the_future": -1.5e300,
		},
		Hists:   map[string]*probes.Hist{"rtt": rtt, "pdv_up": {}},
		Info:    map[string]string{"congestion_control": "cubic", "empty": ""},
		Quality: probes.ScheduleLate | probes.Partial,
		Radio: &probes.Radio{
			Before: &probes.RadioSample{Time: start.Add(-time.Second), RAT: "LTE", Band: "B3"},
			After: &probes.RadioSample{
				Time: start.Add(10 * time.Second), RAT: "NR-SA", PLMN: "46000", Cell: "1a2b3c", PCI: new(94), Band: "n78",
				ARFCN: new(627264), RSRP: new(-84.5), RSRQ: new(-10.75), SINR: new(0.0),
				Latitude: new(22.75), Longitude: new(113.6), Speed: new(16.7),
			},
		},
		Events: []probes.Event{
			{Time: start.Add(5 * time.Second), Type: probes.InterruptionEvent, Duration: 137*time.Millisecond + 1, Spike: &probes.Spike{Before: 20 * time.Millisecond, Peak: 157 * time.Millisecond, Settled: 0}},
			{Time: start.Add(5 * time.Second), Type: probes.InterruptionEvent, Duration: time.Second, Spike: &probes.Spike{Before: 1, Peak: 2, Settled: -1}},
			{Time: start.Add(5 * time.Second), Type: probes.Handover, Detail: "LTE to NR-SA pci 94"},
			{Time: start.Add(6 * time.Second), Type: probes.ClockStep},
		},
	}
}

// small is the least that a Result can have.
func small() *probes.Result {
	return &probes.Result{
		ID: probes.ID{Agent: "a", Boot: "b", Seq: 1}, Agent: "a", Kind: "tcp", Probe: "p", Target: "t",
		Start: time.Unix(0, 0).UTC(), Outcome: probes.OK, Values: map[string]float64{}, Hists: map[string]*probes.Hist{},
	}
}

func TestGolden(t *testing.T) {
	for name, r := range map[string]*probes.Result{"full": full(), "small": small()} {
		file := filepath.Join("testdata", name+".lp")
		got := Append(nil, r)
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: -want +got\n%s", file, d)
		}
		decoded := Decode(want, Options{})
		if d := cmp.Diff(Batch{Results: []*probes.Result{r}}, decoded); d != "" {
			t.Errorf("%s reads back differently: -want +got\n%s", file, d)
		}
	}
}

// randomResult draws Results that line protocol can hold without loss.
func randomResult(rng *rand.Rand, seq uint64) *probes.Result {
	r := full()
	r.ID.Seq = seq
	r.Start = time.Unix(0, rng.Int64N(4e18)).UTC()
	r.Elapsed = time.Duration(rng.Int64N(1 << 51))
	text := func() string {
		runes := []rune(`a"\,= 
	é#`)
		var b strings.Builder
		for range rng.IntN(8) {
			b.WriteRune(runes[rng.IntN(len(runes))])
		}
		return b.String()
	}
	r.Error, r.Info["x y"] = text(), text()
	r.Labels["l,=\" "] = clean("v" + text())
	for name := range r.Values {
		r.Values[name] = math.Float64frombits(rng.Uint64() &^ (1 << 62)) // finite
	}
	r.Hists["rtt"].Add(rng.ExpFloat64())
	r.Events = r.Events[:rng.IntN(5)]
	if len(r.Events) == 0 {
		r.Events = nil
	}
	if rng.IntN(3) == 0 {
		r.Values["radio_sinr_db"], r.Radio.After.SINR = -3, nil
	}
	if rng.IntN(3) == 0 {
		r.Radio = nil
		r.Values["radio_rsrp_dbm"] = -99
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var want Batch
	var body []byte
	for i := range 300 {
		r := randomResult(rng, uint64(i+1))
		before := r.Clone()
		body = Append(body, r)
		if d := cmp.Diff(before, r); d != "" {
			t.Fatalf("Append changed the Result: %s", d)
		}
		want.Results = append(want.Results, r)
	}
	if d := cmp.Diff(want, Decode(body, Options{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if again := Append(nil, want.Results[0]); !bytes.HasPrefix(body, again) {
		t.Errorf("equal Results give different bytes")
	}
}

func TestWhatTheModemSaidStandsInTheMainLineOnce(t *testing.T) {
	for _, name := range joinedNames() {
		if _, ok := probes.NewNames().Value(name); !ok {
			t.Errorf("%s is no word of the vocabulary", name)
		}
	}
	r := full()
	r.Values["radio_rsrp_dbm"] = -1 // the sample after the measurement is this word's only home
	body := Append(nil, r)
	main, _, _ := bytes.Cut(body, []byte("\n"))
	if n := bytes.Count(main, []byte("radio_rsrp_dbm=")); n != 1 || !bytes.Contains(main, []byte(",radio_rsrp_dbm=-84.5,")) {
		t.Errorf("the main line does not have the sample's RSRP just once:\n%s", main)
	}
	if got := Decode(body, Options{}).Results[0]; !cmp.Equal(got, full()) {
		t.Errorf("read back differently: %s", cmp.Diff(full(), got))
	}
	// Without its radio lines the reading is not lost.
	if got := Decode(main, Options{}).Results[0]; got.Values["radio_rsrp_dbm"] != -84.5 {
		t.Errorf("the main line alone lost its RSRP: %v", got.Values)
	}
}

// InfluxDB overwrites a point that has the series and the time of another.
func TestNoTwoEventsAreOnePoint(t *testing.T) {
	seen := map[string]bool{}
	for line := range strings.Lines(string(Append(nil, full()))) {
		series, _, _ := strings.Cut(line, " type=")
		key := series[:strings.Index(series, " boot=")] + line[strings.LastIndex(line, " "):]
		if seen[key] {
			t.Errorf("two points are one to InfluxDB: %s", key)
		}
		seen[key] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d points, want 7", len(seen))
	}
}

func TestWhatLineProtocolCannotHold(t *testing.T) {
	r := small()
	r.Probe = "two\nlines\x00\x7f\\"
	r.Target = "bad \xff utf8"
	r.Labels = map[string]string{"empty": "", "": "nameless", "a\nb": "1", "a b": "2"}
	r.Error = "bad \xff utf8"
	r.Start = time.Time{}
	r.Values = map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "seq": 5, "fine": 1}
	r.Events = []probes.Event{{Time: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), Type: "far"}}
	want := small()
	want.Probe, want.Target, want.Error = "two lines  /", "bad \uFFFD utf8", "bad \uFFFD utf8"
	want.Labels = map[string]string{"a b": "1"}
	want.Values = map[string]float64{"fine": 1}
	want.Events = []probes.Event{{Time: time.Unix(0, 0), Type: "far"}}
	body := Append([]byte("before 1\n"), r)
	got := Decode(bytes.TrimPrefix(body, []byte("before 1\n")), Options{})
	if d := cmp.Diff(Batch{Results: []*probes.Result{want}}, got); d != "" {
		t.Errorf("-want +got\n%s\n%s", d, body)
	}
}

func TestAppendAllocatesLittle(t *testing.T) {
	r := full()
	buffer := make([]byte, 0, 16<<10)
	if n := testing.AllocsPerRun(100, func() { Append(buffer, r) }); n > 25 {
		t.Errorf("%v allocations, want at most 25", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	r := full()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = Append(buffer[:0], r)
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkDecode(b *testing.B) {
	body := Append(nil, full())
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		Decode(body, Options{})
	}
}
