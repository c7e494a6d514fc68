package probes

import (
	"fmt"
	"strings"
)

// Metric is one word of the vocabulary that all kinds share. nrprobe_rtt_seconds means the same whichever kind measured
// it, so that one query compares QUIC with TCP. Metrics are listed in Vocabulary and nowhere else.
type Metric struct {
	// Stem begins the metric's value names: "rtt" in rtt_p50_seconds. Distinct among all metrics.
	Stem string
	// Unit ends every name of the metric.
	Unit Unit
	// Name is the Prometheus name without the prefix nrprobe_ and without the suffix _total of counters.
	Name string
	Type Type
	// Directed metrics may be observed separately Up (agent to far end) and Down (far end to agent).
	Directed bool
	// Plain adds, to the statistics of a distribution, the value under the stem alone: the median of the run.
	Plain bool
	// Help is one sentence for Prometheus and for the reference in the README.
	Help string
	// Source is the document and section that defines the metric, or "nrprobe".
	Source string
}

// Type is how a metric's observations add up over time.
type Type uint8

// The types of metrics.
const (
	// Gauge is a value that was true at the time of the Result.
	Gauge Type = iota
	// Counter is an amount that belongs to one Result; amounts of successive Results are added.
	Counter
	// Distribution is many values in one Result, kept as a Hist and summed up in statistics.
	Distribution
)

// String names the type as Prometheus does.
func (t Type) String() string {
	return [...]string{"gauge", "counter", "histogram"}[t]
}

// Unit is the base unit that ends a metric's names. Inside nrprobe there are no others.
type Unit string

// The units in use.
const (
	Seconds        Unit = "seconds"
	BytesUnit      Unit = "bytes"
	BytesPerSecond Unit = "bytes_per_second"
	Ratio          Unit = "ratio"
	RPM            Unit = "rpm" // round trips per minute, draft-ietf-ippm-responsiveness
	DBm            Unit = "dbm"
	DB             Unit = "db"
	MetresPerSec   Unit = "metres_per_second"
	Count          Unit = "" // a number of things, which the stem names
)

// Direction says which way the packets of an observation went.
type Direction uint8

// The directions.
const (
	// Both is the round trip, the sum of both directions, or a metric that has no direction.
	Both Direction = iota
	// Up is from the agent to the far end (uplink).
	Up
	// Down is from the far end to the agent (downlink).
	Down
)

// Directions lists all directions.
func Directions() []Direction { return []Direction{Both, Up, Down} }

// String is "up" or "down", and "" for Both.
func (d Direction) String() string { return [...]string{"", "up", "down"}[d] }

// Statistic is one number that sums up a distribution.
type Statistic string

// The statistics. A quantile is the nearest-rank quantile of what was received.
const (
	Min  Statistic = "min"
	Mean Statistic = "mean"
	P50  Statistic = "p50"
	P90  Statistic = "p90"
	P95  Statistic = "p95"
	P99  Statistic = "p99"
	P999 Statistic = "p999"
	Max  Statistic = "max"
)

// Statistics lists all statistics in the order in which they are printed.
func Statistics() []Statistic { return []Statistic{Min, Mean, P50, P90, P95, P99, P999, Max} }

// Quantile returns q of a quantile statistic, in (0, 1). ok is false for min, mean and max.
func (s Statistic) Quantile() (q float64, ok bool) {
	switch s {
	case P50:
		return 0.5, true
	case P90:
		return 0.9, true
	case P95:
		return 0.95, true
	case P99:
		return 0.99, true
	case P999:
		return 0.999, true
	default:
		return 0, false
	}
}

// Of returns the statistic of a distribution. An empty one yields 0; callers leave those out.
func (s Statistic) Of(h *Hist) float64 {
	switch s {
	case Min:
		return h.Min()
	case Mean:
		return h.Mean()
	case Max:
		return h.Max()
	default:
		q, _ := s.Quantile()
		return h.Quantile(q)
	}
}

// ValueName is the name of one value of the metric in JSON and in InfluxDB: "rtt_p50_seconds",
// "goodput_down_bytes_per_second", "packets_lost_up". stat is "" for counters, gauges and the plain value.
func (m *Metric) ValueName(d Direction, stat Statistic) string {
	parts := []string{m.HistName(d)}
	if stat != "" {
		parts = append(parts, string(stat))
	}
	if m.Unit != Count {
		parts = append(parts, string(m.Unit))
	}
	return strings.Join(parts, "_")
}

// HistName is the name of the metric's histogram in a Result: "rtt", "owd_up".
func (m *Metric) HistName(d Direction) string {
	if d == Both {
		return m.Stem
	}
	return m.Stem + "_" + d.String()
}

// PrometheusName is the full name of the metric in Prometheus, suffix included.
func (m *Metric) PrometheusName() string {
	name := "nrprobe_" + m.Name
	if m.Type == Counter {
		name += "_total"
	}
	return name
}

// Names resolves value names and histogram names back to what they say. It is immutable and safe for concurrent use.
type Names struct {
	values map[string]NamedValue
	hists  map[string]NamedValue
}

// NamedValue is what a value name or a histogram name says.
type NamedValue struct {
	Metric    *Metric
	Direction Direction
	Statistic Statistic // "" unless it is a statistic of a distribution
}

// NewNames indexes the vocabulary.
func NewNames() *Names {
	n := &Names{values: map[string]NamedValue{}, hists: map[string]NamedValue{}}
	for _, m := range Vocabulary() {
		for _, d := range Directions() {
			if d != Both && !m.Directed {
				continue
			}
			if m.Type == Distribution {
				n.add(n.hists, m.HistName(d), NamedValue{m, d, ""})
				for _, s := range Statistics() {
					n.add(n.values, m.ValueName(d, s), NamedValue{m, d, s})
				}
			}
			if m.Type != Distribution || m.Plain {
				n.add(n.values, m.ValueName(d, ""), NamedValue{m, d, ""})
			}
		}
	}
	return n
}

func (n *Names) add(index map[string]NamedValue, name string, v NamedValue) {
	if other, taken := index[name]; taken {
		panic(fmt.Sprintf("probes: metrics %q and %q share the name %q", other.Metric.Stem, v.Metric.Stem, name))
	}
	index[name] = v
}

// Value resolves a value name such as "rtt_p95_seconds".
func (n *Names) Value(name string) (NamedValue, bool) {
	v, ok := n.values[name]
	return v, ok
}

// Hist resolves a histogram name such as "owd_up".
func (n *Names) Hist(name string) (NamedValue, bool) {
	v, ok := n.hists[name]
	return v, ok
}
