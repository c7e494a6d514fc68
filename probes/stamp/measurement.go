package stamp

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// measurement is one run of the probe: a one-shot run, or one that goes on window by window.
//
//	schedule ─▶ send ─▶ link ─▶ … ─▶ link ─▶ receive
//	              │                             │
//	              └───────▶  ledger  ◀──────────┘
//	                           │ windows whose packets are settled
//	                           ▼
//	                         clerk ─▶ recorder
type measurement struct {
	config *Config
	clock  *sessionClock
	line   line
	dial   func(ctx context.Context) (net.Conn, error)
	waiter waiter
	log    *slog.Logger
	rec    *probes.Recorder
	random *rand.Rand
	state  clockState
	watch  watch
	ledger *ledger
	clerk  *clerk

	capture *capture      // nil when none is wanted
	wake    chan struct{} // holds one: a window may be settled

	template *template   // the sending goroutine's
	shapes   []*template // likewise, of the flows of a pattern by their numbers

	sign   *signer // the receiving goroutine's, as is what follows
	source netip.AddrPort

	trouble *trouble
	fault   chan error // holds one: what makes going on pointless
}

// run measures until the end of the schedule, or until ctx ends.
//
// Liveness: three goroutines beside the caller's. The one that sends returns when the schedule or ctx ends, the one that
// keeps the line when ctx ends, at the latest dialLimit after; the one that receives when the line is stopped. run stops
// all and waits for them.
func (m *measurement) run(ctx context.Context) error {
	m.fault = make(chan error, 1)
	working, stop := context.WithCancel(ctx)
	defer stop()
	m.open(0)
	var workers sync.WaitGroup
	workers.Go(func() { m.guard(m.receive) })
	workers.Go(func() { m.guard(func() { m.send(working) }) })
	workers.Go(func() { m.guard(func() { m.keep(working) }) })
	err := m.account(ctx)
	stop()
	m.line.stop()
	workers.Wait()
	m.drain(err == nil)
	return err
}

// guard keeps a panic of a goroutine from ending the process: it becomes the outcome of this run.
func (m *measurement) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			m.fail(probes.Fail(probes.Error, "panic in probe: %v\n%s", p, debug.Stack()))
		}
	}()
	f()
}

// fail ends the run with an error. The first one counts.
func (m *measurement) fail(err error) {
	select {
	case m.fault <- err:
	default:
	}
}

// account hands windows on to the clerk as they settle. It returns when the last one did, or when ctx ends.
func (m *measurement) account(ctx context.Context) error {
	const progress = 250 * time.Millisecond // how often a display can show something new
	tick := time.NewTicker(progress)
	defer tick.Stop()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		now := m.clock.now()
		settled, at := m.ledger.settled(now)
		if settled {
			w, follower := m.ledger.takeOut(now)
			if w.final = m.config.Window == 0; w.final {
				w.disturbance = m.look()
			}
			if m.clerk.take(w, follower, forever, true) {
				return nil
			}
			m.ledger.attribute(w)
			continue
		}
		if at != forever {
			alarm.Reset(at - now)
		}
		select {
		case <-m.wake:
		case <-alarm.C:
		case <-tick.C:
			m.capture.flush(m.clock.epoch() + int64(now-captureHold))
			if m.config.Window == 0 {
				m.clerk.progress(m.ledger.progress())
			}
		case err := <-m.fault:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain gives the clerk what is left when the run was ended early. What is still on its way is neither received nor
// lost. After a complete run nothing counted is left.
func (m *measurement) drain(complete bool) {
	if complete {
		return
	}
	now := m.clock.now()
	m.ledger.stop(now)
	for {
		w, follower := m.ledger.takeOut(now)
		if w == nil {
			return
		}
		over := w.end <= now
		w.end = min(w.end, now)
		if w.final && w.disturbance == (disturbance{}) { // nobody has looked yet: no other was opened
			w.disturbance = m.look()
		}
		m.clerk.take(w, follower, now-m.config.Wait, over)
	}
}

// receive takes down replies until the line is stopped.
func (m *measurement) receive() {
	link := m.line.current()
	for failures := 0; ; {
		a, err := link.receive()
		switch {
		case err == nil:
			failures = 0
			m.take(a)
		case isTurnedAway(err):
			m.trouble.sawTurnedAway()
		case isStopped(err):
			next, ok := m.line.reader(link)
			if !ok {
				return
			}
			link = next
		default:
			if failures++; failures == maxReadErrors {
				m.fail(fmt.Errorf("receiving replies: %w", err))
				return
			}
		}
	}
}

// take takes down one reply.
func (m *measurement) take(a arrived) {
	packet := a.packet
	m.watch.received(len(packet))
	m.capture.received(m.clock.epoch()+int64(a.at), &a)
	var p reply
	if !p.parse(packet, m.sign.mode()) {
		m.ledger.stray()
		return
	}
	if m.sign != nil && !m.sign.checkBase(packet) {
		m.trouble.sawForged()
		m.ledger.stray()
		return
	}
	if p.ssid != m.template.ssid && p.ssid != 0 {
		m.ledger.stray()
		return
	}
	if p.ssid == 0 && m.template.ssid != 0 && m.config.Peer == peerStop {
		m.fail(probes.Fail(probes.Invalid, "the reflector returns no session identifier, so it lacks RFC 8972: set plain_peer to continue, or extensions to false"))
		return
	}
	var x extensions
	x.read(packet, m.sign)
	m.watchSource(x.source, a.at)
	e := echo{
		seq: p.senderSeq, farSeq: p.seq, received: a.at, seen: a.seen, kernel: a.kernel, t2: p.t2, t3: p.t3, format: p.err.format(),
		told: x.told, follows: x.follows, counts: x.counts, condition: x.condition,
	}
	m.clerk.meet(&p, &x, &a)
	m.line.silent.Store(0)
	if m.ledger.receive(&e) {
		m.signal()
	}
}

// signal tells the clerk that a window may be settled.
func (m *measurement) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// watchSource notices that a translator on the way gave the session another address or port.
func (m *measurement) watchSource(source netip.AddrPort, at time.Duration) {
	if !source.IsValid() || source == m.source {
		return
	}
	if m.source.IsValid() {
		m.rec.Event(probes.Event{Time: m.clock.time(at, m.clock.epoch()), Type: probes.Rebinding, Detail: fmt.Sprintf("%v to %v", m.source, source)})
	}
	m.source = source
}
