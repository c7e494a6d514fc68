package fleet

import (
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Fleet is what the page and other readers of /api/nrprobe/fleet get: everything at one moment.
type Fleet struct {
	Now time.Time `json:"now"`
	// Summary is of all agents that were searched for; Agents may hold fewer.
	Summary Summary `json:"summary"`
	Agents  []Agent `json:"agents"`
}

// Summary counts.
type Summary struct {
	Agents int `json:"agents"`
	Probes int `json:"probes"`
	// Silent agents have sent nothing for SilentAfter.
	Silent int `json:"silent"`
	// Failing probes did not end with the outcome ok the last time; Flagged ones are of doubtful quality.
	Failing int `json:"failing"`
	Flagged int `json:"flagged"`
}

// SilentAfter is when an agent counts as silent: several windows of a continuous probe and several tries of an uplink.
const SilentAfter = time.Minute

// Agent is one agent.
type Agent struct {
	Name     string              `json:"name"`
	Silent   bool                `json:"silent,omitempty"`
	Labels   map[string]string   `json:"labels,omitempty"`
	Received time.Time           `json:"received"`
	Measured time.Time           `json:"measured"`
	Radio    *probes.RadioSample `json:"radio,omitempty"`
	Events   []probes.Event      `json:"events,omitempty"`
	Probes   []Probe             `json:"probes"`
}

// Probe is one probe of an agent against one target.
type Probe struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`
	Target  string         `json:"target"`
	Outcome probes.Outcome `json:"outcome"`
	Error   string         `json:"error,omitempty"`
	Start   time.Time      `json:"start"`
	Elapsed float64        `json:"elapsed_seconds"`
	Quality []string       `json:"quality,omitempty"`
	// Doubtful says that one of the quality flags makes the timing doubtful.
	Doubtful bool               `json:"doubtful,omitempty"`
	Values   map[string]float64 `json:"values"`
	// Metric is the stem of the distribution that Minute, FiveMinutes and History tell of.
	Metric      string   `json:"metric,omitempty"`
	Minute      Span     `json:"minute"`
	FiveMinutes Span     `json:"five_minutes"`
	History     *History `json:"history,omitempty"`
}

// Span sums up the Results that ended within a time. Absent numbers were not measured.
type Span struct {
	Results  int `json:"results"`
	Failures int `json:"failures"`
	// Count is the number of round trips behind the quantiles.
	Count        uint64   `json:"count"`
	P50          *float64 `json:"p50_seconds,omitempty"`
	P95          *float64 `json:"p95_seconds,omitempty"`
	P99          *float64 `json:"p99_seconds,omitempty"`
	Max          *float64 `json:"max_seconds,omitempty"`
	Sent         *float64 `json:"packets_sent,omitempty"`
	Lost         *float64 `json:"packets_lost,omitempty"`
	LostUp       *float64 `json:"packets_lost_up,omitempty"`
	LostDown     *float64 `json:"packets_lost_down,omitempty"`
	Interruption *float64 `json:"interruption_max_seconds,omitempty"`
}

// History is the course of the last minutes in columns of equal length; null was not measured.
type History struct {
	At           []int64    `json:"at_unix_seconds"`
	P50          []*float32 `json:"p50_seconds"`
	P95          []*float32 `json:"p95_seconds"`
	P99          []*float32 `json:"p99_seconds"`
	Loss         []*float32 `json:"loss_ratio"`
	Interruption []*float32 `json:"interruption_seconds"`
	Up           []*float32 `json:"goodput_up_bytes_per_second"`
	Down         []*float32 `json:"goodput_down_bytes_per_second"`
}

// Selection says what of the fleet is wanted.
type Selection struct {
	// Search leaves agents out whose name and labels do not contain it.
	Search string
	// Limit is how many agents are listed; 0 for all.
	Limit int
	// History adds the course of the last minutes.
	History bool
}

// Snapshot returns a copy of the present state, agents sorted by name.
func (g *Registry) Snapshot(now time.Time, s Selection) Fleet {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := make([]string, 0, len(g.agents))
	f := Fleet{Now: now, Agents: []Agent{}}
	for name, a := range g.agents {
		if s.Search == "" || matches(name, a.labels, s.Search) {
			names = append(names, name)
			f.Summary.add(a, now)
		}
	}
	slices.Sort(names)
	if s.Limit > 0 && len(names) > s.Limit {
		names = names[:s.Limit]
	}
	for _, name := range names {
		f.Agents = append(f.Agents, g.agents[name].snapshot(name, now, s.History))
	}
	return f
}

func (s *Summary) add(a *agent, now time.Time) {
	s.Agents++
	s.Probes += len(a.probes)
	if now.Sub(a.received) > SilentAfter {
		s.Silent++
	}
	for _, p := range a.probes {
		if p.last.Outcome != probes.OK {
			s.Failing++
		}
		if p.last.Quality.Doubtful() {
			s.Flagged++
		}
	}
}

func matches(name string, labels map[string]string, search string) bool {
	search = strings.ToLower(search)
	if strings.Contains(strings.ToLower(name), search) {
		return true
	}
	for _, v := range labels {
		if strings.Contains(strings.ToLower(v), search) {
			return true
		}
	}
	return false
}

func (a *agent) snapshot(name string, now time.Time, withHistory bool) Agent {
	out := Agent{
		Name: name, Silent: now.Sub(a.received) > SilentAfter, Labels: a.labels, Received: a.received, Measured: a.measured, Radio: a.radio,
		Events: slices.Clone(a.events), Probes: []Probe{},
	}
	slices.Reverse(out.Events)
	for key, p := range a.probes {
		_, metric := rttOf(p.last)
		one := Probe{
			Name: key.name, Kind: key.kind, Target: key.target, Outcome: p.last.Outcome, Error: p.last.Error,
			Start: p.last.Start, Elapsed: p.last.Elapsed.Seconds(), Values: p.last.Values,
			Quality: p.last.Quality.Names(), Doubtful: p.last.Quality.Doubtful(),
			Metric: metric, Minute: p.minutes.sum(now, time.Minute).span(), FiveMinutes: p.minutes.sum(now, 5*time.Minute).span(),
		}
		if withHistory {
			one.History = p.history.columns(now)
		}
		out.Probes = append(out.Probes, one)
	}
	slices.SortFunc(out.Probes, func(x, y Probe) int {
		return strings.Compare(x.Name+"\x00"+x.Kind+"\x00"+x.Target, y.Name+"\x00"+y.Kind+"\x00"+y.Target)
	})
	return out
}

func (s slot) span() Span {
	out := Span{Results: s.results, Failures: s.failures, Count: s.rtt.Count()}
	if s.rtt.Count() > 0 {
		out.P50, out.P95, out.P99 = new(s.rtt.Quantile(0.5)), new(s.rtt.Quantile(0.95)), new(s.rtt.Quantile(0.99))
		out.Max = new(s.rtt.Max())
	}
	out.Sent, out.Lost = measured(s.amounts.sent), measured(s.amounts.lost)
	out.LostUp, out.LostDown = measured(s.amounts.lostUp), measured(s.amounts.lostDown)
	out.Interruption = measured(s.amounts.interruption)
	return out
}

// measured turns the mark for "not measured" into nil.
func measured[T float32 | float64](v T) *T {
	if v < 0 {
		return nil
	}
	return &v
}

func (h *history) columns(now time.Time) *History {
	oldest := now.Add(-maxPoints * pointWidth).Unix()
	out := &History{}
	for _, p := range h.points {
		if p.at < oldest {
			continue
		}
		out.At = append(out.At, p.at)
		out.P50 = append(out.P50, measured(p.p50))
		out.P95 = append(out.P95, measured(p.p95))
		out.P99 = append(out.P99, measured(p.p99))
		out.Loss = append(out.Loss, measured(p.loss))
		out.Interruption = append(out.Interruption, measured(p.interruption))
		out.Up = append(out.Up, measured(p.up))
		out.Down = append(out.Down, measured(p.down))
	}
	return out
}
