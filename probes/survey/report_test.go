package survey

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/nrprobe/nrprobe/probes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; with -update it is rewritten:\n%s", name, got)
	}
}

// result is what a probe took down, at a fixed time.
func result(kind string, fill func(*probes.Recorder)) *probes.Result {
	rec := probes.NewRecorder()
	fill(rec)
	r := rec.Snapshot()
	r.Kind, r.Probe, r.Agent, r.Target, r.Outcome = kind, "sample", "van-07", "edge.example", probes.OK
	r.Start, r.Elapsed = time.Date(2026, 11, 23, 20, 40, 0, 0, time.UTC), 5*time.Second
	return r
}

// latencySample is round trips around a median, in seconds, one of them lost each way.
func latencySample(median float64) *probes.Result {
	return result(kindSTAMP, func(rec *probes.Recorder) {
		for i := range 100 {
			rec.Observe(probes.RTT, probes.Both, median*(0.9+float64(i)/500))
		}
		rec.Add(probes.PacketsSent, probes.Both, 102)
		rec.Add(probes.PacketsReceived, probes.Both, 100)
		rec.Add(probes.PacketsLost, probes.Both, 2)
		rec.Add(probes.PacketsLost, probes.Up, 1)
		rec.Add(probes.PacketsLost, probes.Down, 1)
		rec.Set(probes.Interruption, probes.Both, 0.0437)
		rec.Flag(probes.UserStamps | probes.LoadConcurrent)
	})
}

// loadSample is a load at a rate in bytes per second.
func loadSample(rate float64, ways ...probes.Direction) *probes.Result {
	return result(kindThroughput, func(rec *probes.Recorder) {
		for _, way := range ways {
			rec.Set(probes.Goodput, way, rate)
			rec.Set(probes.Ramp, way, 0.4)
			rec.Add(probes.Transferred, way, 5*rate)
			for i := range 40 {
				rec.Observe(probes.IntervalRate, way, rate*(0.8+float64(i)/100))
			}
			rec.Note("limited_by_"+way.String(), "congestion_window")
		}
	})
}

// sample is a report of all phases, with all that a report can have.
func sample() *Report {
	pci, rsrp, sinr := 94, -87.0, 14.0
	r := &Report{
		Agent: "van-07", Target: "edge.example", Start: time.Date(2026, 11, 23, 20, 40, 0, 0, time.UTC), Elapsed: 29 * time.Second,
		MaxBytes: 500e6, Outcome: probes.Timeout, Error: "edge.example stopped answering during QUIC upload",
		Figures: map[string]float64{}, Grades: map[string]string{}, Notes: []string{"QUIC upload left out: no reason"},
	}
	add := func(name, label string, from, to time.Duration, results ...*probes.Result) *Phase {
		r.Phases = append(r.Phases, Phase{Name: name, Label: label, Start: from * time.Second, Elapsed: (to - from) * time.Second, Results: results})
		p := &r.Phases[len(r.Phases)-1]
		for i := range 100 {
			if l := p.latency(); l != nil && name != handshakes {
				at := p.Start + p.Elapsed*time.Duration(i)/100
				p.rtts = append(p.rtts, point{at, probes.P50.Of(l.Hists["rtt"]) * (0.9 + float64(i*37%100)/500)})
			}
		}
		return p
	}
	add(warmUp, "warm-up", 0, 2, latencySample(0.031))
	add(idle, "idle", 2, 6, latencySample(0.021)).Results[0].Radio = &probes.Radio{
		Before: &probes.RadioSample{RAT: "NR-SA", Band: "n78", PCI: &pci, RSRP: &rsrp, SINR: &sinr},
	}
	add(handshakes, "handshakes", 6, 7,
		result(kindTCP, func(rec *probes.Recorder) { rec.Observe(probes.ConnectTime, probes.Both, 0.022) }),
		result(kindQUIC, func(rec *probes.Recorder) {
			rec.Observe(probes.HandshakeTime, probes.Both, 0.0283)
			rec.Observe(probes.ResumedTime, probes.Both, 0.0231)
		}))
	trace := func(p *Phase, ways ...probes.Direction) {
		for _, way := range ways {
			v := p.load().Values[probes.Goodput.ValueName(way, "")]
			p.trace(map[probes.Direction][]float64{way: slices.Repeat([]float64{0.9 * v, 1.1 * v}, 20)}, p.Start)
		}
	}
	trace(add(down, "download", 7, 12, latencySample(0.049), loadSample(43e6, probes.Down)), probes.Down)
	trace(add(up, "upload", 12, 17, latencySample(0.312), loadSample(6.2e6, probes.Up)), probes.Up)
	trace(add(both, "both ways", 17, 22, latencySample(0.35), loadSample(5.9e6, probes.Up, probes.Down)), probes.Down)
	quic := add(quicDown, "QUIC download", 22, 25, latencySample(0.044), loadSample(39e6, probes.Down))
	quic.load().Info = map[string]string{"ended_by": "max_bytes", "quic_version": "v1"}
	quic.load().Values["congestion_window_bytes"], quic.load().Values["transport_rtt_seconds"] = 2e6, 0.044 // 45 MB/s
	trace(quic, probes.Down)
	broken := loadSample(1e6)
	broken.Outcome, broken.Error, broken.Quality = probes.Timeout, "nothing has arrived for 5s", probes.Partial
	add(quicUp, "QUIC upload", 25, 29, broken)
	r.sumUp()
	return r
}

