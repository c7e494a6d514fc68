package probes

import (
	"maps"
	"time"
)

// ID names a Result for ever: a store that has seen it once may drop every further copy.
type ID struct {
	// Agent is the configured name of the agent.
	Agent string `json:"agent"`
	// Boot is drawn anew each time the agent starts.
	Boot string `json:"boot"`
	// Seq counts the Results of one boot from 1, without gaps.
	Seq uint64 `json:"seq"`
}

// Result is the one thing that flows through nrprobe: what one run of a probe, or one window of a continuous one,
// measured. It is immutable once the runner has handed it out; whoever wants to change it takes a Clone.
type Result struct {
	ID     ID     `json:"id"`
	Agent  string `json:"agent"`
	Kind   string `json:"kind"`
	Probe  string `json:"probe"`
	Target string `json:"target"`
	// Labels are the user's own (site, operator, slice): on every Result of the agent.
	Labels map[string]string `json:"labels,omitempty"`
	// Start is the wall clock at the start of the measurement.
	Start time.Time `json:"start"`
	// Elapsed is how long it took, by the monotonic clock.
	Elapsed time.Duration `json:"-"`
	Outcome Outcome       `json:"outcome"`
	Error   string        `json:"error,omitempty"`
	// Values by value name (Metric.ValueName), in base units. Statistics of distributions are among them.
	Values map[string]float64 `json:"values"`
	// Hists by histogram name (Metric.HistName).
	Hists map[string]*Hist `json:"histograms,omitempty"`
	// Info is what is worth knowing and is no number: "congestion_control": "cubic".
	Info    map[string]string `json:"info,omitempty"`
	Radio   *Radio            `json:"radio,omitempty"`
	Events  []Event           `json:"events,omitempty"`
	Quality Quality           `json:"quality"`
}

// Event is something that happened at one moment of a measurement.
type Event struct {
	Time time.Time `json:"time"`
	// Type is "handover", "interruption", "rebinding", "migration" or "clock_step".
	Type EventType `json:"type"`
	// Duration is how long it lasted; 0 where that has no meaning.
	Duration time.Duration `json:"-"`
	// Detail is for a person: "pci 94 to 112".
	Detail string `json:"detail,omitempty"`
	// Spike is what the round trip did around an interruption; nil where that is not known.
	Spike *Spike `json:"-"`
}

// Spike is the latency around an interruption.
type Spike struct {
	// Before is the median round trip of the 16 last packets, or fewer, that came back before the interruption.
	Before time.Duration
	// Peak is the longest round trip of those packets and of all until the round trip was back.
	Peak time.Duration
	// Settled is the time from the end of the interruption until the round trip was back: until the first packet that took
	// no more than a tenth or a millisecond longer than Before, whichever is more, as did most of the five from it on. It
	// is negative when that took more than 10 s, or something came between.
	Settled time.Duration
}

// EventType is what kind of thing happened.
type EventType string

// The types of events.
const (
	Handover          EventType = "handover"
	InterruptionEvent EventType = "interruption"
	Rebinding         EventType = "rebinding"
	Migration         EventType = "migration"
	ClockStep         EventType = "clock_step"
)

// End is the wall clock at the end of the measurement, reckoned from Start by the monotonic clock.
func (r *Result) End() time.Time { return r.Start.Add(r.Elapsed) }

// Clone returns a deep copy.
func (r *Result) Clone() *Result {
	c := *r
	c.Labels = maps.Clone(r.Labels)
	c.Values = maps.Clone(r.Values)
	c.Info = maps.Clone(r.Info)
	c.Events = append([]Event(nil), r.Events...)
	for i, e := range c.Events {
		if e.Spike != nil {
			c.Events[i].Spike = new(*e.Spike)
		}
	}
	c.Hists = make(map[string]*Hist, len(r.Hists))
	for name, h := range r.Hists {
		c.Hists[name] = h.Clone()
	}
	if r.Radio != nil {
		c.Radio = &Radio{Before: r.Radio.Before.clone(), After: r.Radio.After.clone()}
	}
	return &c
}

func (s *RadioSample) clone() *RadioSample {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}
