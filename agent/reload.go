package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/nrprobe/nrprobe/agent/uplink"
)

// changes is what a reload changes, and the turn to do so. Whoever holds the turn may wait for probes to end, so it is not
// a mutex that probes need too.
type changes struct {
	turn  chan struct{}
	jobs  []job            // of the configuration in force
	tasks map[string]*task // running probes by name; nil while none may run
	ctx   context.Context  // of the tasks
	link  *link            // nil without an uplink
}

func newChanges(jobs []job) changes {
	return changes{turn: make(chan struct{}, 1), jobs: jobs}
}

func (c *changes) lock()   { c.turn <- struct{}{} }
func (c *changes) unlock() { <-c.turn }

// errNotRunning is the answer to a reload before Run measures and after.
var errNotRunning = errors.New("the agent is not measuring now: start it anew")

// Reload puts another configuration in force while Run measures. Probes that did not change keep running; those that did,
// and the uplink when its section or a file it names may have, are stopped and started anew. What cannot change in a running agent, and what
// cannot be built, is an error, and then the old configuration stays in force as a whole. Reload waits for the probes that
// it stops. It is safe for concurrent use.
func (a *Agent) Reload(c *Config) error {
	err := a.reload(c)
	a.health.reloaded(err)
	if err != nil {
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	return nil
}

// ReloadFailed takes down that a configuration could not even be loaded, so that /metrics shows it.
func (a *Agent) ReloadFailed(err error) { a.health.reloaded(err) }

func (a *Agent) reload(c *Config) error {
	a.changes.lock()
	defer a.changes.unlock()
	old := a.config.Load()
	if err := fixed(old, c); err != nil {
		return err
	}
	jobs, err := a.build(c)
	if err != nil {
		return err
	}
	up, err := a.newUplink(c, a.box())
	switch {
	case err != nil:
		return err
	case a.changes.tasks == nil:
		return errNotRunning
	}
	a.stopChanged(jobs)
	a.config.Store(c)
	a.plan.SetLimits(c.Plan)
	a.changes.jobs = jobs
	for _, j := range jobs {
		if a.changes.tasks[j.entry.Name] == nil {
			a.start(a.changes.ctx, j)
		}
	}
	// A file that is named may hold something else by now: a token that was renewed.
	if old.Uplink != c.Uplink || c.Uplink.TokenFile != "" || c.Uplink.CA != "" {
		a.swapLink(up)
	}
	return nil
}

// fixed names a setting that differs and cannot change while the agent runs.
func fixed(old, c *Config) error {
	switch {
	case old.Agent.Name != c.Agent.Name:
		return fmt.Errorf("agent.name changed from %q to %q: restart the agent for that", old.Agent.Name, c.Agent.Name)
	case old.Outbox != c.Outbox:
		return errors.New("the section outbox changed: restart the agent for that")
	case old.Metrics != c.Metrics:
		return errors.New("the section metrics changed: restart the agent for that")
	case old.Flight != c.Flight:
		return errors.New("flight_recorder changed: restart the agent for that")
	case (old.Uplink.URL == "") != (c.Uplink.URL == ""):
		return errors.New("uplink.url was added or taken away: restart the agent for that")
	}
	return nil
}

// stopChanged ends the probes that are gone or differ, all at once, and waits for them.
func (a *Agent) stopChanged(jobs []job) {
	keep := map[string]job{}
	for _, j := range jobs {
		keep[j.entry.Name] = j
	}
	var stopped []*task
	for name, t := range a.changes.tasks {
		if j, ok := keep[name]; ok && j.site == t.site && reflect.DeepEqual(j.entry, t.entry) {
			continue
		}
		t.cancel()
		delete(a.changes.tasks, name)
		stopped = append(stopped, t)
	}
	for _, t := range stopped {
		<-t.done
	}
}

// swapLink ends the uplink and runs another one in its place. A batch under way is delivered again by the new one, which a
// store takes for the same.
func (a *Agent) swapLink(up *uplink.Uplink) {
	old := a.changes.link
	if old == nil {
		return
	}
	old.cancel()
	<-old.done
	a.changes.link = a.runLink(old.hard, old.producing, up)
}
