package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/agent/schedule"
	"github.com/nrprobe/nrprobe/probes"
)

// job is one probe of the configuration, built.
type job struct {
	entry Probe
	kind  probes.Kind
	site  string // as its far end is told, for one that needs a lease
	pass  schedule.Pass
	lease leaser // nil for a probe that needs no lease
	run   probes.Job
}

// leaser is a probe that waits for a lease of its far end before it measures. The context it returns carries the lease and
// ends with it; leave gives it back.
type leaser interface {
	Enter(ctx context.Context, told func(state string)) (held context.Context, leave func(), err error)
}

// build makes every probe of a configuration. The error names all that cannot be built.
func (a *Agent) build(c *Config) ([]job, error) {
	var jobs []job
	var errs []error
	seen := map[string]bool{}
	for _, p := range c.Probes {
		j, err := a.buildOne(c.Agent, p)
		if err == nil && seen[p.Name] {
			err = errors.New("the name is taken by another probe: names are distinct")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("probe %q: %w", p.Name, err))
		}
		seen[p.Name] = true
		jobs = append(jobs, j)
	}
	return jobs, errors.Join(errs...)
}

func (a *Agent) buildOne(who Identity, p Probe) (job, error) {
	kind, err := a.deps.Kinds.Find(p.Kind)
	if err != nil {
		return job{}, err
	}
	if p.Every <= 0 && !p.continuous(kind) {
		return job{}, errors.New("every is not set: say how often it shall run")
	}
	network, err := a.deps.Network(Way{Interface: p.Interface, Family: p.IPFamily, DNS: p.DNS, SourceFallback: p.Source})
	if err != nil {
		return job{}, err
	}
	policy := p.trust(kind, a.deps.Known)
	target, err := probes.ParseTarget(p.Target, kind.Port)
	if err != nil {
		return job{}, err
	}
	if _, err := policy.Config(target); err != nil {
		return job{}, err
	}
	site := cmp.Or(p.Labels["site"], who.Labels["site"])
	measured, err := p.build(kind, probes.Env{
		Net: network, Log: a.log.With("probe", p.Name), TLS: policy.TLS,
		Rand:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Agent: who.Name, Site: site,
	})
	if err != nil {
		return job{}, err
	}
	lease, waits := measured.(leaser)
	if !waits {
		site = "" // it is told to nobody
	}
	return job{entry: p, kind: kind, site: site, pass: p.pass(kind), lease: lease, run: probes.Job{
		Kind: p.Kind, Name: p.Name, Target: target.Text, Timeout: p.timeout(kind), Probe: yielding{measured},
	}}, nil
}

// yielding ends a window that made room for a load test, or ended with the data plan, as a good one, only shorter.
type yielding struct{ probe probes.Probe }

// Measure implements probes.Probe.
func (y yielding) Measure(ctx context.Context, r *probes.Recorder) error {
	err := y.probe.Measure(ctx, r)
	if errors.Is(err, context.Canceled) && paused(ctx) {
		r.Flag(probes.Partial)
		return nil
	}
	return err
}

// task is a probe that is being run.
type task struct {
	entry  Probe
	site   string
	cancel context.CancelFunc
	done   chan struct{}
}

// measure runs all probes on schedule until ctx ends.
//
// Liveness: returns when ctx ends and every probe has returned.
func (a *Agent) measure(ctx context.Context) {
	a.changes.lock()
	a.changes.tasks, a.changes.ctx = map[string]*task{}, ctx
	for _, j := range a.changes.jobs {
		a.start(ctx, j)
	}
	a.changes.unlock()
	<-ctx.Done()
	a.changes.lock()
	tasks := a.changes.tasks
	a.changes.tasks = nil // a reload that comes now finds nothing to change
	a.changes.unlock()
	for _, t := range tasks {
		<-t.done
	}
}

// start starts the goroutine of a probe. It ends with the task, which measure or a reload waits for. The caller holds the
// lock of changes.
func (a *Agent) start(ctx context.Context, j job) {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{entry: j.entry, site: j.site, cancel: cancel, done: make(chan struct{})}
	a.changes.tasks[j.entry.Name] = t
	go func() {
		defer close(t.done)
		defer cancel()
		a.repeat(ctx, j)
	}()
}

