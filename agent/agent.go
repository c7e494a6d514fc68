// Package agent is what runs on the device: it measures on schedule, keeps what was measured until a server has taken it,
// and shows it on a page of its own meanwhile.
//
//	schedule, lanes ─> runner ─> Result ─> outbox ─> uplink ─> server
//	                               └─> /metrics
//
// It stops in the direction of that flow: the probes end first, then everything they measured goes into the outbox, then
// the uplink has a grace time to empty it.
package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/agent/flight"
	"github.com/nrprobe/nrprobe/agent/outbox"
	"github.com/nrprobe/nrprobe/agent/plan"
	"github.com/nrprobe/nrprobe/agent/radio"
	"github.com/nrprobe/nrprobe/agent/schedule"
	"github.com/nrprobe/nrprobe/agent/uplink"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/series"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// Grace is how long the uplink may go on delivering after the last probe has ended. An init system kills what takes much
// longer to stop; what is not delivered by then stays in the outbox on disk.
const Grace = 10 * time.Second

// resultBuffer is how many results may wait for the outbox before probes do: a slow disk shall not delay a packet.
const resultBuffer = 1024

// Way is how packets leave the host, and who is asked for names.
type Way struct {
	Interface      string   // "" is the default route
	Family         string   // "any", "4" or "6"
	DNS            []string // name servers, asked through the interface; without any, the system resolves names its own way
	SourceFallback bool     // bind to the interface's address where the kernel refuses the interface itself
}

// Deps are what an agent needs of the outside.
type Deps struct {
	// Kinds are the kinds of probes that the configuration may name.
	Kinds catalog.Catalog[probes.Kind]
	// Network makes a network whose packets take that way. The uplink uses one too.
	Network func(Way) (probes.Network, error)
	// Known remembers certificates of far ends at first use, where a probe names neither pin nor authority. With nil, the
	// host's authorities decide.
	Known *trust.KnownHosts
	// Radio reads the modem, at once, from what is known already; nil when there is none.
	Radio func() *probes.RadioSample
	// OnResult is told each result after it was kept, one at a time; it must return soon. nil when nobody looks on.
	OnResult func(*probes.Result)
	// Log is told what happens beside the measuring. nil is silent.
	Log *slog.Logger
	// Version is shown on /metrics and named to servers.
	Version string
	// Boot names this start of the agent in the id of each result; drawn at random when empty.
	Boot string
}

// Agent measures, keeps and delivers. Make it with New, then call Run or Once, once.
type Agent struct {
	deps   Deps
	log    *slog.Logger
	runner *probes.Runner
	lanes  *schedule.Lanes
	clock  *clock
	plan   *plan.Plan
	flight *flight.Recorder // nil when none is wanted
	series *series.Set
	health *health
	ready  chan struct{}

	results chan *probes.Result // from the probes to the outbox
	config  atomic.Pointer[Config]
	changes changes

	mu      sync.Mutex
	outbox  *outbox.Outbox            // nil without an uplink, and before a session
	uplink  *uplink.Uplink            // the present one; nil without
	address string                    // of /metrics, once bound
	latest  map[string]*probes.Result // by probe, for the page
}

// New makes an agent. It checks that everything in the configuration can be built; of what that names it reads only the files with
// secrets and authorities.
func New(c *Config, d Deps) (*Agent, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		deps: d, log: d.Log, lanes: &schedule.Lanes{}, clock: newClock(),
		series: series.NewSet(series.Options{ClassicBuckets: c.Metrics.Classic}),
		ready:  make(chan struct{}), results: make(chan *probes.Result, resultBuffer), latest: map[string]*probes.Result{},
	}
	a.runner = &probes.Runner{Agent: c.Agent.Name, Boot: cmp.Or(d.Boot, newBoot()), Radio: radio.Func(d.Radio).Sample}
	a.config.Store(c)
	a.plan = a.newPlan(c)
	a.health = newHealth(a)
	jobs, err := a.build(c)
	if err != nil {
		return nil, err
	}
	a.changes = newChanges(jobs)
	if _, err := a.newUplink(c, nil); err != nil {
		return nil, err
	}
	return a, nil
}

// newBoot names a start of the agent.
func newBoot() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Run measures until ctx ends, then delivers what it can within Grace. The error is nil when ctx ended it.
//
// Liveness: returns when ctx ends, at the latest after the probes have ended and Grace has passed.
func (a *Agent) Run(ctx context.Context) error {
	page, err := a.listen(ctx)
	if err != nil {
		return err
	}
	close(a.ready)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var pages sync.WaitGroup
	pages.Go(func() { cancel(page.serve()) })
	c := a.config.Load()
	a.log.Info("measuring", "agent", c.Agent.Name, "probes", len(c.Probes), "metrics", a.MetricsAddr(), "uplink", c.Uplink.URL)
	err = a.session(ctx, a.measure)
	page.close()
	pages.Wait()
	if left, ok := errors.AsType[*LeftBehind](err); ok {
		a.log.Warn("stopped before everything was delivered", "error", left)
		err = nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errPage) {
		err = errors.Join(err, cause)
	}
	return err
}

