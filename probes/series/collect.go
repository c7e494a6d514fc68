package series

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/nrprobe/nrprobe/probes"
)

// Describe implements prometheus.Collector. It says nothing, because the series are not known before the Results are,
// which makes the Set what client_golang calls an unchecked collector.
func (s *Set) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector: every series as it is now, and the Set's own two figures.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for _, m := range s.metrics() {
		ch <- m
	}
}

// metrics freezes the series, so that a slow reader does not hold up Results.
func (s *Set) metrics() []prometheus.Metric {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	metrics := make([]prometheus.Metric, 0, len(s.series)+2)
	for _, st := range s.series {
		metrics = append(metrics, s.metricLocked(st))
	}
	held := prometheus.NewDesc("nrprobe_series", "Series of results held at present.", nil, nil)
	dropped := prometheus.NewDesc("nrprobe_series_dropped_samples_total", "Samples left out because there were too many series.", nil, nil)
	return append(metrics,
		prometheus.MustNewConstMetric(held, prometheus.GaugeValue, float64(len(s.series))),
		prometheus.MustNewConstMetric(dropped, prometheus.CounterValue, float64(s.dropped)))
}

func (s *Set) metricLocked(st *state) prometheus.Metric {
	if st.desc == nil {
		labels := make(prometheus.Labels, len(st.Labels))
		for _, l := range st.Labels {
			labels[l.Name] = l.Value
		}
		st.desc = prometheus.NewDesc(st.Name, st.Help, nil, labels)
	}
	m, err := st.metric(s.options.ClassicBuckets)
	if err != nil {
		return prometheus.NewInvalidMetric(st.desc, err)
	}
	return m
}

func (st *state) metric(classic bool) (prometheus.Metric, error) {
	switch st.Type {
	case probes.Counter:
		return prometheus.NewConstMetricWithCreatedTimestamp(st.desc, prometheus.CounterValue, st.Value, st.created)
	case probes.Gauge:
		return prometheus.NewConstMetric(st.desc, prometheus.GaugeValue, st.Value)
	default:
	}
	positive := map[int]int64{}
	for i, n := range st.Hist.Buckets() {
		positive[int(i)] = int64(n)
	}
	native, err := prometheus.NewConstNativeHistogram(st.desc, st.Hist.Count(), st.Hist.Sum(), positive, nil,
		st.Hist.Zero(), probes.HistSchema, probes.HistZeroThreshold, st.created)
	if err != nil || !classic {
		return native, err
	}
	return classicHistogram{Metric: native, buckets: classicBuckets(st.Hist)}, nil
}

// classicHistogram is a native histogram with classic buckets beside.
type classicHistogram struct {
	prometheus.Metric
	buckets []*dto.Bucket
}

// Write implements prometheus.Metric.
func (h classicHistogram) Write(out *dto.Metric) error {
	if err := h.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = h.buckets
	return nil
}

// Classic buckets go from 2^-12 (0.24 ms) to 2^4 (16 s), two an octave. Their bounds are bounds of the native buckets, so
// their counts are exact.
const (
	classicFirst = -12 << probes.HistSchema
	classicLast  = 4 << probes.HistSchema
	classicStep  = 1 << (probes.HistSchema - 1)
)

func classicBuckets(h *probes.Hist) []*dto.Bucket {
	var buckets []*dto.Bucket
	for i := classicFirst; i <= classicLast; i += classicStep {
		buckets = append(buckets, &dto.Bucket{UpperBound: new(math.Exp2(float64(i) / (1 << probes.HistSchema)))})
	}
	counts := make([]uint64, len(buckets))
	for i, n := range h.Buckets() {
		at := max(0, (int(i)-classicFirst+classicStep-1)/classicStep)
		if at < len(counts) {
			counts[at] += n
		}
	}
	total := h.Zero()
	for i, n := range counts {
		total += n
		buckets[i].CumulativeCount = new(total)
	}
	return buckets
}
