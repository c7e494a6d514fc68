package probetest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// Expect holds values of a Result against what they must be, exactly.
func Expect(t testing.TB, r *probes.Result, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if got, ok := r.Values[name]; !ok || got != value {
			t.Errorf("%s = %v (%v), want %v", name, got, ok, value)
		}
	}
}

// checkGood lists what is wrong with the Results of one run on the perfect link.
func (s Suite) checkGood(results []*probes.Result) []string {
	if len(results) == 0 {
		return []string{"no Result"}
	}
	var problems []string
	for i, r := range results {
		canceledEnd := s.endless() && i == len(results)-1 && r.Outcome == probes.Canceled
		if r.Outcome != probes.OK && !canceledEnd {
			problems = append(problems, fmt.Sprintf("outcome %s (%s), want ok", r.Outcome, r.Error))
		}
		problems = append(problems, checkValues(s.Kind, r)...)
	}
	if len(results[0].Values) == 0 {
		problems = append(problems, "a Result without a value")
	}
	return append(problems, checkPerfect(results[0])...)
}

// checkPerfect holds a Result against what is true of the perfect link.
func checkPerfect(r *probes.Result) []string {
	var problems []string
	for _, m := range []*probes.Metric{probes.RTT, probes.ConnectTime, probes.HandshakeTime, probes.ResumedTime, probes.FirstByteTime} {
		h := r.Hists[m.HistName(probes.Both)]
		if h != nil && h.Min() < 2*Delay.Seconds()*(1-1e-9) {
			problems = append(problems, fmt.Sprintf("smallest %s is %v s, which is less than the round trip of the link", m.Stem, h.Min()))
		}
	}
	for _, m := range []*probes.Metric{probes.PacketsLost, probes.LossRatio, probes.PacketsDuplicated, probes.PacketsReordered, probes.PacketsRefused} {
		for _, d := range probes.Directions() {
			if v := r.Values[m.ValueName(d, "")]; v != 0 {
				problems = append(problems, fmt.Sprintf("%s is %v on a perfect link", m.ValueName(d, ""), v))
			}
		}
	}
	return problems
}

// checkValues lists what is wrong with the names and numbers of a Result, whatever its outcome.
func checkValues(kind probes.Kind, r *probes.Result) []string {
	var problems []string
	names := probes.NewNames()
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		v := r.Values[name]
		named, known := names.Value(name)
		switch {
		case !known:
			problems = append(problems, fmt.Sprintf("value %s is not in the vocabulary", name))
			continue
		case !slices.Contains(kind.Metrics, named.Metric):
			problems = append(problems, fmt.Sprintf("value %s is of metric %s, which is not among the kind's metrics", name, named.Metric.Stem))
		case math.IsNaN(v) || math.IsInf(v, 0):
			problems = append(problems, fmt.Sprintf("value %s is %v", name, v))
		case v < 0 && !signed(named.Metric):
			problems = append(problems, fmt.Sprintf("value %s is negative: %v", name, v))
		}
		if named.Metric.Unit == probes.Ratio && v > 1 {
			problems = append(problems, fmt.Sprintf("ratio %s is %v", name, v))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Hists)) {
		named, known := names.Hist(name)
		if !known || !slices.Contains(kind.Metrics, named.Metric) {
			problems = append(problems, fmt.Sprintf("histogram %s is not of the kind's metrics", name))
		}
	}
	if strings.Contains(r.Error, "panic in probe") {
		problems = append(problems, r.Error)
	}
	if (r.Error == "") != (r.Outcome == probes.OK) {
		problems = append(problems, fmt.Sprintf("outcome %s with the error %q", r.Outcome, r.Error))
	}
	return problems
}

// signed says whether a metric may be below zero: levels in decibels, and the offset between two clocks.
func signed(m *probes.Metric) bool {
	return m.Unit == probes.DBm || m.Unit == probes.DB || m.Stem == "clock_offset"
}

// checkNothingCounted lists what a Result claims to have received when nothing but garbage came.
func checkNothingCounted(r *probes.Result) []string {
	var problems []string
	if r.Outcome == probes.OK {
		problems = append(problems, "outcome ok")
	}
	for _, m := range []*probes.Metric{probes.RTT, probes.OneWayDelay, probes.HandshakeTime, probes.ResumedTime, probes.FirstByteTime} {
		for _, d := range probes.Directions() {
			if h := r.Hists[m.HistName(d)]; h != nil && h.Count() > 0 {
				problems = append(problems, fmt.Sprintf("%d values of %s", h.Count(), m.HistName(d)))
			}
		}
	}
	for _, m := range []*probes.Metric{probes.PacketsReceived, probes.PacketsDuplicated, probes.PacketsReordered, probes.PacketsLate, probes.Goodput, probes.Transferred, probes.Responsiveness} {
		for _, d := range probes.Directions() {
			if v := r.Values[m.ValueName(d, "")]; v != 0 {
				problems = append(problems, fmt.Sprintf("%s is %v", m.ValueName(d, ""), v))
			}
		}
	}
	return problems
}

func percent(n int) string { return fmt.Sprintf("%d %%", n) }
