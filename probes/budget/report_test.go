package budget

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

var updateGoldens = flag.Bool("update", false, "write the golden files anew")

// exampleReport is a check of a link that became 30 % slower on its way, with a verdict of every sort.
func exampleReport(t *testing.T) *Report {
	t.Helper()
	const n = 6000
	r := rand.New(rand.NewPCG(7, 7))
	began := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	drive := func(slowFrom int) *Input {
		v := rtts(autoregressive(r, n, 0.6))
		track := &Track{HasLost: true}
		for i, x := range v {
			if i >= slowFrom {
				x *= 1.3
			}
			if i%1500 == 700 {
				x = math.Inf(1)
			}
			track.Values, track.At = append(track.Values, x), append(track.At, began.Add(time.Duration(i)*20*time.Millisecond))
		}
		result := &probes.Result{Target: "edge.example", Kind: "stamp", Start: began, Elapsed: n * 20 * time.Millisecond, Outcome: probes.OK, Values: map[string]float64{}}
		return &Input{Pieces: []Piece{{Result: result, Tracks: map[string]*Track{"rtt": track}}}, Conditions: Conditions{Targets: []string{"edge.example"}, Bands: []string{"n78"}}}
	}
	plan, err := parse(t, `
budgets:
  - {name: warm | RTT, metric: rtt, statistic: p95, bound: 25ms}
  - {name: median, metric: rtt, statistic: p50, bound: 22ms}
  - {name: far tail, metric: rtt, statistic: p9999, bound: 100ms}
  - {name: loss, metric: loss, statistic: ratio, bound: 1%}
  - {name: control, metric: rtt, statistic: reliability, bound: 60ms, at_least: 99%}
`)
	if err != nil {
		t.Fatal(err)
	}
	base := drive(n)
	base.Conditions.Bands = []string{"n8"}
	report, err := Check(t.Context(), plan, Options{Input: drive(900), Baseline: base})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestReports(t *testing.T) {
	r := exampleReport(t)
	for name, write := range map[string]func(io.Writer) error{
		"report.txt": r.WriteTable, "report.md": r.WriteMarkdown, "report.json": r.WriteJSON, "annotations.txt": r.WriteAnnotations,
		"junit.xml": func(w io.Writer) error { return r.WriteJUnit(w, InconclusiveIsOwn) },
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *updateGoldens {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s has changed (run with -update to accept):\n%s", name, got.String())
			}
		})
	}
}

func TestJSONReportIsOneObjectWithItsSchema(t *testing.T) {
	var b bytes.Buffer
	if err := exampleReport(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var j struct {
		Schema, Outcome string
		Budgets         []struct {
			Name, Outcome, Reason string
			Estimate              *float64
			Samples               int
			Since                 *struct{ Sample int }
		}
	}
	d := json.NewDecoder(&b)
	if err := d.Decode(&j); err != nil || d.More() {
		t.Fatalf("%v, more to come: %v", err, d.More())
	}
	if j.Schema != "nrprobe-check/1" || j.Outcome != "fail" || len(j.Budgets) != 10 {
		t.Errorf("schema %s, outcome %s, %d verdicts", j.Schema, j.Outcome, len(j.Budgets))
	}
	if b := j.Budgets[0]; b.Outcome != "fail" || b.Samples != 6000 || b.Since == nil || b.Since.Sample < 850 || b.Since.Sample > 950 {
		t.Errorf("first verdict %+v", b)
	}
}

// TestJUnitCountsAgree reads the report back and counts.
func TestJUnitCountsAgree(t *testing.T) {
	r := exampleReport(t)
	for policy, want := range map[Policy][3]int{InconclusiveIsOwn: {3, 0, 2}, InconclusiveIsPass: {3, 0, 0}, InconclusiveIsFail: {5, 0, 0}} {
		var b bytes.Buffer
		if err := r.WriteJUnit(&b, policy); err != nil {
			t.Fatal(err)
		}
		var s junitSuites
		if err := xml.Unmarshal(b.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		var failures, skipped int
		for _, c := range s.Suite.Cases {
			if c.Failure != nil {
				failures++
			}
			if c.Skipped != nil {
				skipped++
			}
		}
		got := [3]int{failures, s.Suite.Errors, skipped}
		if got != want || s.Suite.Failures != failures || s.Suite.Skipped != skipped || s.Suite.Tests != len(s.Suite.Cases) || s.Suite.Tests != 10 {
			t.Errorf("policy %q: failures, errors and skipped are %v, want %v; suite says %d, %d, %d of %d", policy, got, want, s.Suite.Failures, s.Suite.Errors, s.Suite.Skipped, s.Suite.Tests)
		}
	}
}

// TestReportsHoldForeignTextBack has names that would be markup, commands or no XML.
func TestReportsHoldForeignTextBack(t *testing.T) {
	r := exampleReport(t)
	r.Verdicts = r.Verdicts[:1]
	r.Verdicts[0].Name = "a|b <script>\x00\x1b[31m\n::error::x `c` ]]>"
	var markdown, annotations, junit bytes.Buffer
	for w, write := range map[*bytes.Buffer]func(io.Writer) error{&markdown: r.WriteMarkdown, &annotations: r.WriteAnnotations, &junit: func(w io.Writer) error { return r.WriteJUnit(w, "") }} {
		if err := write(w); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(markdown.String(), "<script>") || strings.Contains(markdown.String(), "a|b") {
		t.Errorf("markup got into the Markdown:\n%s", markdown.String())
	}
	if n := strings.Count(annotations.String(), "\n"); n != 1+len(r.Warnings) {
		t.Errorf("%d lines of annotations, want one a verdict and warning:\n%s", n, annotations.String())
	}
	var s junitSuites
	if err := xml.Unmarshal(junit.Bytes(), &s); err != nil {
		t.Errorf("the XML cannot be read: %v", err)
	}
}
