package stamp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/nrprobe/nrprobe/probes"
)

// sender is the probe of this kind.
type sender struct {
	config Config
	env    probes.Env
	target probes.Target
	secret []byte
	clock  clockState // nil to ask the host where its kernel keeps the time of the socket
}

// Measure implements probes.Probe.
func (p *sender) Measure(ctx context.Context, rec *probes.Recorder) error {
	m, err := p.measurement(rec)
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	m.waiter = newWaiter(conn, m.clock, p.env.Log)
	m.state = p.clock
	if _, host := conn.(*net.UDPConn); host && m.state == nil {
		m.state = hostClock
	}
	if err := m.connect(conn); err != nil {
		return err
	}
	if m.clerk.trace, err = openTrace(p.config.Trace); err != nil {
		return errors.Join(err, m.line.current().close(), m.waiter.close())
	}
	err = m.run(ctx)
	closing := errors.Join(m.line.current().close(), m.waiter.close(), m.clerk.trace.close())
	if err = p.explain(m, err); err == nil {
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
		ledger: &ledger{timeout: p.config.Wait, tolerance: p.config.tolerance()},
		wake:   make(chan struct{}, 1),
	}
	m.clerk = &clerk{
		rec: rec, config: &p.config, clock: clock, template: m.template,
		interruptions: interruptions{least: p.config.gap(), idle: p.config.Idle},
	}
	return m, nil
}

// explain turns a run in which nothing came back into a failure that says why.
func (p *sender) explain(m *measurement, err error) error {
	k := m.clerk
	switch {
	case err != nil || p.config.Window > 0 || k.received > 0:
		return err
	case k.sent == 0 && m.refusal != nil:
		return fmt.Errorf("the kernel refused every packet towards %s: %w", p.target.Text, m.refusal)
	case m.forged > 0:
		return probes.Fail(probes.Auth, "replies from %s do not fit the key: set the reflector's key", p.target.Text)
	case m.turnedAway.Load():
		return probes.Fail(probes.Refused, "%s turned packets away: no STAMP reflector on UDP port %s", p.target.Text, strconv.Itoa(int(p.target.Port)))
	case k.sent == 0:
		return probes.Fail(probes.Error, "no packet was sent in time: the host is too busy for an interval of %v", p.config.Interval)
	case len(p.secret) > 0:
		return probes.Fail(probes.Timeout, "no reply from %s to %d packets within %v: no STAMP reflector there, or its key is another", p.target.Text, k.sent, p.config.Wait)
	default:
		return probes.Fail(probes.Timeout, "no reply from %s to %d packets within %v: no STAMP reflector there, or UDP is blocked", p.target.Text, k.sent, p.config.Wait)
	}
}

// isTurnedAway says whether an error is news of an earlier packet for which nobody listens.
func isTurnedAway(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
