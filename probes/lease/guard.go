package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Gate is what a load test has to pass before it may begin.
type Gate struct {
	Env    probes.Env
	Target probes.Target
	// Plain says that the target's port is the plain TCP port, at which leases are granted, too.
	Plain bool
	Terms Terms
	// Ask says what the test is. Site and agent are filled in.
	Ask Ask
}

// Guarded is a load probe that measures only while it holds a lease. A lease that is lost ends the measurement, and what was
// measured until then is kept.
type Guarded struct {
	probe probes.Probe
	gate  Gate
}

// Guard puts a gate before a probe.
func Guard(p probes.Probe, g Gate) *Guarded { return &Guarded{probe: p, gate: g} }

// Measure implements probes.Probe.
func (g *Guarded) Measure(ctx context.Context, rec *probes.Recorder) error {
	return g.gate.Measure(ctx, rec, func(held context.Context) error { return g.probe.Measure(held, rec) })
}

// Measure calls measure while there is a lease, or where none is offered. It notes which, as "lease", and where the test
// stands in the queue while it waits.
func (g *Gate) Measure(ctx context.Context, rec *probes.Recorder, measure func(ctx context.Context) error) error {
	held, leave, err := g.Enter(ctx, func(state string) { rec.Note("lease", state) })
	if err != nil {
		return err
	}
	defer leave()
	of(held).note(rec)
	err = measure(held)
	if lost := of(held).lost(); err != nil && lost != nil && errors.Is(context.Cause(held), lost) {
		return lost // whatever it led to
	}
	return err
}

// Enter has the probe's lease before it measures, for those who must not wait for one within Measure. Measure then takes it
// from the context. See Gate.Enter.
func (g *Guarded) Enter(ctx context.Context, told func(state string)) (held context.Context, leave func(), err error) {
	return g.gate.Enter(ctx, told)
}

// Enter blocks until there is a lease or it is known that the far end grants none. It returns a context that carries the
// lease, and ends when that is lost, with the reason as its cause. Whoever has entered with a context enters with it again, to
// the same host, without asking. told is called with each change while the test waits. The caller calls leave when the
// load has ended.
func (g *Gate) Enter(ctx context.Context, told func(state string)) (held context.Context, leave func(), err error) {
	if h := of(ctx); h != nil && h.host == g.Target.Host {
		return ctx, func() {}, nil
	}
	h := &holding{host: g.Target.Host}
	request, err := g.request(ctx, told)
	if err == nil {
		h.lease, err = request.Acquire(ctx)
	}
	switch {
	case ctx.Err() != nil:
		if err == nil {
			h.lease.Release() // it was granted as ctx ended
		}
		return nil, nil, context.Cause(ctx)
	case err == nil:
		return h.enter(ctx)
	case errors.Is(err, ErrNone) || !g.Plain && isUnreached(err):
		g.Env.Log.Debug("measuring without a lease", "target", g.Target.Text, "reason", err)
		return h.enter(ctx)
	}
	return nil, nil, err
}

// request says what to ask whom.
func (g *Gate) request(ctx context.Context, told func(string)) (*Request, error) {
	addresses, err := g.Env.Net.Resolve(ctx, g.Target.Host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", g.Target.Host, err)
	}
	port := g.Terms.LeasePort
	switch {
	case port != 0:
	case g.Plain:
		port = g.Target.Port
	default:
		port = farend.StreamPort
	}
	r := &Request{Net: g.Env.Net, Address: netip.AddrPortFrom(addresses[0], port).String(), Ask: g.Ask, Wait: g.Terms.LeaseWait}
	r.Ask.Site, r.Ask.Agent = g.Env.Site, g.Env.Agent
	level := slog.LevelInfo
	r.Told = func(position int) {
		g.Env.Log.Log(ctx, level, "waiting for a lease: other load tests are running", "target", g.Target.Text, "position", position)
		level = slog.LevelDebug // that it waits is news once
		told(fmt.Sprintf("waiting: position %d", position))
	}
	return r, nil
}

// holding is what a context carries.
type holding struct {
	host  string
	lease *Lease // nil where none is offered
}

type key struct{}

func of(ctx context.Context) *holding {
	h, _ := ctx.Value(key{}).(*holding)
	return h
}

func (h *holding) enter(ctx context.Context) (held context.Context, leave func(), err error) {
	held, end := context.WithCancelCause(context.WithValue(ctx, key{}, h))
	if h.lease == nil {
		return held, func() { end(nil) }, nil
	}
	stop := context.AfterFunc(h.lease.Lost(), func() { end(context.Cause(h.lease.Lost())) })
	return held, func() {
		stop()
		h.lease.Release()
		end(nil)
	}, nil
}

// lost is why the lease was lost; nil while it is not.
func (h *holding) lost() error {
	if h.lease == nil {
		return nil
	}
	return context.Cause(h.lease.Lost())
}

// note says what there was.
func (h *holding) note(rec *probes.Recorder) {
	if h.lease == nil {
		rec.Note("lease", "none offered")
		return
	}
	rec.Note("lease", "granted")
	if h.lease.Waited > 0 {
		rec.Note("lease_waited", h.lease.Waited.Round(time.Millisecond).String())
	}
}

// ID is the lease that a context carries, for the sessions of load to name; "" when it carries none.
func ID(ctx context.Context) string {
	if h := of(ctx); h != nil && h.lease != nil {
		return h.lease.ID
	}
	return ""
}
