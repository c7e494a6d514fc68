package stamp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// sender is the probe of this kind.
type sender struct {
	config Config
	env    probes.Env
	target probes.Target
	secret []byte
	clock  clockState // nil to ask the host where its kernel keeps the time of the socket

	readers load.Readers // of what an emulated host says; that of a socket of the kernel is asked itself
}

// Measure implements probes.Probe.
func (p *sender) Measure(ctx context.Context, rec *probes.Recorder) error {
	if p.config.PathMTU {
		if err := p.searchMTU(ctx, rec); err != nil {
			return err
		}
	}
	m, err := p.measurement(rec)
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	m.state = p.clock
	m.watch.Readers = p.readers
	if _, host := conn.(*net.UDPConn); host {
		if m.state == nil {
			m.state = hostClock
		}
		m.watch.Readers = load.HostReaders()
	}
	if m.capture, err = openCapture(&p.config); err != nil {
		return errors.Join(err, conn.Close())
	}
	if m.capture != nil {
		m.ledger.departed = func(seq uint32, at time.Duration) { m.capture.departed(seq, m.clock.epoch()+int64(at)) }
	}
	if err := m.connect(conn); err != nil {
		return errors.Join(err, m.capture.close())
	}
	if m.clerk.trace, err = openTrace(p.config.Trace); err != nil {
		return errors.Join(err, m.line.current().close(), m.capture.close())
	}
	m.watch.look(0)
	m.clock.begin() // the schedule starts here: a name that is slow to resolve shall cost no slots
	m.waiter = newWaiter(conn, m.clock, p.config.Interval, p.env.Log)
	err = m.run(ctx)
	closing := errors.Join(m.line.current().close(), m.waiter.close(), m.clerk.trace.close(), m.capture.close())
	if err == nil && p.config.Window == 0 && m.clerk.received == 0 {
		err = m.trouble.explain(m.clerk.sent)
	}
	if err == nil {
		err = closing
	}
	return err
}

// dial opens a socket towards the reflector. It sends nothing but questions for its name.
func (p *sender) dial(ctx context.Context) (net.Conn, error) {
	addr, err := p.resolve(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := p.env.Net.Dial(ctx, "udp", netip.AddrPortFrom(addr, p.target.Port).String())
	if err != nil {
		return nil, fmt.Errorf("opening a UDP socket towards %s: %w", p.target.Text, err)
	}
	if err := setMarking(conn, p.config.tos()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (p *sender) resolve(ctx context.Context) (netip.Addr, error) {
	addrs, err := p.env.Net.Resolve(ctx, p.target.Host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolving %s: %w", p.target.Host, err)
	}
	if len(addrs) == 0 {
		return netip.Addr{}, probes.Fail(probes.Unreachable, "%s has no address of the wanted family", p.target.Host)
	}
	return addrs[0], nil
}

// measurement prepares one run.
func (p *sender) measurement(rec *probes.Recorder) (*measurement, error) {
	// The environment's randomness may be drawn from by one goroutine only, and the schedule is drawn in another.
	random := rand.New(rand.NewPCG(p.env.Rand.Uint64(), p.env.Rand.Uint64()))
	sending, err := newSigner(p.secret)
	if err != nil {
		return nil, err
	}
	receiving, err := newSigner(p.secret)
	if err != nil {
		return nil, err
	}
	ssid := uint16(0)
	if p.config.TLVs {
		ssid = uint16(1 + random.IntN(1<<16-1))
	}
	clock := newSessionClock()
	m := &measurement{
		config: &p.config, clock: clock, dial: p.dial, log: p.env.Log, rec: rec, random: random,
		template: newTemplate(&p.config, sending, ssid, random), sign: receiving,
		ledger:  &ledger{timeout: p.config.Wait, tolerance: p.config.tolerance()},
		trouble: &trouble{target: p.target, config: &p.config, keyed: len(p.secret) > 0},
		wake:    make(chan struct{}, 1),
	}
	m.shape(sending, ssid)
	m.clerk = &clerk{
		rec: rec, config: &p.config, pattern: p.config.pattern(), clock: clock, template: m.template, trouble: m.trouble,
		thread: func() string { return m.waiter.thread() }, interruptions: interruptions{least: p.config.gap()},
	}
	return m, nil
}
