// Package series says which Prometheus series a Result contributes to.
package series

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nrprobe/nrprobe/probes"
)

// Label is one label of a series.
type Label struct{ Name, Value string }

// Sample is what one Result contributes to one series.
type Sample struct {
	// Name is the full Prometheus name, suffix included.
	Name string
	Help string
	Type probes.Type
	// Labels are sorted by name. They are shared between samples: do not change them.
	Labels []Label
	// Value of a counter (the amount to add) or gauge.
	Value float64
	// Hist of a distribution; nil otherwise.
	Hist *probes.Hist
	// Time is when it was true: the end of the measurement, or when the modem was read.
	Time time.Time
}

// Of returns what r contributes to each series.
func Of(r *probes.Result) []Sample { return nil }

// Options of a Set. The zero value has the defaults.
type Options struct {
	// MaxSeries bounds the series held; 0 is DefaultMaxSeries.
	MaxSeries int
	// Idle is how long a series without a new Result is kept; 0 keeps it for ever.
	Idle time.Duration
	// ClassicBuckets adds classic buckets to the native histograms, for readers that cannot take those.
	ClassicBuckets bool
}

// DefaultMaxSeries is the bound when Options has none.
const DefaultMaxSeries = 200_000

// Set accumulates Results: counters and histograms summed, gauges latest. It is a prometheus.Collector.
// It is safe for concurrent use.
type Set struct{}

// NewSet returns an empty Set.
func NewSet(o Options) *Set { return &Set{} }

// Add adds what r contributes.
func (s *Set) Add(r *probes.Result) {}

// Accumulated is the state of one series after a Result was added.
type Accumulated struct {
	// Sample has the accumulated Value or Hist (a copy) of the series at the Result's time.
	Sample
	// Last is the newest Time that the series had before; zero for a new series.
	Last time.Time
	// Ended says that the series is over and has no value any more: a cell that the agent left.
	Ended bool
}

// Accumulate adds what r contributes and returns the new state of every series that changed.
func (s *Set) Accumulate(r *probes.Result) []Accumulated { return nil }

// Describe implements prometheus.Collector. It says nothing, which makes the Set an unchecked collector.
func (s *Set) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {}
