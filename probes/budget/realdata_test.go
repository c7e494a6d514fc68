package budget

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// table reads a CSV file of the data sets, or skips the test where there are none.
func table(t *testing.T, name string) (header map[string]int, rows [][]string) {
	t.Helper()
	f, err := os.Open(filepath.Join(recordingsFolder(), name))
	if err != nil {
		t.Skipf("no measurements to try it on (NRPROBE_DATA names their folder): %v", err)
	}
	defer f.Close()
	rows, err = csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	header = map[string]int{}
	for i, name := range rows[0] {
		header[name] = i
	}
	return header, rows[1:]
}

func recordingsFolder() string {
	if folder := os.Getenv("NRPROBE_DATA"); folder != "" {
		return folder
	}
	return filepath.Join("..", "..", "..", "shared", "data")
}

// recordings says whether there are recorded drives.
func recordings() bool {
	_, err := os.Stat(filepath.Join(recordingsFolder(), "cicv5g_rtt_radio"))
	return err == nil
}

func cicv5gRuns() []string {
	return []string{"urban_n78_v30_run01.csv", "urban_n8_v30_run01.csv", "south_n8_v10_01.csv", "w2s_n8_v30_run01.csv"}
}

// cicv5g reads one run: round-trip times in seconds and when they were sent.
func cicv5g(t *testing.T, name string) (v []float64, at []time.Time) {
	t.Helper()
	h, rows := table(t, filepath.Join("cicv5g_rtt_radio", name))
	for _, row := range rows {
		ms, err := strconv.ParseFloat(row[h["rtt_ms"]], 64)
		when, err2 := strconv.ParseInt(row[h["pub_unix_ms"]], 10, 64)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		v, at = append(v, ms/1000), append(at, time.UnixMilli(when))
	}
	return v, at
}

func session(v []float64, at []time.Time) *Evidence {
	e := valuesOf(v)
	e.When, e.Span = at, at[len(at)-1].Sub(at[0])
	return e
}

// compare judges p50, p95 and p99 of a session against another one, as check does by default.
func compare(base, now *Evidence) []Verdict {
	f := &Family{MaxDoubtful: 0.1}
	for _, q := range []float64{0.5, 0.95, 0.99} {
		f.Trials = append(f.Trials, &Trial{Criterion: rttBudget(q, math.NaN()), Against: Baseline, Baseline: base})
	}
	f.Look(Once(), func(*Trial) *Evidence { return now })
	return f.Verdicts()
}

// TestHalvesOfOneDriveDoNotFail compares the halves of each run with each other, in both orders.
func TestHalvesOfOneDriveDoNotFail(t *testing.T) {
	for _, name := range cicv5gRuns() {
		v, at := cicv5g(t, name)
		m := len(v) / 2
		halves := []*Evidence{session(v[:m], at[:m]), session(v[m:], at[m:])}
		for i := range halves {
			for _, verdict := range compare(halves[i], halves[1-i]) {
				if verdict.Outcome == Fail {
					t.Errorf("%s, half %d as baseline: %s fails: %s", name, i+1, verdict.Name, verdict.Reason)
				}
			}
		}
	}
}

// TestOneBandAgainstAnotherFails compares the two bands on one track, which differ by about 3 ms.
func TestOneBandAgainstAnotherFails(t *testing.T) {
	n78, at78 := cicv5g(t, "urban_n78_v30_run01.csv")
	n8, at8 := cicv5g(t, "urban_n8_v30_run01.csv")
	for i, verdict := range compare(session(n78, at78), session(n8, at8)) {
		if i < 2 && verdict.Outcome != Fail {
			t.Errorf("%s: %s: %s", verdict.Name, verdict.Outcome, verdict.Reason)
		}
	}
	for _, verdict := range compare(session(n8, at8), session(n78, at78)) {
		if verdict.Outcome == Fail {
			t.Errorf("the better band fails: %s", verdict.Reason)
		}
	}
}

// pam25 reads the runs of one carrier: round-trip times in seconds, +Inf for what never came back.
func pam25(t *testing.T, name string) [][]float64 {
	t.Helper()
	h, rows := table(t, filepath.Join("pam25_multicarrier_ping", name))
	var runs [][]float64
	last, seq := "", 0
	for _, row := range rows {
		if row[h["dup"]] == "1" {
			continue
		}
		if row[h["run"]] != last {
			last, seq = row[h["run"]], 0
			runs = append(runs, nil)
		}
		run := &runs[len(runs)-1]
		n, _ := strconv.Atoi(row[h["seq"]])
		for seq++; seq < n; seq++ {
			*run = append(*run, math.Inf(1))
		}
		seq = max(seq, n)
		ms, err := strconv.ParseFloat(row[h["rtt_ms"]], 64)
		if err != nil {
			t.Fatal(err)
		}
		*run = append(*run, ms/1000)
	}
	return runs
}

func drive(v []float64) *Evidence {
	e := valuesOf(v)
	e.Span = time.Duration(len(v)) * 200 * time.Millisecond
	return e
}

func TestShortDrivesAreInconclusive(t *testing.T) {
	for _, name := range []string{"ping_20230808_atnt.csv", "ping_20230808_verizon.csv"} {
		runs := pam25(t, name)
		count := map[Outcome]int{}
		for i := 1; i < len(runs); i++ {
			for _, v := range compare(drive(runs[i-1]), drive(runs[i])) {
				count[v.Outcome]++
			}
		}
		if count[Fail] > 0 || count[Pass] > 0 {
			t.Errorf("%s: %v, want all of them inconclusive", name, count)
		}
		var all []float64
		for _, r := range runs {
			all = append(all, r...)
		}
		even, odd, m := every(runs, 0), every(runs, 1), len(all)/2
		for _, p := range [][2][]float64{{all[:m], all[m:]}, {all[m:], all[:m]}, {even, odd}, {odd, even}} {
			for _, v := range compare(drive(p[0]), drive(p[1])) {
				if v.Outcome == Fail {
					t.Errorf("%s: one carrier fails against itself: %s", name, v.Reason)
				}
			}
		}
		limit, _ := stats.NewValues(all).AtRank(math.Ceil(0.95 * float64(len(all))))
		for _, r := range runs {
			if o, _ := gate(stats.FixedSample(), r, boundTrials([]float64{limit}, 0.95)...); o != Inconclusive {
				t.Errorf("%s: a run of %d samples: %s against the p95 of all, want inconclusive", name, len(r), o)
			}
		}
	}
}