func TestCard(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Card(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "card.txt", b.Bytes())
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)); n > 110 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestCardOfNothing: a survey that reached nobody still says so.
func TestCardOfNothing(t *testing.T) {
	r := &Report{Target: "edge.example", Agent: "van-07", Start: time.Date(2026, 11, 23, 20, 40, 0, 0, time.UTC), Outcome: probes.Unreachable, Error: "no such name"}
	r.sumUp()
	var card, page bytes.Buffer
	if err := errors.Join(r.Card(&card), r.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{card.String(), page.String()} {
		if !strings.Contains(text, "unreachable") || !strings.Contains(text, "no such name") {
			t.Errorf("the problem is not told:\n%s", text)
		}
	}
}

// keys lists the paths of an object's keys; what is in Results is the business of those.
func keys(prefix string, v any) []string {
	var list []string
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, prefix+key)
			if key != "results" {
				list = append(list, keys(prefix+key+".", v[key])...)
			}
		}
	case []any:
		if len(v) > 0 {
			list = keys(strings.TrimSuffix(prefix, ".")+"[].", v[0])
		}
	}
	return list
}

func TestJSONKeys(t *testing.T) {
	r := sample()
	r.Phases[0].Skipped = "no reason" // so that the key shows
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if object["schema"] != Schema {
		t.Errorf("schema %v", object["schema"])
	}
	golden(t, "keys.txt", []byte(strings.Join(keys("", object), "\n")+"\n"))
	var back struct {
		Phases []struct{ Results []*probes.Result } `json:"phases"`
	}
	if err := json.Unmarshal(text, &back); err != nil || back.Phases[1].Results[0].Hists["rtt"].Count() != 100 {
		t.Errorf("the Results cannot be read back: %v", err)
	}
}

// TestPageNeedsNothingElse reads the page as a browser does: no script, and nothing that would be fetched.
func TestPageNeedsNothingElse(t *testing.T) {
	r := sample()
	r.Target = `<script>alert("x")</script>`
	r.Error = `</main><img src=x>`
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	if n := b.Len(); n > 300_000 {
		t.Errorf("%d bytes for a page of few points", n)
	}
	doc, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		elements[n.Data]++
		for _, a := range n.Attr {
			if a.Key == "src" || a.Key == "href" && a.Val != "data:," || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if elements["svg"] != 4 || elements["table"] != 2 || elements["script"]+elements["img"]+elements["iframe"]+elements["link"] != 1 {
		t.Errorf("elements %v", elements)
	}
	for _, bad := range []string{"http:", "https:", "@import", "url(", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(b.String(), -1) {
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("a chart is not well formed: %v", err)
			}
		}
	}
}

