package stamp

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestReplayedDriveIsMeasuredAsRecorded sends STAMP across an emulated link that replays a recorded drive: what the
// probe reports agrees with the file within 5 % and 0.2 ms. The recording is not part of the repository.
func TestReplayedDriveIsMeasuredAsRecorded(t *testing.T) {
	folder := os.Getenv("NRPROBE_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(folder, "cicv5g_rtt_radio", "urban_n78_v30_run01.csv")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no recorded drive (set NRPROBE_DATA to the folder of the recordings): %v", err)
	}
	var recorded []float64
	for line := range strings.Lines(string(text)) {
		if millis, err := strconv.ParseFloat(strings.Split(line, ",")[1], 64); err == nil { // all but the columns' names
			recorded = append(recorded, millis/1e3)
		}
	}
	slices.Sort(recorded)
	course, err := netsim.LoadTraceFile(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := acrossCourse(t, course, 50*time.Millisecond) // 20 Hz, as recorded
		for name, q := range map[string]float64{"rtt_p50_seconds": 0.5, "rtt_p95_seconds": 0.95} {
			want := recorded[int(math.Ceil(q*float64(len(recorded))))-1]
			if got := r.Values[name]; math.Abs(got-want) > 0.05*want+0.0002 {
				t.Errorf("%s is %v, the recording says %v", name, got, want)
			}
		}
	})
}

// acrossCourse measures once round a course, in virtual time.
func acrossCourse(t *testing.T, course *netsim.Course, interval time.Duration) *probes.Result {
	t.Helper()
	b := probetest.NewBench(t, course.Up, course.Down)
	b.Serve(serving(&Reflector{}))
	c := defaults()
	c.Interval, c.Count = interval, int(course.Length/interval)
	result := b.Measure(t.Context(), Kind(), &c, probetest.FarName)
	if result.Outcome != probes.OK || result.Values["packets_lost"] != 0 {
		t.Errorf("%s: %s, %v lost", result.Outcome, result.Error, result.Values["packets_lost"])
	}
	return result
}
