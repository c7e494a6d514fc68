package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// register fills the registry behind /metrics: what the fleet measured, how the collector itself is, the Go runtime.
//
// Invariants: accepted results + duplicate results = results received in readable lines; for each sink, points stored +
// points rejected + points of pending and evicted batches = points accepted since the sink was configured.
func (c *Collector) register() {
	c.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "nrprobe_collector_http_requests_total", Help: "HTTP requests answered, by route and status.",
	}, []string{"route", "code"})
	for _, code := range []string{"204", "400", "401", "413", "503"} {
		c.requests.WithLabelValues("POST /api/v2/write", code)
	}
	c.registry.MustRegister(
		c.requests, c.series, newHealth(c),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
}

// health is a prometheus.Collector over figures that are kept elsewhere.
type health struct {
	collector                                          *Collector
	info                                               *prometheus.Desc
	results, duplicates, foreign, bad, bytes           *prometheus.Desc
	pending, pendingBytes, oldest, evicted             *prometheus.Desc
	sinkPoints, sinkRejected, sinkRetries, sinkFailing *prometheus.Desc
	queueBytes, agents, lastSeen, dataAge              *prometheus.Desc
}

func newHealth(c *Collector) *health {
	plain := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &health{
		collector:    c,
		info:         plain("nrprobe_collector_build_info", "Version of the collector; always 1.", "version"),
		results:      plain("nrprobe_collector_results_accepted_total", "Results accepted, each once."),
		duplicates:   plain("nrprobe_collector_results_duplicate_total", "Results dropped because they were accepted before."),
		foreign:      plain("nrprobe_collector_points_accepted_total", "Points of other programs accepted."),
		bad:          plain("nrprobe_collector_lines_bad_total", "Lines that could not be read."),
		bytes:        plain("nrprobe_collector_line_protocol_bytes_total", "Line protocol received, unpacked."),
		pending:      plain("nrprobe_collector_queue_pending_batches", "Batches that the sink has not stored yet.", "sink"),
		pendingBytes: plain("nrprobe_collector_queue_pending_bytes", "Size of the batches that the sink has not stored yet.", "sink"),
		oldest:       plain("nrprobe_collector_queue_oldest_age_seconds", "Age of the oldest batch that the sink has not stored yet.", "sink"),
		evicted:      plain("nrprobe_collector_queue_evicted_batches_total", "Batches dropped because of the queue's bounds before the sink had stored them.", "sink"),
		sinkPoints:   plain("nrprobe_collector_sink_points_total", "Points that the sink has stored.", "sink"),
		sinkRejected: plain("nrprobe_collector_sink_points_rejected_total", "Points that the sink will never store.", "sink"),
		sinkRetries:  plain("nrprobe_collector_sink_retries_total", "Writes that failed and were tried again.", "sink"),
		sinkFailing:  plain("nrprobe_collector_sink_failing", "Whether the last write failed: 1 yes, 0 no.", "sink"),
		queueBytes:   plain("nrprobe_collector_queue_size_bytes", "Size of the queue on disk."),
		agents:       plain("nrprobe_collector_agents", "Agents heard of lately."),
		lastSeen:     plain("nrprobe_agent_last_seen_timestamp_seconds", "When the agent's last result arrived.", "agent"),
		dataAge:      plain("nrprobe_agent_data_age_seconds", "Time since the end of the agent's newest measurement.", "agent"),
	}
}

// Describe implements prometheus.Collector. It says nothing, because which series there are changes with the fleet.
func (h *health) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (h *health) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c := h.collector
	gauge(h.info, 1, c.deps.Version)
	n := &c.ingest.Counts
	counter(h.results, float64(n.Results.Load()))
	counter(h.duplicates, float64(n.Duplicates.Load()))
	counter(h.foreign, float64(n.Foreign.Load()))
	counter(h.bad, float64(n.Bad.Load()))
	counter(h.bytes, float64(n.Bytes.Load()))
	stats := c.queue.Stats()
	gauge(h.queueBytes, float64(stats.Bytes))
	for _, f := range c.feeders {
		reader := stats.Readers[f.Name]
		gauge(h.pending, float64(reader.Pending), f.Name)
		gauge(h.pendingBytes, float64(reader.PendingBytes), f.Name)
		gauge(h.oldest, reader.OldestAge.Seconds(), f.Name)
		counter(h.evicted, float64(reader.Evicted), f.Name)
		counter(h.sinkPoints, float64(f.Counts.Points.Load()), f.Name)
		counter(h.sinkRejected, float64(f.Counts.Rejected.Load()), f.Name)
		counter(h.sinkRetries, float64(f.Counts.Retries.Load()), f.Name)
		gauge(h.sinkFailing, float64(f.Counts.Failing.Load()), f.Name)
	}
	seen := c.fleet.LastSeen()
	gauge(h.agents, float64(len(seen)))
	now := time.Now()
	for _, s := range seen {
		gauge(h.lastSeen, float64(s.Received.UnixMilli())/1000, s.Agent)
		gauge(h.dataAge, now.Sub(s.Measured).Seconds(), s.Agent)
	}
}