// repeat runs one probe on its schedule until ctx ends.
func (a *Agent) repeat(ctx context.Context, j job) {
	name, every := j.entry.Name, j.entry.Every
	if j.pass.Yields {
		schedule.Forever(ctx, func(ctx context.Context) bool { return a.runOne(ctx, j) })
		return
	}
	starts := schedule.NewStarts(time.Now(), a.runner.Agent, name, every)
	schedule.Every(ctx, starts, func(ctx context.Context) { a.runOne(ctx, j) }, func(n int) {
		a.health.skipped(name, n)
		a.log.Debug("starts were skipped: the run before them, or the wait for its lane, took longer than every", "probe", name, "skipped", n)
	})
}

// runOne runs a probe once, when the data plan has room, its far end lets it and its lane is free. The lane is last: while a
// load test waits for others of its site, what else is measured on the interface goes on. True says that it only pauses:
// for a load test, or for the data plan.
func (a *Agent) runOne(ctx context.Context, j job) (again bool) {
	spending := a.admit(ctx, j)
	if spending == nil {
		return false
	}
	defer spending.settle()
	leased, giveBack, err := a.enter(ctx, j)
	if err != nil {
		spending.waited(err)
		a.fail(ctx, j, err)
		return false
	}
	defer giveBack()
	held, leave, err := a.lanes.Enter(leased, j.pass)
	if err != nil {
		a.fail(ctx, j, err) // the lease is lost, or the agent or the probe is being stopped
		return false
	}
	defer leave()
	held, stop := context.WithCancelCause(held)
	defer stop(nil)
	a.clock.look()
	spending.begin()
	a.runner.Run(held, j.run, func(r *probes.Result) {
		if err := spending.took(r); err != nil {
			stop(err)
		}
		a.emit(r, j.entry)
	})
	spending.end()
	return paused(held)
}

// enter waits for the lease of a probe that needs one.
func (a *Agent) enter(ctx context.Context, j job) (held context.Context, leave func(), err error) {
	if j.lease == nil {
		return ctx, func() {}, nil
	}
	return j.lease.Enter(ctx, func(string) {}) // the log is told as well
}

// fail yields the result of a run that did not start, unless that is because it was stopped.
func (a *Agent) fail(ctx context.Context, j job, why error) {
	if ctx.Err() != nil {
		return
	}
	failed := j.run
	failed.Probe = probes.ProbeFunc(func(context.Context, *probes.Recorder) error { return why })
	a.runner.Run(ctx, failed, func(r *probes.Result) { a.emit(r, j.entry) })
}

// emit hands a result on with what the agent knows of it.
func (a *Agent) emit(r *probes.Result, p Probe) {
	own := *r
	own.Labels = map[string]string{}
	maps.Copy(own.Labels, a.config.Load().Agent.Labels)
	maps.Copy(own.Labels, p.Labels)
	a.clock.stamp(&own)
	a.results <- &own
}

// onceLimit ends a continuous probe that yields no window by itself when the agent runs once.
const onceLimit = time.Minute

// measureOnce runs every probe once.
//
// Liveness: returns when every run has ended.
func (a *Agent) measureOnce(ctx context.Context) {
	var runs sync.WaitGroup
	for _, j := range a.changes.jobs {
		runs.Go(func() {
			if !j.pass.Yields {
				a.runOne(ctx, j)
				return
			}
			a.runWindow(ctx, j)
		})
	}
	runs.Wait()
}

// runWindow runs a continuous probe until its first window is complete, and leaves out what it begins after that. One that
// had to make room for a load test starts over behind it.
func (a *Agent) runWindow(ctx context.Context, j job) {
	spending, err := a.reserve(j)
	if err != nil {
		a.refuse(ctx, j, err)
		return
	}
	defer spending.settle()
	for again := true; again; {
		held, leave, err := a.lanes.Enter(ctx, j.pass)
		if err != nil {
			return
		}
		window, enough := context.WithTimeout(held, onceLimit)
		a.clock.look()
		complete := false
		a.runner.Run(window, j.run, func(r *probes.Result) {
			_ = spending.took(r) // there is no next window to be held back
			if complete || errors.Is(context.Cause(held), schedule.ErrYield) {
				return
			}
			complete = true
			a.emit(r, j.entry)
			enough()
		})
		again = !complete && errors.Is(context.Cause(held), schedule.ErrYield)
		enough()
		leave()
	}
}
