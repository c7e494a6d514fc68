package series

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nrprobe/nrprobe/probes"
)

// Options of a Set. The zero value has the defaults.
type Options struct {
	// MaxSeries bounds the series held, so that a stranger's labels cannot fill the memory; 0 is DefaultMaxSeries.
	// What further series would have got is counted in nrprobe_series_dropped_samples_total.
	MaxSeries int
	// Idle is how long a series is kept that no Result contributes to; 0 keeps it for ever.
	Idle time.Duration
	// ClassicBuckets adds classic buckets to the native histograms, for readers that cannot take those.
	ClassicBuckets bool
}

// DefaultMaxSeries is the bound when Options has none: room for some thousands of probes.
const DefaultMaxSeries = 200_000

// Set adds Results up: counters and histograms are summed, gauges keep the value measured last, which need not be the
// one that came last. It is a prometheus.Collector for a registry of its own or with others, and safe for concurrent use.
type Set struct {
	options Options

	mu      sync.Mutex
	series  map[string]*state
	cells   map[string]*state // the live cell of each agent
	dropped uint64
	swept   time.Time
	key     []byte // scratch
}

// state is one series.
type state struct {
	Sample            // accumulated; Hist is ours
	key     string    // in Set.series
	agent   string    // in Set.cells, of a cell
	created time.Time // when it began at 0
	touched time.Time // when a Result last contributed
	desc    *prometheus.Desc
}

// NewSet returns an empty Set.
func NewSet(o Options) *Set {
	if o.MaxSeries <= 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	return &Set{options: o, series: map[string]*state{}, cells: map[string]*state{}, swept: time.Now()}
}

// Add adds what r contributes.
func (s *Set) Add(r *probes.Result) { s.add(r, nil) }

// Accumulated is the state of one series after a Result was added.
type Accumulated struct {
	// Sample has the accumulated Value or Hist (a copy) of the series, at the Result's time. A gauge that is older than
	// what the series already has comes with its own Value.
	Sample
	// Last is the newest Time that the series had before; zero for a new series. When Sample.Time is not after it, the
	// Result is late: what it added is in the total, but not in the totals that were handed out for later times.
	Last time.Time
	// Ended says that the series is over at Sample.Time and has no value any more: a cell that the agent left.
	Ended bool
}

// Accumulate adds what r contributes and returns the new state of every series it contributes to, in the order of Of,
// and of those that it ended. This is how a store gets running totals, as if it scraped after every Result.
func (s *Set) Accumulate(r *probes.Result) []Accumulated {
	var all []Accumulated
	s.add(r, func(a Accumulated) {
		if a.Hist != nil {
			a.Hist = a.Hist.Clone()
		}
		all = append(all, a)
	})
	return all
}

// add adds r; each, if not nil, sees every change under the lock.
func (s *Set) add(r *probes.Result, each func(Accumulated)) {
	samples := Of(r)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	for i := range samples {
		sample := &samples[i]
		if sample.Name == cellName && !s.enterCellLocked(sample, r.ID.Agent, each) {
			continue
		}
		st, fresh := s.stateLocked(sample, now)
		if st == nil {
			s.dropped++
			continue
		}
		if sample.Name == cellName {
			s.cells[r.ID.Agent], st.agent = st, r.ID.Agent
		}
		a := Accumulated{Last: st.Time}
		if fresh {
			a.Last = time.Time{}
		}
		a.Sample = st.contribute(sample, fresh)
		st.touched = now
		if each != nil {
			each(a)
		}
	}
}

// contribute adds a sample to the series and returns the series as it is at the sample's time.
func (st *state) contribute(sample *Sample, fresh bool) Sample {
	late := !fresh && sample.Time.Before(st.Time)
	switch sample.Type {
	case probes.Counter:
		st.Value += max(sample.Value, 0)
	case probes.Distribution:
		if st.Hist == nil {
			st.Hist = &probes.Hist{}
		}
		st.Hist.Merge(sample.Hist)
	default:
		if late {
			return *sample
		}
		st.Value = sample.Value
	}
	if !late {
		st.Time = sample.Time
	}
	at := st.Sample
	at.Time = sample.Time
	return at
}

// stateLocked finds or makes the series of a sample; nil when there are too many.
func (s *Set) stateLocked(sample *Sample, now time.Time) (st *state, fresh bool) {
	s.key = appendKey(s.key[:0], sample)
	if st := s.series[string(s.key)]; st != nil {
		return st, false
	}
	if len(s.series) >= s.options.MaxSeries {
		return nil, false
	}
	st = &state{Sample: *sample, key: string(s.key), created: now}
	st.Value, st.Hist = 0, nil
	s.series[st.key] = st
	return st, true
}

// appendKey appends what tells series apart. 0xff is in no valid UTF-8.
func appendKey(key []byte, sample *Sample) []byte {
	key = append(key, sample.Name...)
	for _, l := range sample.Labels {
		key = append(append(key, 0xff), l.Name...)
		key = append(append(key, 0xff), l.Value...)
	}
	return key
}

// enterCellLocked ends the series of the cell that the agent left. It is false for a late reading of another cell.
func (s *Set) enterCellLocked(sample *Sample, agent string, each func(Accumulated)) bool {
	old := s.cells[agent]
	if old == nil {
		return true
	}
	s.key = appendKey(s.key[:0], sample)
	switch {
	case old.key == string(s.key):
		return true
	case sample.Time.Before(old.Time):
		return false
	}
	s.removeLocked(old)
	if each != nil {
		ended := Accumulated{Sample: old.Sample, Last: old.Time, Ended: true}
		ended.Time = sample.Time
		each(ended)
	}
	return true
}

func (s *Set) removeLocked(st *state) {
	delete(s.series, st.key)
	if st.Name == cellName {
		delete(s.cells, st.agent)
	}
}

// sweepLocked drops series that have been idle for too long. Four times within Idle is often enough to hold it, and seldom
// enough to cost nothing.
func (s *Set) sweepLocked(now time.Time) {
	if s.options.Idle <= 0 || now.Sub(s.swept) < s.options.Idle/4 {
		return
	}
	s.swept = now
	for _, st := range s.series {
		if now.Sub(st.touched) > s.options.Idle {
			s.removeLocked(st)
		}
	}
}
