package probes

import (
	"maps"
	"sync"
	"time"
)

// Recorder takes down what a probe sees while it measures. The probe observes, adds and sets; the runner turns what was
// taken down into Results. Whatever was observed before an error, a timeout or a panic is kept.
// A Recorder is safe for concurrent use.
type Recorder struct {
	emit func(*Recorder) // what Cut does with a finished window; nil when windows are not wanted
	tap  func(m *Metric, d Direction, v float64)

	mu      sync.Mutex
	started time.Time
	ended   time.Time // of a finished window; zero while still recording
	err     error     // of a finished window
	values  map[string]float64
	hists   map[string]*Hist
	metrics map[string]NamedValue // the metric behind each name in hists
	info    map[string]string
	events  []Event
	quality Quality
}

// NewRecorder returns an empty recorder that began now. Probes get theirs from the runner; tests make their own.
func NewRecorder() *Recorder {
	r := &Recorder{}
	r.reset(time.Now())
	return r
}

func (r *Recorder) reset(now time.Time) {
	r.started = now
	r.values = map[string]float64{}
	r.hists = map[string]*Hist{}
	r.metrics = map[string]NamedValue{}
	r.info = map[string]string{}
	r.events = nil
	r.quality = 0
}

// Observe adds one value in the metric's unit to a distribution.
func (r *Recorder) Observe(m *Metric, d Direction, v float64) {
	mustBe(m, Distribution)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.histLocked(m, d).Add(v)
	if r.tap != nil {
		r.tap(m, d, v)
	}
}

// Tap hands every value that Observe takes down from now on to f as well, in order and one at a time: for those who need
// single values and not their histogram. f must return at once and must not call the recorder. Values that come merged,
// through ObserveAll, do not pass the tap. A nil f ends it.
func (r *Recorder) Tap(f func(m *Metric, d Direction, v float64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tap = f
}

// ObserveDuration adds one time to a distribution of seconds.
func (r *Recorder) ObserveDuration(m *Metric, d Direction, v time.Duration) {
	r.Observe(m, d, v.Seconds())
}

// ObserveAll merges a whole histogram into a distribution.
func (r *Recorder) ObserveAll(m *Metric, d Direction, h *Hist) {
	mustBe(m, Distribution)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.histLocked(m, d).Merge(h)
}

func (r *Recorder) histLocked(m *Metric, d Direction) *Hist {
	name := m.HistName(d)
	h, ok := r.hists[name]
	if !ok {
		h = &Hist{}
		r.hists[name] = h
		r.metrics[name] = NamedValue{Metric: m, Direction: d}
	}
	return h
}

// Add adds to a counter. Adding 0 makes the value appear.
func (r *Recorder) Add(m *Metric, d Direction, n float64) {
	mustBe(m, Counter)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[m.ValueName(d, "")] += n
}

// Set sets a gauge.
func (r *Recorder) Set(m *Metric, d Direction, v float64) {
	mustBe(m, Gauge)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[m.ValueName(d, "")] = v
}

// Note records something worth knowing that is no number. Keys are snake_case.
func (r *Recorder) Note(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info[key] = value
}

// Event records something that happened at one moment.
func (r *Recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Flag sets quality flags.
func (r *Recorder) Flag(q Quality) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quality |= q
}

// Cut ends a window of a continuous measurement: what was taken down so far becomes a Result of its own, and the
// recorder begins anew at the same instant, so that nothing falls between two windows or into both.
// Notes belong to the window as all else does: what is still true in the next one is noted anew. One goroutine cuts; others
// may go on observing meanwhile.
func (r *Recorder) Cut() { r.CutAt(time.Time{}, time.Now(), nil) }

// CutAt is Cut for a probe that takes a window down only after it ended, when it is known what became of each packet:
// the Result covers start to end, and the recorder's next window starts at end. A zero start stands for where the last
// cut ended. err is how the window ended as Measure's error is how a run did: a window in which nothing came back has
// one, and the next may be good again.
func (r *Recorder) CutAt(start, end time.Time, err error) {
	window := r.take(start, end)
	window.err = err
	if r.emit != nil {
		r.emit(window)
	}
}

// take moves what was taken down so far into a recorder of its own.
func (r *Recorder) take(start, end time.Time) *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	if start.IsZero() {
		start = r.started
	}
	window := &Recorder{
		started: start, ended: end, values: r.values, hists: r.hists, metrics: r.metrics,
		info: r.info, events: r.events, quality: r.quality,
	}
	r.reset(end)
	return window
}

// Snapshot returns what was taken down so far as a Result without identity: values with their statistics, histograms,
// info, events, quality, start and elapsed time. Progress displays call it while the probe measures.
func (r *Recorder) Snapshot() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := r.ended
	if ended.IsZero() {
		ended = time.Now()
	}
	result := &Result{
		Start:   r.started.Round(0), // the wall clock alone: a Result outlives the process whose monotonic clock it was
		Elapsed: ended.Sub(r.started),
		Values:  maps.Clone(r.values),
		Hists:   make(map[string]*Hist, len(r.hists)),
		Events:  append([]Event(nil), r.events...),
		Quality: r.quality,
	}
	if len(r.info) > 0 {
		result.Info = maps.Clone(r.info)
	}
	for name, h := range r.hists {
		if h.Count() == 0 {
			continue
		}
		result.Hists[name] = h.Clone()
		r.metrics[name].statistics(h, result.Values)
	}
	return result
}

// statistics writes the values that sum up a distribution.
func (n NamedValue) statistics(h *Hist, values map[string]float64) {
	for _, s := range Statistics() {
		values[n.Metric.ValueName(n.Direction, s)] = s.Of(h)
	}
	if n.Metric.Plain {
		values[n.Metric.ValueName(n.Direction, "")] = P50.Of(h)
	}
}

// mustBe holds kinds to the vocabulary: to count a gauge or to observe a counter is a mistake in the program.
func mustBe(m *Metric, t Type) {
	if m.Type != t {
		panic("probes: metric " + m.Stem + " is a " + m.Type.String() + ", not a " + t.String())
	}
}
