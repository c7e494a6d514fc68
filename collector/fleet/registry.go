// Package fleet knows who is out there: the agents, what they probe, what they measured last and how the last minutes
// went. It is fed with accepted Results, lives in memory and is what the page shows.
package fleet

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Registry collects Results by agent and probe. It is safe for concurrent use.
type Registry struct {
	forget time.Duration

	mu     sync.Mutex
	agents map[string]*agent
}

// maxAgents and maxProbes bound what strangers' names can make the registry hold: about 10 KiB a probe.
const (
	maxAgents = 20_000
	maxProbes = 256 // of one agent
)

// NewRegistry returns an empty registry. Agents that nothing was heard of for that long are forgotten.
func NewRegistry(forget time.Duration) *Registry {
	return &Registry{forget: forget, agents: map[string]*agent{}}
}

type agent struct {
	labels   map[string]string
	received time.Time // when the collector last heard of it
	measured time.Time // the newest end of a measurement
	radio    *probes.RadioSample
	events   []probes.Event // newest last
	probes   map[probeKey]*probe
}

type probeKey struct{ name, kind, target string }

type probe struct {
	last    *probes.Result
	minutes window
	history history
}

// Add takes one accepted Result in. Results may come late and in any order.
func (g *Registry) Add(r *probes.Result, received time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.agents[r.ID.Agent]
	if a == nil {
		if len(g.agents) >= maxAgents {
			return
		}
		a = &agent{probes: map[probeKey]*probe{}}
		g.agents[r.ID.Agent] = a
	}
	a.received = received
	newest := !r.End().Before(a.measured)
	if newest {
		a.measured = r.End()
		a.labels = r.Labels
	}
	a.radioLocked(r)
	a.eventsLocked(r.Events)
	key := probeKey{r.Probe, r.Kind, r.Target}
	p := a.probes[key]
	if p == nil {
		if len(a.probes) >= maxProbes {
			return
		}
		p = &probe{}
		a.probes[key] = p
	}
	if p.last == nil || !r.End().Before(p.last.End()) {
		p.last = r
	}
	p.minutes.add(r)
	p.history.add(r)
}

func (a *agent) radioLocked(r *probes.Result) {
	if r.Radio == nil {
		return
	}
	for _, s := range []*probes.RadioSample{r.Radio.Before, r.Radio.After} {
		if s != nil && (a.radio == nil || !s.Time.Before(a.radio.Time)) {
			a.radio = s
		}
	}
}

// maxEvents is how many events of an agent are kept.
const maxEvents = 20

func (a *agent) eventsLocked(events []probes.Event) {
	if len(events) == 0 {
		return
	}
	a.events = append(a.events, events...)
	slices.SortStableFunc(a.events, func(x, y probes.Event) int { return x.Time.Compare(y.Time) })
	a.events = slices.CompactFunc(a.events, func(x, y probes.Event) bool {
		// Two probes of one agent see the same handover at nearly the same time.
		return x.Type == y.Type && x.Detail == y.Detail && y.Time.Sub(x.Time) < time.Second
	})
	if len(a.events) > maxEvents {
		a.events = slices.Clone(a.events[len(a.events)-maxEvents:])
	}
}

// Sweep forgets agents that nothing was heard of for too long, and probes that they do not run any more.
func (g *Registry) Sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.agents, func(_ string, a *agent) bool {
		maps.DeleteFunc(a.probes, func(_ probeKey, p *probe) bool { return a.measured.Sub(p.last.End()) > 24*g.forget })
		return now.Sub(a.received) > g.forget
	})
}

// Seen is when an agent was last heard of.
type Seen struct {
	Agent string
	// Received is when its last Result arrived, Measured when the newest one was measured.
	Received, Measured time.Time
}

// LastSeen lists all agents by name.
func (g *Registry) LastSeen() []Seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Seen, 0, len(g.agents))
	for name, a := range g.agents {
		list = append(list, Seen{Agent: name, Received: a.received, Measured: a.measured})
	}
	slices.SortFunc(list, func(a, b Seen) int { return strings.Compare(a.Agent, b.Agent) })
	return list
}
