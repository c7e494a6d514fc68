package tsdb

import (
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/nrprobe/nrprobe/probes/wire"
)

// foreign appends the numbers of another program's point as gauges named MEASUREMENT_FIELD, its tags as labels. Whether
// a number only ever grows cannot be told from line protocol; rate() works on a gauge as well. Strings have no place in a
// store of numbers and are left to the other sinks.
func (w *writer) foreign(p wire.Point) {
	for _, f := range p.Fields {
		v, ok := number(f.Value)
		if !ok {
			continue
		}
		w.add(w.foreignLabels(p, f.Key), p.Time, sample{value: v})
	}
}

func number(field any) (float64, bool) {
	switch v := field.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	default:
		return 0, false
	}
}

// foreignLabels makes names that every reader of Prometheus knows to handle. Of two tags that become the same label the
// first in the point's order is kept.
func (w *writer) foreignLabels(p wire.Point, field string) labels.Labels {
	w.builder.Reset()
	name := sanitize(p.Measurement + "_" + field)
	if field == "value" {
		name = sanitize(p.Measurement)
	}
	w.builder.Add(model.MetricNameLabel, name)
	seen := map[string]bool{model.MetricNameLabel: true}
	for _, t := range p.Tags {
		key := sanitize(t.Key)
		if strings.HasPrefix(key, "__") {
			key = "tag" + key
		}
		if seen[key] || t.Value == "" {
			continue
		}
		seen[key] = true
		w.builder.Add(key, strings.ToValidUTF8(t.Value, "?"))
	}
	w.builder.Sort()
	return w.builder.Labels()
}

// sanitize turns a word into [a-zA-Z_][a-zA-Z0-9_]*.
func sanitize(word string) string {
	var b strings.Builder
	for i, r := range word {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_', r >= '0' && r <= '9' && i > 0:
			b.WriteRune(r)
		case r >= '0' && r <= '9':
			b.WriteRune('_')
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}
