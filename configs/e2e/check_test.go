//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

// storeBudgets are kept by what recordedDrive makes.
const storeBudgets = `
budgets:
  - {name: median, metric: rtt, statistic: p50, bound: 13.5ms, of: received, tags: {agent: van}}
  - {name: loss, metric: loss, statistic: ratio, bound: 3%, tags: {agent: van}}
  - {name: too strict, metric: rtt, statistic: p25, bound: 10.5ms, of: received, tags: {agent: van}}
`

// recordedDrive is ten minutes of results that end now, with round-trip times of 10 to 15 ms and one packet in 101 lost.
func recordedDrive() (results []*probes.Result, median float64) {
	r := rand.New(rand.NewPCG(1, 1))
	from := time.Now().Truncate(time.Second).Add(-10 * time.Minute)
	var all []float64
	for i := range 60 {
		rec := probes.NewRecorder()
		for range 100 {
			v := 0.010 + 0.005*r.Float64()
			all = append(all, v)
			rec.Observe(probes.RTT, probes.Both, v)
		}
		rec.Add(probes.PacketsSent, probes.Both, 101)
		rec.Add(probes.PacketsLost, probes.Both, 1)
		result := rec.Snapshot()
		result.ID = probes.ID{Agent: "van", Boot: from.Format(time.RFC3339), Seq: uint64(i + 1)}
		result.Agent, result.Kind, result.Probe, result.Target, result.Outcome = "van", "stamp", "edge", "edge.example", probes.OK
		result.Start, result.Elapsed = from.Add(time.Duration(i)*10*time.Second), 10*time.Second
		results = append(results, result)
	}
	slices.Sort(all)
	return results, all[len(all)/2]
}

// TestCheckJudgesWhatStoresHold asks the collector's own store, a real InfluxDB, and a real Prometheus that opens the folder
// of the collector's store after it: all three hold the same results and must lead to the same verdicts.
func TestCheckJudgesWhatStoresHold(t *testing.T) {
	db, dir, port := startInflux(t), t.TempDir(), freePort(t)
	d := startCollector(t, dir, port, db)
	results, median := recordedDrive()
	collector := fmt.Sprintf("http://127.0.0.1:%d", port)
	push(t, collector, "nr", results...)
	budgets := write(t, t.TempDir(), "budgets.yaml", storeBudgets)
	judge := func(query string) {
		t.Helper()
		until(t, patience, func() string { return storeLacks(t, budgets, query, median) })
	}
	judge("influx=" + db.url + "?db=nr")
	judge("prometheus=" + collector)
	d.stop(t)
	judge("prometheus=" + startPrometheusOn(t, filepath.Join(dir, "tsdb")).url)
}

// storeLacks runs a check on a store and says what is not yet as it should be, or "".
func storeLacks(t *testing.T, budgets, query string, median float64) string {
	t.Helper()
	stdout, stderr, code := run(t, program(t), "check", "-c", budgets, "--query", query, "--since", "11m", "--json")
	var report struct {
		Budgets []struct {
			Name, Outcome string
			Estimate      float64
			Results       int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 || len(report.Budgets) != 3 {
		return fmt.Sprintf("%s: exit code %d, want 1 (%v)\n%s%s", query, code, err, stdout, stderr)
	}
	for i, want := range []string{"pass", "pass", "fail"} {
		if b := report.Budgets[i]; b.Outcome != want || b.Results < 18 {
			return fmt.Sprintf("%s: %s: %s in %d results, want %s\n%s", query, b.Name, b.Outcome, b.Results, want, stdout)
		}
	}
	if got := report.Budgets[0].Estimate; got < median*0.95 || got > median*1.05 { // the buckets of a histogram are 4.4 % wide
		return fmt.Sprintf("%s: the median is %v, want %v", query, got, median)
	}
	return ""
}

// junitCase is what both parsers make of a test case.
type junitCase struct {
	Name, Status, Message string
}

// junitParsers are two programs of other people that read JUnit XML, each with an XML parser of its own, and what they take
// the report for, written alike.
func junitParsers() map[string]string {
	return map[string]string{
		"junit2json": `
			import { parse } from 'junit2json'
			const s = (await parse(text)).testsuite[0]
			show(s.tests, s.failures, s.skipped, s.testcase.map(c => ({
				Name: c.name, Status: c.failure ? 'FAIL' : c.skipped ? 'SKIP' : 'PASS', Message: c.failure?.[0].message ?? '' })))`,
		"test-results-parser": `
			import { parse } from 'test-results-parser'
			const s = parse({ type: 'junit', files: [path] })
			show(s.total + s.skipped, s.failed, s.skipped, s.suites[0].cases.map(c => ({
				Name: c.name, Status: c.status, Message: c.status == 'FAIL' ? c.failure : '' })))`,
	}
}

// TestOtherPeoplesParsersReadTheJUnitReport compares what they read with the JSON of the same check.
func TestOtherPeoplesParsersReadTheJUnitReport(t *testing.T) {
	parsers := tool(t, "NRPROBE_JUNIT_PARSERS")
	dir := t.TempDir()
	var csv strings.Builder
	csv.WriteString("rtt_ms\n")
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		fmt.Fprintf(&csv, "%.3f\n", 10+5*r.Float64())
	}
	budgets := write(t, dir, "budgets.yaml", `
budgets:
  - {name: kept, metric: rtt, statistic: p95, bound: 20ms}
  - {name: "broken <&\"'> ]]> ü", metric: rtt, statistic: p50, bound: 11ms}
  - {name: nobody can tell, metric: rtt, statistic: p9999, bound: 20ms}
`)
	report := filepath.Join(dir, "junit.xml")
	stdout, stderr, code := run(t, program(t), "check", "-c", budgets, "--input", write(t, dir, "drive.csv", csv.String()), "--value", "rtt=rtt_ms", "--junit", report, "--json")
	var verdicts struct {
		Budgets []struct{ Name, Outcome, Reason string }
	}
	if err := json.Unmarshal([]byte(stdout), &verdicts); err != nil || code != 1 || len(verdicts.Budgets) != 3 {
		t.Fatalf("exit code %d, want 1 (%v)\n%s%s", code, err, stdout, stderr)
	}
	want := struct {
		Tests, Failures, Skipped int
		Cases                    []junitCase
	}{3, 1, 1, nil}
	for _, v := range verdicts.Budgets {
		c := junitCase{Name: v.Name, Status: map[string]string{"pass": "PASS", "fail": "FAIL", "inconclusive": "SKIP"}[v.Outcome]}
		if v.Outcome == "fail" {
			c.Message = v.Reason
		}
		want.Cases = append(want.Cases, c)
	}
	for name, script := range junitParsers() {
		t.Run(name, func(t *testing.T) {
			const frame = `import { readFileSync } from 'node:fs'
				const path = process.argv[1], text = readFileSync(path, 'utf8')
				const show = (Tests, Failures, Skipped, Cases) => console.log(JSON.stringify({ Tests, Failures, Skipped, Cases }))`
			cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "--eval", frame+script, report)
			cmd.Dir, cmd.Stderr = parsers, os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got := want
			got.Cases = nil
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if difference := cmp.Diff(want, got); difference != "" {
				t.Errorf("read differently (-wrote +read):\n%s", difference)
			}
		})
	}
}