func TestGrades(t *testing.T) {
	for added, want := range map[float64]string{-0.001: "A+", 0.0049: "A+", 0.005: "A", 0.0299: "A", 0.03: "B", 0.06: "C", 0.2: "D", 0.4: "F", 9: "F"} {
		if got := letter(added); got != want {
			t.Errorf("%v s: grade %s, want %s", added, got, want)
		}
	}
	if !worse("F", "A+") || worse("A+", "A") || !worse("A", "") {
		t.Error("the order of grades")
	}
}

// TestQUICIsLimitedBy the path when its window is used, and by the program when it is not.
func TestQUICIsLimitedBy(t *testing.T) {
	for want, rate := range map[string]float64{"the path": 26e6, "the sending program": 24e6} {
		x := loadSample(rate, probes.Up)
		x.Info = map[string]string{"quic_version": "v1"}
		x.Values["congestion_window_bytes"], x.Values["transport_rtt_seconds"] = 1e6, 0.02
		if got := limitOf(x, probes.Up); got != want {
			t.Errorf("%v bytes/s of 50 MB/s: limited by %s, want %s", rate, got, want)
		}
		x.Values["transport_rtt_seconds"] = 0
		if got := limitOf(x, probes.Up); got != "not told" {
			t.Errorf("without a round trip: limited by %s", got)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		humanTime(0): "0.00 ms", humanTime(4.2e-6): "4.2 µs", humanTime(0.00012): "0.12 ms", humanTime(0.0123): "12.3 ms",
		humanTime(0.0999): "99.9 ms", humanTime(0.123): "123 ms", humanTime(12): "12.0 s", humanDelay(-0.001): "−1.00 ms", humanDelay(0.02): "+20.0 ms",
		humanRate(0): "0 bit/s", humanRate(125): "1.00 kbit/s", humanRate(124.95e6): "1.00 Gbit/s", humanRate(43e6): "344 Mbit/s",
		humanBytes(999): "999 B", humanBytes(2.5e9): "2.50 GB", humanShare(0): "0 %", humanShare(0.00001): "<0.01 %", humanShare(0.0123): "1.23 %",
		humanCount(1449): "1449", humanCount(651_234): "651,000", humanCount(21e6): "21 million", humanGap(0): "none", humanGap(0.04): "40.0 ms",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	points := spread([]arrival{{at(30), 1}, {at(30), 2}, {at(30), 3}, {at(35), 4}, {at(50), 5}, {at(50), 6}}, start)
	want := []int{10, 20, 30, 35, 43, 50} // two in the 15 ms before 50 are no 10 ms apart
	for i, p := range points {
		if got := int(p.at / time.Millisecond); p.v != float64(i+1) || got != want[i] && got != want[i]-1 {
			t.Errorf("point %d: %v at %v, want %d ms", i, p.v, p.at, want[i])
		}
	}
}

func TestSteps(t *testing.T) {
	for limit, want := range map[float64][]float64{0.9: {0, 0.2, 0.4, 0.6, 0.8}, 29: {0, 5, 10, 15, 20, 25}, 160: {0, 50, 100, 150}, 0: {0}} {
		got := steps(limit, 6)
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }) {
			t.Errorf("%v: %v, want %v", limit, got, want)
		}
	}
	if got := between(93, 121); !slices.Equal(got, []float64{95, 100, 105, 110, 115, 120}) {
		t.Errorf("between %v", got)
	}
	if got := decades(3, 60); !slices.Equal(got, []float64{5, 10, 20, 50}) {
		t.Errorf("decades %v", got)
	}
}
