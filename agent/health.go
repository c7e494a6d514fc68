package agent

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nrprobe/nrprobe/agent/uplink"
	"github.com/nrprobe/nrprobe/probes"
)

// health is what the agent tells of itself on /metrics, beside what it measured. It is a prometheus.Collector.
//
// Invariants, where the outbox held nothing at the start and the uplink was not changed by a reload:
// outbox_pending = outbox_written − uplink_delivered − uplink_rejected − outbox_evicted (all records), and
// uplink_batches_total over all outcomes is the number of leases that were tried.
type health struct {
	agent *Agent

	mu         sync.Mutex
	skips      map[string]uint64
	reloadOK   bool
	reloadTime time.Time // of the last configuration that was accepted
}

func newHealth(a *Agent) *health {
	return &health{agent: a, skips: map[string]uint64{}, reloadOK: true, reloadTime: time.Now()}
}

// skipped counts starts that a probe missed.
func (h *health) skipped(probe string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skips[probe] += uint64(n)
}

// reloaded takes down how the last attempt to change the configuration ended.
func (h *health) reloaded(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reloadOK = err == nil
	if err == nil {
		h.reloadTime = time.Now()
	}
}

// Describe implements prometheus.Collector. It says nothing: without an uplink there are fewer metrics.
func (h *health) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (h *health) Collect(ch chan<- prometheus.Metric) {
	m := meter{ch}
	m.gauge("info", "The agent's name, this start of it, and its version; the value is 1.", 1,
		"agent", h.agent.runner.Agent, "boot", h.agent.runner.Boot, "version", h.agent.deps.Version)
	h.collectOwn(m)
	h.collectPlan(m)
	h.collectOutbox(m)
	h.collectUplink(m)
}

func (h *health) collectOwn(m meter) {
	h.mu.Lock()
	skips, ok, at := maps.Clone(h.skips), h.reloadOK, h.reloadTime
	h.mu.Unlock()
	m.gauge("config_last_reload_successful", "Whether the last attempt to change the configuration succeeded.", truth(ok))
	m.gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded.", seconds(at))
	for _, p := range h.agent.config.Load().Probes {
		m.counter("schedule_skips_total", "Starts of a probe that were skipped because the run before them took longer than its period.", float64(skips[p.Name]), "probe", p.Name)
	}
	for _, lane := range []probes.Lane{probes.Latency, probes.Load} {
		s := h.agent.lanes.Stats(lane)
		m.counter("lane_waits_total", "Runs that had to wait for a probe of the other lane, or another load test, to end.", float64(s.Waits), "lane", lane.String())
		m.counter("lane_wait_seconds_total", "Time that runs waited for their lane.", s.Waited.Seconds(), "lane", lane.String())
	}
}

func (h *health) collectOutbox(m meter) {
	box := h.agent.box()
	if box == nil {
		return
	}
	s := box.Stats()
	m.counter("outbox_written_records_total", "Results that were put into the outbox: from then on they are not lost.", float64(s.Written))
	m.gauge("outbox_pending_records", "Results that wait for delivery.", float64(s.Pending))
	m.gauge("outbox_pending_bytes", "Size of the results that wait for delivery.", float64(s.PendingBytes))
	m.gauge("outbox_oldest_record_age_seconds", "Age of the oldest result that waits for delivery; 0 when none does.", s.OldestAge.Seconds())
	m.gauge("outbox_on_disk", "Whether results outlive a restart of the agent.", truth(s.OnDisk))
	m.counter("outbox_evicted_records_total", "Results dropped undelivered because of their age or for want of space.", float64(s.Evicted))
	m.counter("outbox_refused_records_total", "Results that the disk refused; they were kept in memory.", float64(s.Refused))
	m.counter("outbox_lost_records_total", "Results that could not be kept at all.", float64(s.Lost))
	m.counter("outbox_disk_written_bytes_total", "Bytes written to disk, which wear out flash.", float64(s.DiskBytes))
}

func (h *health) collectUplink(m meter) {
	up := h.agent.currentUplink()
	if up == nil {
		return
	}
	s := up.Stats()
	for _, outcome := range uplink.Outcomes() {
		m.counter("uplink_batches_total", "Batches by how their delivery ended.", float64(s.Batches[outcome]), "outcome", outcome)
	}
	m.counter("uplink_delivered_records_total", "Results that the server took.", float64(s.Delivered))
	m.counter("uplink_rejected_records_total", "Results that the server rejected for good.", float64(s.Rejected))
	m.counter("uplink_delivered_bytes_total", "Size of what was delivered, before compression.", float64(s.Bytes))
	m.gauge("uplink_last_success_timestamp_seconds", "When the server last took a batch; 0 when it never did.", seconds(s.LastSuccess))
}

// meter sends metrics of the agent.
type meter struct{ ch chan<- prometheus.Metric }

func (m meter) gauge(name, help string, v float64, labels ...string) {
	m.send(prometheus.GaugeValue, name, help, v, labels)
}

func (m meter) counter(name, help string, v float64, labels ...string) {
	m.send(prometheus.CounterValue, name, help, v, labels)
}

// send sends one metric; labels are names and values in turn.
func (m meter) send(t prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for pair := range slices.Chunk(labels, 2) {
		names, values = append(names, pair[0]), append(values, pair[1])
	}
	desc := prometheus.NewDesc("nrprobe_agent_"+name, help, names, nil)
	m.ch <- prometheus.MustNewConstMetric(desc, t, v, values...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a moment as Prometheus writes it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
