package schedule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// ErrYield is the cause with which the context of a yielding holder ends when a load probe wants its interface.
var ErrYield = errors.New("paused for a load test on the same interface")

// Pass is what somebody asks of the lanes.
type Pass struct {
	// Interface is the network interface that will carry the packets. "" is the default route, which may lead over any
	// interface, and so meets all of them.
	Interface string
	// Lane says beside what it may run: any number of Latency passes together, a Load pass alone.
	Lane probes.Lane
	// Yields marks a holder that goes on without end and makes room when it is asked to.
	Yields bool
}

// meets says whether two passes must not be held at the same time.
func (p Pass) meets(other Pass) bool {
	sameLink := p.Interface == other.Interface || p.Interface == "" || other.Interface == ""
	return sameLink && (p.Lane == probes.Load || other.Lane == probes.Load)
}

// Lanes keeps load probes and latency probes apart on each interface. Passes are granted in the order they were asked
// for; one that must wait is overtaken only by passes that it does not meet. So neither lane starves the other: whoever
// asks after a waiting load probe runs after it. The zero Lanes is ready. It is safe for concurrent use.
type Lanes struct {
	mu      sync.Mutex
	holders []*ticket
	waiters []*ticket // in order of arrival
	waits   [2]LaneStats
}

// LaneStats counts how often and how long passes of one lane had to wait before they were granted.
type LaneStats struct {
	Waits  uint64
	Waited time.Duration
}

// ticket is a pass that was asked for.
type ticket struct {
	Pass
	granted chan struct{}
	yield   context.CancelCauseFunc
}

// Enter blocks until the pass is granted or ctx ends; then the error is the cause of ctx's end. The context it returns is
// ctx, ended early with cause ErrYield when a yielding holder shall make room. The holder calls leave exactly once.
func (l *Lanes) Enter(ctx context.Context, p Pass) (held context.Context, leave func(), err error) {
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	held, yield := context.WithCancelCause(ctx)
	t := &ticket{Pass: p, granted: make(chan struct{}), yield: yield}
	began := time.Now()
	l.mu.Lock()
	l.waiters = append(l.waiters, t)
	l.grantLocked()
	l.mu.Unlock()
	leave = func() {
		yield(context.Canceled)
		l.remove(t)
	}
	select {
	case <-t.granted:
		return held, leave, nil
	default:
	}
	select {
	case <-t.granted:
		l.mu.Lock()
		l.waits[p.Lane].Waits++
		l.waits[p.Lane].Waited += time.Since(began)
		l.mu.Unlock()
		return held, leave, nil
	case <-ctx.Done():
		leave() // wherever it stands by now, granted or waiting
		return nil, nil, context.Cause(ctx)
	}
}

func (l *Lanes) remove(t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := func(other *ticket) bool { return other == t }
	l.holders = slices.DeleteFunc(l.holders, gone)
	l.waiters = slices.DeleteFunc(l.waiters, gone)
	l.grantLocked()
}

// grantLocked grants every pass that may go, and asks holders to yield where nothing else is in the way.
func (l *Lanes) grantLocked() {
	var still []*ticket
	for _, t := range l.waiters {
		if meetsAny(t, still) || !l.freeLocked(t) {
			still = append(still, t)
			continue
		}
		l.holders = append(l.holders, t)
		close(t.granted)
	}
	l.waiters = still
}

// freeLocked says whether no holder is in the way. Those that yield are asked to, but only when all in the way do: a
// continuous measurement is not interrupted while the load test would have to wait for somebody else anyway.
func (l *Lanes) freeLocked(t *ticket) bool {
	var yielding []*ticket
	for _, h := range l.holders {
		switch {
		case !t.meets(h.Pass):
		case !h.Yields:
			return false
		default:
			yielding = append(yielding, h)
		}
	}
	for _, h := range yielding {
		h.yield(ErrYield)
	}
	return len(yielding) == 0
}

func meetsAny(t *ticket, others []*ticket) bool {
	return slices.ContainsFunc(others, func(o *ticket) bool { return t.meets(o.Pass) })
}

// Stats returns the waits of a lane so far.
func (l *Lanes) Stats(lane probes.Lane) LaneStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits[lane]
}
