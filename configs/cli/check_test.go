package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// drive is a CSV file with n round-trip times around 12 ms.
func drive(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("unix_ms,rtt_ms\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%d.%03d\n", 1700000000000+int64(i)*20, 10+i*7%5, i*379%1000)
	}
	return file(t, "drive.csv", b.String())
}

// TestCheckToldWrongGetsOneClearError has what users get wrong: one error that names the thing and the remedy, and the exit
// code of whose fault it is.
func TestCheckToldWrongGetsOneClearError(t *testing.T) {
	budgets := func(text string) string { return file(t, "budgets.yaml", "budgets:\n"+text) }
	good := budgets("  - {metric: rtt, statistic: p95, bound: 20ms}\n")
	csv := drive(t, 400)
	columns := []string{"--time", "unix_ms", "--value", "rtt=rtt_ms"}
	check := func(args ...string) []string { return append([]string{"check"}, args...) }
	for _, c := range []badInput{
		{"no budgets", check("--target", "h"), 2, "no budgets: give a file (-c budgets.yaml) or --profile NAME, one of "},
		{"missing budgets file", check("-c", filepath.Join(t.TempDir(), "none.yaml")), 2, "none.yaml: cannot be read: no such file"},
		{"no target", check("-c", good), 2, "no target for the probe stamp: give --target, or target in the budgets file"},
		{"unknown metric", check("-c", budgets("  - {metric: rtd, statistic: p95, bound: 20ms}\n")), 2, `budgets.yaml:2: budgets[0].metric: unknown metric "rtd" (did you mean "rtt"?): one of `},
		{"unknown profile", check("--profile", "gamign"), 2, `unknown profile "gamign" (did you mean "gaming"?): one of `},
		{"contradictory bounds", check("-c", budgets("  - {name: a, metric: rtt, statistic: p95, bound: 20ms}\n  - {name: b, metric: rtt, statistic: p95, bound: 30ms}\n")), 2, `budgets.yaml:3: budgets[1]: contradicts the budget "a", which has another limit (20 ms) for the same figure: keep one`},
		{"p99 below p50", check("-c", budgets("  - {name: a, metric: rtt, statistic: p50, bound: 20ms}\n  - {name: b, metric: rtt, statistic: p99, bound: 10ms}\n")), 2, `contradicts the budget "a": p99 is never below p50`},
		{"missing input", check(append(columns, "-c", good, "--input", filepath.Join(t.TempDir(), "none.csv"))...), 2, "none.csv: no such file"},
		{"missing baseline", check(append(columns, "-c", good, "--input", csv, "--baseline", filepath.Join(t.TempDir(), "base.json"))...), 2, "base.json: no such file"},
		{"empty input", check(append(columns, "-c", good, "--input", file(t, "empty.csv", "\n"))...), 2, "empty.csv: is empty: there is nothing to judge"},
		{"empty standard input", check("-c", good, "--input", "-"), 2, "standard input: is empty: there is nothing to judge"},
		{"header alone", check(append(columns, "-c", good, "--input", file(t, "header.csv", "unix_ms,rtt_ms\n"))...), 2, "header.csv: holds no results: there is nothing to judge"},
		{"NaN", check(append(columns, "-c", good, "--input", file(t, "nan.csv", "unix_ms,rtt_ms\n1700000000000,NaN\n"))...), 2, `nan.csv:2: rtt_ms: "NaN" is not a number; leave it empty for a packet that was lost`},
		{"NaN in JSON", check("-c", good, "--input", file(t, "nan.json", `{"values":{"rtt_p50_seconds":NaN}}`)), 2, "nan.json:1: not a Result in JSON"},
		{"no columns named", check("-c", good, "--input", csv), 2, "add --value rtt=COLUMN"},
		{"unknown metric of a column", check("-c", good, "--input", csv, "--value", "rtd=rtt_ms"), 2, `did you mean "rtt"?`},
		{"report for a baseline", check(append(columns, "-c", good, "--input", csv, "--baseline", file(t, "report.json", `{"schema":"nrprobe-check/1"}`))...), 2, "it is the report of a check; a baseline is written with --save"},
		{"two sources", check("-c", good, "--input", csv, "--target", "h"), 2, "exclude each other"},
		{"unknown store", check("-c", good, "--query", "graphite=http://h"), 2, `"graphite=http://h" names no store`},
		{"unreachable store", check("-c", good, "--query", "prometheus=http://"+silentPort), 4, "cannot be reached: "},
		{"unreachable store, the other kind", check("-c", good, "--query", "influx=http://"+silentPort), 4, "cannot be reached: "},
		{"time range backwards", check("-c", good, "--query", "influx=http://127.0.0.1:1", "--since", "1h", "--until", "2h"), 2, "the time range ends at "},
		{"one host to compare", check("-c", good, "--compare", "a"), 2, "--compare wants two far ends, as HOST_A,HOST_B; got 1"},
		{"policy", check("-c", good, "--inconclusive", "maybe"), 2, `--inconclusive: "maybe" is no policy: want pass or fail`},
		{"no bound and no baseline", check(append(columns, "-c", budgets("  - {name: b, metric: rtt, statistic: p95}\n"), "--input", csv)...), 2, `budget "b" has no bound, and there is no baseline to compare with: give one of them`},
		{"report into no folder", check(append(columns, "-c", good, "--input", csv, "--junit", filepath.Join(t.TempDir(), "none", "junit.xml"))...), 2, "junit.xml: no such file"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestCheckExitCodesOfVerdicts judges a drive whose p95 is a little below 15 ms.
func TestCheckExitCodesOfVerdicts(t *testing.T) {
	csv := drive(t, 2000)
	judge := func(budget string, more ...string) []string {
		return append([]string{"check", "-c", file(t, "b.yaml", "budgets: [{metric: rtt, "+budget+"}]"), "--input", csv, "--time", "unix_ms", "--value", "rtt=rtt_ms"}, more...)
	}
	for _, c := range []badInput{
		{"kept", judge("statistic: p95, bound: 20ms"), 0, "PASS: all 1 kept"},
		{"broken", judge("statistic: p95, bound: 12ms"), 1, "FAIL: 1 of 1 broken"},
		{"nobody can tell", judge("statistic: p9999, bound: 20ms"), 3, "2000 samples are too few: p9999 at 95 % confidence needs at least 29956"},
		{"nobody can tell, which is a pass here", judge("statistic: p9999, bound: 20ms", "--inconclusive", "pass"), 0, "INCONCLUSIVE"},
		{"nobody can tell, which is a failure here", judge("statistic: p9999, bound: 20ms", "--inconclusive", "fail"), 1, "INCONCLUSIVE"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestCheckOfATargetThatDoesNotAnswerKeepsItsReport: the exit code says unreachable, and every report that was asked for is
// there and says so.
func TestCheckOfATargetThatDoesNotAnswerKeepsItsReport(t *testing.T) {
	folder := t.TempDir()
	junit, markdown := filepath.Join(folder, "junit.xml"), filepath.Join(folder, "summary.md")
	budgets := file(t, "b.yaml", "max_duration: 20s\nbudgets: [{name: far, metric: connect, statistic: p95, bound: 20ms, of: received, probe: {kind: tcp, count: 1}}]")
	packets := file(t, "packets.yaml", "max_duration: 20s\nbudgets: [{metric: rtt, statistic: p95, bound: 20ms, probe: {kind: stamp, count: 3, interval: 1s, timeout: 100ms}}]")
	if stdout, stderr, code := run(t, "check", "-c", packets, "--target", silentPort); code != 4 || !strings.Contains(stdout, "does not answer the probe stamp") {
		t.Errorf("stamp: exit code %d, want 4\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code := run(t, "check", "-c", budgets, "--target", silentPort, "--json", "--junit", junit, "--markdown", markdown)
	var report struct {
		Outcome, Error string
		Budgets        []struct{ Name, Outcome string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	if code != 4 || report.Outcome != "inconclusive" || !strings.Contains(report.Error, "does not answer the probe tcp") || len(report.Budgets) != 1 {
		t.Errorf("exit code %d, want 4; report %+v\n%s", code, report, stderr)
	}
	var suites struct {
		Suite struct {
			Errors int `xml:"errors,attr"`
			Tests  int `xml:"tests,attr"`
		} `xml:"testsuite"`
	}
	text, err := os.ReadFile(junit)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(text, &suites); err != nil || suites.Suite.Errors != 1 || suites.Suite.Tests != 1 {
		t.Errorf("JUnit has %+v (%v), want one test and one error:\n%s", suites, err, text)
	}
	if text, err := os.ReadFile(markdown); err != nil || !strings.Contains(string(text), "does not answer") {
		t.Errorf("%v\n%s", err, text)
	}
}
