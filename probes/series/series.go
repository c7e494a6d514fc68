// Package series says which Prometheus series a Result contributes to, and adds Results up. The agent's /metrics, the
// collector's /metrics and the embedded store all take their names and labels from here, so that one set of dashboards
// serves all of them.
//
// Every metric of the vocabulary (probes.Vocabulary) is a series under its Prometheus name with the labels agent, probe,
// kind, target and the user's own; a directed one has the label direction besides. Distributions are native histograms;
// their statistics are no series, because quantiles cannot be added up. Latitude and longitude never become series.
// Beside the vocabulary there are:
//
//	nrprobe_probe_runs_total{outcome}             every outcome, from 0
//	nrprobe_probe_duration_seconds                how long the last Result took
//	nrprobe_probe_last_result_timestamp_seconds   when it ended
//	nrprobe_quality_flags_total{flag}             flags that were ever set
//	nrprobe_events_total{type}                    every known type, from 0
//	nrprobe_radio_cell_info{rat,band,pci,cell,plmn}   1, for the serving cell of an agent; no labels of the probe
//
// Invariants: the sum over direction of a directed counter is its total, because what has no known direction counts
// under direction="unknown", which is never negative. An agent has at most one nrprobe_radio_cell_info at a time.
package series

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Label is one label of a series.
type Label struct{ Name, Value string }

// Sample is what one Result contributes to one series.
type Sample struct {
	// Name is the full Prometheus name, suffix included.
	Name string
	// Help is one sentence.
	Help string
	// Type says how Value and Hist add up.
	Type probes.Type
	// Labels are sorted by name, without duplicates and without empty values. Samples share them: do not change them.
	Labels []Label
	// Value is the amount to add (Counter) or the value (Gauge).
	Value float64
	// Hist is set for a Distribution only. It belongs to the Result: do not change it.
	Hist *probes.Hist
	// Time is when it was true: the end of the measurement, or when the modem was read.
	Time time.Time
}

// The names beside the vocabulary.
const (
	runsName     = "nrprobe_probe_runs_total"
	durationName = "nrprobe_probe_duration_seconds"
	lastName     = "nrprobe_probe_last_result_timestamp_seconds"
	flagsName    = "nrprobe_quality_flags_total"
	eventsName   = "nrprobe_events_total"
	cellName     = "nrprobe_radio_cell_info"
)

// unknownDirection is where a counter's total goes as far as no direction is known.
const (
	unknownDirection = "unknown"
	bothDirections   = "both"
)

// Of returns what r contributes to each series, in a fixed order. Values whose names are not in the vocabulary
// contribute nothing. It does not change r, and the samples share r's histograms.
func Of(r *probes.Result) []Sample {
	b := builder{result: r, base: baseLabels(r), end: r.End(), samples: make([]Sample, 0, 48)}
	for i := range words {
		b.word(&words[i])
	}
	b.radio()
	b.bookkeeping()
	return b.samples
}

// word is a metric with its names spelled out.
type word struct {
	metric     *probes.Metric
	prometheus string
	names      [3]string // value name, or histogram name of a distribution, by Direction
}

// words is the vocabulary; it does not change.
var words = func() []word {
	var all []word
	for _, m := range probes.Vocabulary() {
		w := word{metric: m, prometheus: m.PrometheusName()}
		for _, d := range probes.Directions() {
			switch {
			case d != probes.Both && !m.Directed:
			case m.Type == probes.Distribution:
				w.names[d] = m.HistName(d)
			default:
				w.names[d] = m.ValueName(d, "")
			}
		}
		all = append(all, w)
	}
	return all
}()

// builder collects the samples of one Result.
type builder struct {
	result  *probes.Result
	base    []Label
	end     time.Time
	samples []Sample
}

func (b *builder) add(s Sample) {
	if s.Time.IsZero() {
		s.Time = b.end
	}
	b.samples = append(b.samples, s)
}

func (b *builder) word(w *word) {
	switch {
	case w.metric.Type == probes.Distribution:
		b.distribution(w)
	case w.metric.Type == probes.Counter && w.metric.Directed:
		b.directedCounter(w)
	default:
		for _, d := range probes.Directions() {
			if v, ok := b.value(w, d); ok {
				b.add(Sample{Name: w.prometheus, Help: w.metric.Help, Type: w.metric.Type, Labels: b.directed(w, d), Value: v})
			}
		}
	}
}

