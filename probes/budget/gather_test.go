package budget

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// TestSlotsThatWereSkippedMayHoldTheTail: who sends nothing while the host is stuck sees nothing then. A quantile can bear as
// many missing values as half of those beyond it, and those that miss the largest share go first.
func TestSlotsThatWereSkippedMayHoldTheTail(t *testing.T) {
	type run struct{ sent, skipped int }
	good := slices.Repeat([]run{{100, 0}}, 97)
	for _, c := range []struct {
		statistic string
		runs      []run
		doubtful  int
	}{
		{"p95", []run{{100, 100}, {100, 100}, {100, 0}}, 0}, // 200 of 10,200 are 2 %
		{"p95", []run{{100, 100}, {100, 100}, {100, 100}, {100, 1}}, 1},
		{"p99", []run{{100, 0}, {100, 100}, {100, 0}}, 1},
		{"p99", []run{{100, 25}, {100, 25}, {100, 0}}, 0},
		{"p99", []run{{100, 1}, {100, 60}, {100, 2}}, 1},
		{"p99", []run{{36000, 178}, {3600, 176}, {3600, 176}}, 2}, // the long one misses more, and half a percent
		{"mean", []run{{100, 100}, {100, 100}, {100, 100}}, 0},
	} {
		plan, err := Parse("b.yaml", []byte("max_doubtful: 0.5\nbudgets: [{metric: rtt, statistic: "+c.statistic+", bound: 20ms}]"), nil, kinds(nil))
		if err != nil {
			t.Fatal(err)
		}
		in := &Input{}
		r := rand.New(rand.NewPCG(1, 1))
		for _, run := range slices.Concat(c.runs, good) {
			rec := probes.NewRecorder()
			rec.Add(probes.PacketsSent, probes.Both, float64(run.sent))
			rec.Add(probes.PacketsSkipped, probes.Both, float64(run.skipped))
			for range run.sent {
				rec.Observe(probes.RTT, probes.Both, 0.010+0.001*r.Float64())
			}
			in.Pieces = append(in.Pieces, Piece{Result: rec.Snapshot()})
		}
		report, err := Check(t.Context(), plan, Options{Input: in})
		if err != nil {
			t.Fatal(err)
		}
		v := &report.Verdicts[0]
		if v.Doubtful != c.doubtful || v.Outcome != Pass || v.Flags[skippedSlots] != c.doubtful {
			t.Errorf("%s, %v: %s, %d left out (%v), want %d: %s", c.statistic, c.runs, v.Outcome, v.Doubtful, v.Flags, c.doubtful, v.Reason)
		}
		if plan.MaxDoubtful = 0; c.doubtful > 0 {
			if report, err = Check(t.Context(), plan, Options{Input: in}); err != nil || !strings.Contains(report.Verdicts[0].Reason, "too many packets not sent in time: ") {
				t.Errorf("%v, none tolerated: %v, %s", c.runs, err, report.Verdicts[0].Reason)
			}
		}
	}
}
