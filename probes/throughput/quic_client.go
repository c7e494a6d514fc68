package throughput

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/load"
)

// quicProbe is the client of QUIC sessions.
type quicProbe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// quicRun is one run of a quicProbe.
type quicRun struct {
	env    probes.Env
	target probes.Target
	*measurement
	protocol string // the ALPN protocol in use
	links    []*quicLink
	wait     sync.WaitGroup
	drainers sync.WaitGroup  // waits for wait, so that waiting can be given up
	stopping context.Context // ends when the streams are to be dropped rather than finished

	mu     sync.Mutex
	merge  *merge
	states []load.State // what the far end says of each connection
}

// quicLink is one connection.
type quicLink struct {
	packets   net.PacketConn
	transport *quic.Transport
	conn      *quic.Conn
	control   *controlClient // nil under "perf"
}

// Measure implements probes.Probe.
// Liveness: it waits for the readers of the control streams and for every stream; all of them end with their connection
// at the latest, which is closed before they are waited for.
func (p *quicProbe) Measure(ctx context.Context, rec *probes.Recorder) error {
	flowing, stopFlows := context.WithCancelCause(ctx)
	controlled, stopControl := context.WithCancel(ctx)
	r := &quicRun{env: p.env, target: p.target, measurement: newMeasurement(p.config, rec, stopFlows), stopping: controlled}
	r.merge, r.states = newMerge(p.config.Connections), make([]load.State, p.config.Connections)
	defer r.close()
	defer stopControl()
	defer stopFlows(errEnded)
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.begin(flowing, controlled); err != nil {
		return err
	}
	r.around.Begin()
	r.flow(flowing)
	why, err := r.watch(flowing)
	r.judge()
	stopFlows(errEnded)
	if err == nil {
		err = r.finish(ctx)
	}
	stopControl()
	r.hangUp()
	r.wait.Wait()
	r.publish(why)
	return err
}

// connect opens all connections: the first finds out which protocol the far end speaks.
func (r *quicRun) connect(ctx context.Context) error {
	target, err := resolve(ctx, r.env, r.target)
	if err != nil {
		return err
	}
	r.address, r.protocol = target.Address(), ALPNLoad
	if err := r.quiet(ctx, r.env); err != nil {
		return err
	}
	err = r.link(ctx)
	if noSuchProtocol(err) {
		r.protocol = farend.ALPNPerf
		err = r.link(ctx)
	}
	if err != nil {
		return err
	}
	for range r.config.Connections - 1 {
		if err := r.link(ctx); err != nil {
			return err
		}
	}
	state := r.links[0].conn.ConnectionState()
	r.rec.Note("alpn", r.protocol)
	r.rec.Note("quic_version", state.Version.String())
	r.rec.Note("gso", strconv.FormatBool(state.GSO))
	r.rec.Note("congestion_control", "newreno")
	if receive, send, ok := load.BufferSizes(r.links[0].packets); ok {
		r.rec.Note("udp_receive_buffer_bytes", strconv.Itoa(receive))
		r.rec.Note("udp_send_buffer_bytes", strconv.Itoa(send))
	}
	return nil
}

// link opens one more connection, on a socket of its own, so that the kernel spreads their packets over processors.
func (r *quicRun) link(ctx context.Context) error {
	address, err := netip.ParseAddrPort(r.address)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", r.address, err)
	}
	network := "udp4"
	if address.Addr().Is6() && !address.Addr().Is4In6() {
		network = "udp6"
	}
	if err := r.routable(ctx, network); err != nil {
		return err
	}
	l := &quicLink{}
	if l.packets, err = r.env.Net.ListenPacket(ctx, network, ""); err != nil {
		return fmt.Errorf("opening a socket for QUIC: %w", err)
	}
	l.transport = &quic.Transport{Conn: load.Gather(l.packets)}
	begun := time.Now()
	l.conn, err = l.transport.Dial(ctx, net.UDPAddrFromAddrPort(address), withProtocol(r.env, r.target, r.protocol), QUICConfig())
	if err != nil {
		l.close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("connecting to %s over QUIC: %w", r.address, err)
	}
	r.rec.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(begun))
	r.links = append(r.links, l)
	return nil
}

// routable says why the far end cannot be reached at all, which quic-go's own error keeps from Classify. Connecting a UDP
// socket sends nothing.
func (r *quicRun) routable(ctx context.Context, network string) error {
	c, err := r.env.Net.Dial(ctx, network, r.address)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", r.address, err)
	}
	return c.Close()
}

// begin asks for a session on each connection and waits until all have begun. Under "perf" there is nothing to ask.
func (r *quicRun) begin(ctx, controlled context.Context) error {
	if r.protocol == farend.ALPNPerf {
		r.start = time.Now()
		if r.meter(probes.Up) != nil {
			r.rec.Note("counted_by", "sender")
		}
		return nil
	}
	opening, opened := errgroup.WithContext(ctx)
	for i, l := range r.links {
		opening.Go(func() error { return r.open(opened, controlled, i, l) })
	}
	if err := opening.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	r.start = time.Now()
	return nil
}

// open begins the session of one connection.
func (r *quicRun) open(ctx, controlled context.Context, i int, l *quicLink) error {
	st, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return fmt.Errorf("opening the control stream to %s: %w", r.address, err)
	}
	l.control = newControlClient(r.address, r.fail)
	l.control.conn = st
	l.control.report = func(clock time.Duration, p *report) { r.report(i, clock, p) }
	if _, err := l.control.open(ctx, r.config.request(r.share(i))); err != nil {
		return err
	}
	r.wait.Go(func() { l.control.read(controlled) })
	return l.control.waitStart(ctx)
}

// share is how many bytes the i-th connection may carry in each direction; 0 is no limit.
func (r *quicRun) share(i int) int64 {
	return part(r.config.target(), i, r.config.Connections)
}

// part is the i-th of n parts of a whole that differ by one at most.
func part(whole int64, i, n int) int64 {
	p := whole / int64(n)
	if int64(i) < whole%int64(n) {
		p++
	}
	return p
}

// report takes in what the far end counted on one connection. A count that goes back is not believed. A loose one, but for the
// last, is left out: the next one has its bytes, and counts between two reports are reckoned from both.
func (r *quicRun) report(i int, clock time.Duration, p *report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if up := r.meter(probes.Up); up != nil && (!p.Loose || p.Final) {
		known := r.merge.last(i)
		received := max(known, p.Received)
		up.counter.Add(received - known)
		for _, s := range r.merge.add(i, clock, sample{at: clock + p.Elapsed, bytes: received}) {
			up.add(s)
		}
	}
	if down := r.meter(probes.Down); down != nil && p.Sender != nil {
		r.states[i] = *p.Sender
		var sum load.State
		for _, s := range r.states {
			if s.Sockets > 0 {
				sum.Add(s)
			}
		}
		down.addSender(sum)
	}
}

// hangUp closes all connections.
func (r *quicRun) hangUp() {
	for _, l := range r.links {
		_ = l.conn.CloseWithError(0, "") // the error tells of a connection that is closed already
	}
}

func (r *quicRun) close() {
	r.hangUp()
	r.wait.Wait()
	r.drainers.Wait()
	for _, l := range r.links {
		l.close()
	}
}

// close frees the sockets. Errors of closing would tell nothing new.
func (l *quicLink) close() {
	_ = errors.Join(l.transport.Close(), l.packets.Close())
}