// Once runs every probe once, as the lanes allow, delivers the results and returns. A continuous probe measures one
// window. The error is a LeftBehind when results could not be delivered within Grace, and ctx's when that ended early.
//
// Liveness: returns when all runs have ended and, after that, at the latest when Grace has passed.
func (a *Agent) Once(ctx context.Context) error {
	err := a.session(ctx, a.measureOnce)
	return errors.Join(err, ctx.Err())
}

// LeftBehind says that an agent stopped before everything was delivered.
type LeftBehind struct {
	// Kept says whether the rest waits on disk for the next start.
	Kept bool
	Err  error
}

// Error implements error.
func (l *LeftBehind) Error() string {
	if l.Kept {
		return l.Err.Error() + " (they stay in the outbox)"
	}
	return l.Err.Error() + " (they were only in memory and are lost)"
}

// Unwrap gives errors.Is and errors.As what is inside.
func (l *LeftBehind) Unwrap() error { return l.Err }

// session opens the outbox and the data plan, lets produce measure until it returns, and delivers the rest.
func (a *Agent) session(ctx context.Context, produce func(context.Context)) error {
	a.plan.Load()
	counting, counted := context.WithCancel(context.WithoutCancel(ctx))
	var counter sync.WaitGroup
	counter.Go(func() { _ = a.plan.Run(counting) }) // its failures are in the log
	defer counter.Wait()
	defer counted()
	a.startFlight()
	defer a.flight.Close()
	box := a.openOutbox()
	hard, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	producing, produced := context.WithCancel(context.Background())
	defer produced()
	if err := a.startLink(hard, producing); err != nil {
		return errors.Join(err, closeOutbox(box))
	}
	var keeper sync.WaitGroup
	keeper.Go(a.keep)
	produce(ctx)
	close(a.results)
	keeper.Wait()
	produced()
	grace := time.AfterFunc(Grace, func() { giveUp(fmt.Errorf("the grace time of %v is over", Grace)) })
	defer grace.Stop()
	err := a.stopLink()
	if err != nil {
		err = &LeftBehind{Kept: box.Stats().OnDisk, Err: err}
	}
	return errors.Join(err, closeOutbox(box))
}

// startFlight begins to record where that is wanted. The agent measures without it, too.
func (a *Agent) startFlight() {
	dir := a.config.Load().Flight
	if dir == "" {
		return
	}
	recorder, err := flight.Start(flight.Config{Dir: dir}, a.log)
	if err != nil {
		a.log.Warn("measuring without a flight recorder", "error", err.Error())
		return
	}
	a.flight = recorder
}

// openOutbox opens the outbox where there is an uplink to empty it; otherwise results are on /metrics only.
func (a *Agent) openOutbox() *outbox.Outbox {
	c := a.config.Load()
	if c.Uplink.URL == "" {
		return nil
	}
	box := outbox.Open(c.Outbox, a.log)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outbox = box
	return box
}

// box is the outbox, or nil.
func (a *Agent) box() *outbox.Outbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outbox
}

func closeOutbox(box *outbox.Outbox) error {
	if box == nil {
		return nil
	}
	return box.Close()
}

// keep puts results into the outbox as they come, until the last probe has ended.
//
// Liveness: returns when a.results is closed and empty.
func (a *Agent) keep() {
	waiting := undated{clock: a.clock}
	seq := uint64(0)
	for r := range a.results {
		// Numbered in the order in which they are kept, and only what is not left out: so a gap is a loss.
		seq++
		r.ID.Seq = seq
		a.series.Add(r)
		a.mu.Lock()
		a.latest[r.Probe] = r
		a.mu.Unlock()
		for _, dated := range waiting.pass(r) {
			a.put(dated)
		}
		a.flight.Look(r)
		if a.deps.OnResult != nil {
			a.deps.OnResult(r)
		}
	}
	for _, r := range waiting.flush() {
		a.put(r)
	}
}

func (a *Agent) put(r *probes.Result) {
	box := a.box()
	if box == nil {
		return
	}
	if err := box.Put(r); err != nil {
		a.log.Error("a result is lost", "probe", r.Probe, "seq", r.ID.Seq, "error", err)
	}
}

// Ready is closed once Run has bound its address: from then on MetricsAddr knows it.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// MetricsAddr is the address that /metrics and the agent's page are served on; "" while they are not. It is safe for
// concurrent use.
func (a *Agent) MetricsAddr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.address
}
