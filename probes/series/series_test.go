package series

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func start() time.Time { return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC) }

// result is what a latency probe measures, with values of every type.
func result() *probes.Result {
	rtt := &probes.Hist{}
	for i := range 100 {
		rtt.Add(0.015 + 0.0001*float64(i))
	}
	up := &probes.Hist{}
	up.Add(0.002)
	return &probes.Result{
		ID: probes.ID{Agent: "van-07", Boot: "b", Seq: 1}, Agent: "van-07", Kind: "stamp", Probe: "edge", Target: "far:8620",
		Labels: map[string]string{"site": "nansha", "agent": "mine", "slice name": "e\xffmbb", "slice-name": "second", "empty": "", "direction": "north"},
		Start:  start(), Elapsed: 10 * time.Second, Outcome: probes.OK,
		Values: map[string]float64{
			"packets_sent": 1000, "packets_lost": 10, "packets_lost_up": 7, "packets_lost_down": 2, "loss_ratio": 0.01,
			"rtt_p50_seconds": 0.02, "goodput_down_bytes_per_second": 5e6, "transferred_up_bytes": 9, "not_a_word": 3,
			"responsiveness_rpm": math.NaN(),
		},
		Hists:   map[string]*probes.Hist{"rtt": rtt, "pdv_up": up, "not_a_word": up},
		Quality: probes.UserStamps | probes.CrossTraffic,
		Radio: &probes.Radio{
			Before: &probes.RadioSample{Time: start(), RAT: "LTE", RSRP: new(-120.0)},
			After: &probes.RadioSample{
				Time: start().Add(9 * time.Second), RAT: "NR-SA", PLMN: "46000", Cell: "1a2b", PCI: new(94), Band: "n78",
				RSRP: new(-84.5), SINR: new(12.0), Latitude: new(22.75), Longitude: new(113.6),
			},
		},
		Events: []probes.Event{{Type: probes.Handover}, {Type: probes.Handover}, {Type: "eclipse"}},
	}
}

// text is a sample in one line.
func text(s Sample) string {
	var labels []string
	for _, l := range s.Labels {
		labels = append(labels, fmt.Sprintf("%s=%q", l.Name, l.Value))
	}
	value := fmt.Sprint(s.Value)
	if s.Hist != nil {
		value = s.Hist.Text()
	}
	return fmt.Sprintf("%s %s{%s} %s @%v", s.Type, s.Name, strings.Join(labels, ","), value, s.Time.Sub(start()))
}

func TestOfGolden(t *testing.T) {
	var b strings.Builder
	for _, s := range Of(result()) {
		fmt.Fprintln(&b, text(s))
	}
	if *update {
		if err := os.WriteFile("testdata/of.txt", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/of.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestDirectionsAddUpToTheTotal(t *testing.T) {
	for _, c := range []struct {
		values map[string]float64
		want   map[string]float64
	}{
		{map[string]float64{"packets_lost": 10, "packets_lost_up": 7, "packets_lost_down": 2}, map[string]float64{"up": 7, "down": 2, "unknown": 1}},
		{map[string]float64{"packets_lost": 10}, map[string]float64{"unknown": 10}},
		{map[string]float64{"packets_lost": 9, "packets_lost_up": 7, "packets_lost_down": 2}, map[string]float64{"up": 7, "down": 2, "unknown": 0}},
		{map[string]float64{"packets_lost": 1, "packets_lost_up": 7}, map[string]float64{"up": 7, "unknown": 0}},
		{map[string]float64{"packets_lost_up": -7, "packets_lost": 3}, map[string]float64{"up": 0, "unknown": 3}},
		{map[string]float64{"packets_lost_down": 2}, map[string]float64{"down": 2}},
	} {
		got := map[string]float64{}
		for _, s := range Of(&probes.Result{Values: c.values}) {
			if s.Name == "nrprobe_packets_lost_total" {
				got[s.Labels[0].Value] = s.Value
			}
		}
		if !cmp.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

// Every word of the vocabulary comes out under its Prometheus name when a Result has it.
func TestEveryWordIsASeries(t *testing.T) {
	r := &probes.Result{Values: map[string]float64{}, Hists: map[string]*probes.Hist{}}
	want := map[string]bool{}
	h := &probes.Hist{}
	h.Add(1)
	for _, m := range probes.Vocabulary() {
		if m.Type == probes.Distribution {
			r.Hists[m.HistName(probes.Both)] = h
		} else {
			r.Values[m.ValueName(probes.Both, "")] = 1
		}
		want[m.PrometheusName()] = true
	}
	for _, s := range Of(r) {
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("no series for %v", want)
	}
}

func TestLabelName(t *testing.T) {
	for name, want := range map[string]string{
		"site": "site", "Slice_2": "Slice_2", "5qi": "_5qi", "a-b.c d": "a_b_c_d", "é": "_", "": "label_",
		"agent": "label_agent", "le": "label_le", "__name__": "label__name__", "pci": "label_pci", "_x": "_x",
	} {
		if got := LabelName(name); got != want {
			t.Errorf("LabelName(%q) = %q, want %q", name, got, want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	r := result()
	b.ReportAllocs()
	for b.Loop() {
		Of(r)
	}
}
