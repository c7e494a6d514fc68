package tsdb

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/series"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// writer fills one commit.
type writer struct {
	sink     *Sink
	appender storage.AppenderV2
	rejected sinks.Rejections
	appended []appended
	builder  labels.ScratchBuilder
}

// batch adds one batch to the commit.
func (w *writer) batch(b queue.Batch) {
	lines, err := b.Lines()
	if err != nil { // it would not be readable the next time either
		w.rejected.Add(b.Points, err)
		return
	}
	read := wire.Decode(lines, wire.Options{Now: b.Received})
	for _, r := range read.Results {
		w.result(r)
	}
	for _, p := range read.Foreign {
		w.foreign(p)
	}
	for _, p := range read.Problems {
		w.rejected.Add(1, errors.New(p.Text))
	}
}

// result appends the new state of every series that a Result changes.
func (w *writer) result(r *probes.Result) {
	for _, a := range w.sink.totals.Accumulate(r) {
		ls := w.labels(a.Name, a.Labels)
		if a.Ended {
			w.add(ls, a.Time, sample{value: math.Float64frombits(value.StaleNaN)})
			continue
		}
		grows := a.Type != probes.Gauge
		if grows && !a.Last.IsZero() && !a.Time.After(a.Last) {
			continue // the total already has it; the next sample in order shows it
		}
		if grows && a.Last.IsZero() {
			w.birth(ls, r, a)
		}
		w.add(ls, a.Time, sample{value: a.Value, hist: nativeHistogram(a.Hist)})
	}
}

// birth appends the 0 that a total grew from, just behind the start of its first Result: a sample at the start itself
// could stand on the last one of an earlier life of the series. That it cannot be stored is no loss worth a word.
func (w *writer) birth(ls labels.Labels, r *probes.Result, a series.Accumulated) {
	at := r.Start.Add(time.Millisecond)
	if !at.Before(a.Time.Truncate(time.Millisecond)) || w.outside(at) != nil || w.full(ls) {
		return
	}
	zero := sample{}
	if a.Hist != nil {
		zero.hist = nativeHistogram(&probes.Hist{})
	}
	_ = w.append(ls, at.UnixMilli(), zero)
}

// append gives one sample to the store and keeps it until the commit is safe.
func (w *writer) append(ls labels.Labels, at int64, s sample) error {
	_, err := w.appender.Append(0, ls, 0, at, s.value, s.hist, nil, storage.AppendV2Options{})
	if err == nil {
		w.appended = append(w.appended, appended{ls, at, s})
	}
	return err
}

// sample is a number or, when hist is not nil, a histogram.
type sample struct {
	value float64
	hist  *histogram.Histogram
}

// maxAhead is how far in the future a sample may lie. The store goes by its newest sample: one from next year would make
// everything that is measured now too old to be stored. A minute covers clocks that are nearly right.
const maxAhead = time.Minute

// minWindow is how late data may come even without an out-of-order window: half a block, as in Prometheus.
const minWindow = time.Hour

// outside says whether a time is one that the store must not be shown.
func (w *writer) outside(at time.Time) error {
	now := time.Now()
	switch {
	case at.After(now.Add(maxAhead)):
		return fmt.Errorf("time stamp %s is %s in the future: set the clock of the sender", at.UTC().Format(time.RFC3339), at.Sub(now).Round(time.Second))
	case at.Before(now.Add(-max(w.sink.config.OutOfOrder, minWindow))):
		return fmt.Errorf("time stamp %s is older than the out-of-order window (out_of_order)", at.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// add appends one sample; one that the store refuses is counted.
func (w *writer) add(ls labels.Labels, at time.Time, s sample) {
	if err := w.outside(at); err != nil {
		w.rejected.Add(1, err)
		return
	}
	if w.full(ls) {
		w.rejected.Add(1, fmt.Errorf("the store has %d series, which is the limit (max_series)", w.sink.config.MaxSeries))
		return
	}
	err := w.append(ls, at.UnixMilli(), s)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		// The batch was already written, before the process died or by another way: what is stored stays.
	default:
		w.rejected.Add(1, fmt.Errorf("%s at %s: %w", ls, at.UTC().Format(time.RFC3339), err))
	}
}

// full says whether a series would be one too many.
func (w *writer) full(ls labels.Labels) bool {
	if w.sink.db.Head().NumSeries() < uint64(w.sink.config.MaxSeries) {
		return false
	}
	known, ok := w.appender.(storage.GetRef)
	if !ok {
		return true
	}
	ref, _ := known.GetRef(ls, ls.Hash())
	return ref == 0
}

// labels makes the store's label set. The store keeps the strings, which belong to the Result, so they need no copy.
func (w *writer) labels(name string, pairs []series.Label) labels.Labels {
	w.builder.Reset()
	w.builder.Add(model.MetricNameLabel, name)
	for _, p := range pairs {
		if p.Value != "" {
			w.builder.Add(p.Name, p.Value)
		}
	}
	w.builder.Sort()
	return w.builder.Labels()
}

// nativeHistogram writes a Hist as Prometheus does: spans of neighbouring buckets, counts as differences. nil stays nil.
func nativeHistogram(h *probes.Hist) *histogram.Histogram {
	if h == nil {
		return nil
	}
	native := &histogram.Histogram{
		Schema: probes.HistSchema, ZeroThreshold: probes.HistZeroThreshold,
		ZeroCount: h.Zero(), Count: h.Count(), Sum: h.Sum(),
	}
	next, previous := int32(0), int64(0)
	for i, n := range h.Buckets() {
		if len(native.PositiveSpans) == 0 || i != next {
			native.PositiveSpans = append(native.PositiveSpans, histogram.Span{Offset: i - next})
		}
		native.PositiveSpans[len(native.PositiveSpans)-1].Length++
		native.PositiveBuckets = append(native.PositiveBuckets, int64(n)-previous)
		next, previous = i+1, int64(n)
	}
	return native
}