func (b *builder) value(w *word, d probes.Direction) (float64, bool) {
	if w.names[d] == "" {
		return 0, false
	}
	v, ok := b.result.Values[w.names[d]]
	return v, ok && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// directed are the labels for one direction of a metric.
func (b *builder) directed(w *word, d probes.Direction) []Label {
	switch {
	case !w.metric.Directed:
		return b.base
	case d == probes.Both:
		return with(b.base, Label{"direction", bothDirections})
	default:
		return with(b.base, Label{"direction", d.String()})
	}
}

func (b *builder) distribution(w *word) {
	for _, d := range probes.Directions() {
		h := b.result.Hists[w.names[d]]
		if w.names[d] == "" || h == nil {
			continue
		}
		b.add(Sample{Name: w.prometheus, Help: w.metric.Help, Type: probes.Distribution, Labels: b.directed(w, d), Hist: h})
	}
}

// directedCounter keeps the sum over the label direction equal to the total.
func (b *builder) directedCounter(w *word) {
	emit := func(direction string, v float64) {
		b.add(Sample{
			Name: w.prometheus, Help: w.metric.Help, Type: probes.Counter,
			Labels: with(b.base, Label{"direction", direction}), Value: max(v, 0),
		})
	}
	known := 0.0
	for _, d := range []probes.Direction{probes.Up, probes.Down} {
		if v, ok := b.value(w, d); ok {
			known += max(v, 0)
			emit(d.String(), v)
		}
	}
	if total, ok := b.value(w, probes.Both); ok {
		emit(unknownDirection, total-known)
	}
}

// radio adds what the modem said after the measurement. A value of the same name in the Result itself, if there is one,
// was added with the vocabulary; then the sample does not count a second time.
func (b *builder) radio() {
	if b.result.Radio == nil || b.result.Radio.After == nil {
		return
	}
	s := b.result.Radio.After
	for _, f := range []struct {
		metric *probes.Metric
		value  *float64
	}{{probes.RSRP, s.RSRP}, {probes.RSRQ, s.RSRQ}, {probes.SINR, s.SINR}, {probes.Speed, s.Speed}} {
		if _, own := b.result.Values[f.metric.ValueName(probes.Both, "")]; f.value != nil && !own {
			b.add(Sample{Name: f.metric.PrometheusName(), Help: f.metric.Help, Type: probes.Gauge, Labels: b.base, Value: *f.value, Time: s.Time})
		}
	}
	cell := []Label{{"band", s.Band}, {"cell", s.Cell}, {"pci", ""}, {"plmn", s.PLMN}, {"rat", s.RAT}}
	if s.PCI != nil {
		cell[2].Value = strconv.Itoa(*s.PCI)
	}
	cell = slices.DeleteFunc(cell, func(l Label) bool { return l.Value == "" })
	if len(cell) == 0 {
		return
	}
	agent := slices.DeleteFunc(slices.Clone(b.base), func(l Label) bool {
		return l.Name == "probe" || l.Name == "kind" || l.Name == "target"
	})
	b.add(Sample{Name: cellName, Help: "Serving cell of the agent; the value is 1.", Type: probes.Gauge, Labels: with(agent, cell...), Value: 1, Time: s.Time})
}

// bookkeeping adds what is known of every Result, whatever it measured.
func (b *builder) bookkeeping() {
	r := b.result
	count := func(name, help string, l Label, n int) {
		b.add(Sample{Name: name, Help: help, Type: probes.Counter, Labels: with(b.base, l), Value: float64(n)})
	}
	const runs = "Results by outcome."
	known := false
	for _, o := range probes.Outcomes() {
		n := 0
		if o == r.Outcome {
			n, known = 1, true
		}
		count(runsName, runs, Label{"outcome", string(o)}, n)
	}
	if !known {
		count(runsName, runs, Label{"outcome", string(r.Outcome)}, 1)
	}
	b.add(Sample{Name: durationName, Help: "How long the last result took to measure.", Labels: b.base, Value: r.Elapsed.Seconds()})
	b.add(Sample{Name: lastName, Help: "When the last result was complete.", Labels: b.base, Value: float64(b.end.UnixNano()) / 1e9})
	for _, flag := range r.Quality.Names() {
		count(flagsName, "Results by quality flag that was set on them.", Label{"flag", flag}, 1)
	}
	types := []probes.EventType{probes.Handover, probes.InterruptionEvent, probes.Rebinding, probes.ClockStep}
	counts := make(map[probes.EventType]int, len(types))
	for _, e := range r.Events {
		if counts[e.Type]++; !slices.Contains(types, e.Type) {
			types = append(types, e.Type)
		}
	}
	for _, t := range types {
		count(eventsName, "Events during measurements by type.", Label{"type", string(t)}, counts[t])
	}
}

// baseLabels are the four labels of every series and the user's own, sorted.
func baseLabels(r *probes.Result) []Label {
	base := with(nil, Label{"agent", r.ID.Agent}, Label{"kind", r.Kind}, Label{"probe", r.Probe}, Label{"target", r.Target})
	if len(r.Labels) == 0 {
		return base
	}
	names := make([]string, 0, len(r.Labels))
	for name := range r.Labels {
		names = append(names, name)
	}
	slices.Sort(names) // of two that become one by cleaning, the first stays
	for _, name := range names {
		base = with(base, Label{LabelName(name), r.Labels[name]})
	}
	return base
}

// with returns a sorted copy of labels with more added: valid UTF-8, no empty values, and the first of each name.
func with(labels []Label, more ...Label) []Label {
	all := make([]Label, len(labels), len(labels)+len(more))
	copy(all, labels)
	for _, l := range more {
		if l.Value == "" {
			continue
		}
		l.Value = strings.ToValidUTF8(l.Value, "\uFFFD")
		at, taken := slices.BinarySearchFunc(all, l.Name, func(l Label, name string) int { return strings.Compare(l.Name, name) })
		if !taken {
			all = slices.Insert(all, at, l)
		}
	}
	return all
}

// LabelName is the Prometheus label of a user's label: letters, digits and underscores. Names that series use themselves
// or that Prometheus keeps for itself get the prefix "label_".
func LabelName(name string) string {
	var b strings.Builder
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c >= '0' && c <= '9' && i > 0:
			b.WriteRune(c)
		case c >= '0' && c <= '9':
			b.WriteByte('_')
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	clean := b.String()
	switch clean {
	case "", "agent", "kind", "probe", "target", "direction", "outcome", "flag", "type", "le", "quantile",
		"band", "cell", "pci", "plmn", "rat":
		return "label_" + clean
	}
	if strings.HasPrefix(clean, "__") {
		return "label" + clean
	}
	return clean
}
