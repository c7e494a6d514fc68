package netsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Path is a link in both directions. Several relays may share one: their traffic then meets in the same queues, as that of
// all applications of a device does.
type Path struct {
	// Up carries what the clients of a relay send, Down what its target sends.
	Up, Down *Link
}

// NewPath makes a path whose time begins at start.
func NewPath(seed uint64, start time.Time, up, down Profile) *Path {
	return &Path{Up: NewLink(mix(seed), start, up), Down: NewLink(mix(seed+1), start, down)}
}

// RelayConfig says what a relay forwards. Path and Target are required.
type RelayConfig struct {
	// Path shapes both directions.
	Path *Path
	// Target is the host:port that clients are forwarded to.
	Target string
	// Listen is where clients come in; "127.0.0.1:0" when empty.
	Listen string
	// Idle is how long a UDP client may be silent before it is forgotten; a minute when 0.
	Idle time.Duration
	// Log gets what goes wrong with a client; nil for nowhere.
	Log *slog.Logger
}

// Relay forwards the traffic of real sockets through a Path, in real time, without privileges.
type Relay struct {
	addr  net.Addr
	close func() error
	serve func(ctx context.Context) error
}

// Addr is where the relay listens, as host:port.
func (r *Relay) Addr() string { return r.addr.String() }

// Run forwards until ctx ends, which is no error. It may be called once; the relay is closed afterwards.
// Liveness: it returns when the goroutines of all clients have ended, and they end when their sockets close.
func (r *Relay) Run(ctx context.Context) error {
	err := r.serve(ctx)
	_ = r.close() // closed already where ctx ended it
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c RelayConfig) withDefaults() (RelayConfig, error) {
	if c.Path == nil || c.Target == "" {
		return c, errors.New("relay: a path and a target are required")
	}
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:0")
	c.Idle = cmp.Or(c.Idle, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// relayScheduler is a scheduler that wakes as precisely as the system can.
func relayScheduler() *scheduler {
	s := newScheduler()
	s.wait = waitPrecise
	return s
}

// coarse is how long before a moment the timer hands over to a nap. Go's timers are up to a millisecond late in a process
// that has nothing else to do.
const coarse = 1200 * time.Microsecond

// waitPrecise is waitTimer for real time.
func waitPrecise(s *scheduler, until time.Time) {
	if until.IsZero() {
		waitTimer(s, until)
		return
	}
	if left := time.Until(until); left > coarse {
		waitTimer(s, until.Add(-coarse))
	} else {
		nap(left)
	}
}

// RelayUDP opens a relay for datagrams. Every client has a socket of its own towards the target, so that the target can
// tell them apart; it is kept until the client has been idle. Delays are absolute deadlines, kept by one goroutine a
// direction.
func RelayUDP(ctx context.Context, config RelayConfig) (*Relay, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening relay: %w", err)
	}
	u := &udpRelay{config: c, clients: pc.(*net.UDPConn), flows: map[string]*flow{}, up: relayScheduler(), down: relayScheduler()}
	return &Relay{addr: pc.LocalAddr(), close: pc.Close, serve: u.run}, nil
}

const (
	// maxFlows bounds the clients of one UDP relay, each of which costs a socket.
	maxFlows = 1024
	// relayBuffer is the receive buffer asked of the kernel, so that losses come from the link: 4 MiB hold 30 ms of a
	// gigabit.
	relayBuffer = 4 << 20
)

// udpRelay forwards datagrams.
type udpRelay struct {
	config   RelayConfig
	clients  *net.UDPConn
	up, down *scheduler
	serving  sync.WaitGroup

	mu    sync.Mutex
	flows map[string]*flow
}

// flow is one client of a UDP relay.
type flow struct {
	client net.Addr
	target net.Conn

	mu   sync.Mutex
	used time.Time
}

func (f *flow) touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = time.Now()
}

func (f *flow) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.used)
}

func (u *udpRelay) run(ctx context.Context) error {
	_ = u.clients.SetReadBuffer(relayBuffer) // as much as the kernel grants
	stop := context.AfterFunc(ctx, func() { _ = u.clients.Close() })
	defer stop()
	u.serving.Go(u.up.run)
	u.serving.Go(u.down.run)
	err := u.receive(ctx)
	u.up.close()
	u.down.close()
	u.mu.Lock()
	for _, f := range u.flows {
		_ = f.target.Close()
	}
	u.mu.Unlock()
	u.serving.Wait()
	return err
}

// receive reads from all clients until the socket closes.
func (u *udpRelay) receive(ctx context.Context) error {
	b := make([]byte, 65536)
	for {
		n, from, err := u.clients.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("reading from clients of the relay: %w", err)
		}
		now := time.Now()
		f, err := u.flowOf(ctx, from)
		if err != nil {
			u.config.Log.Warn("relay forwards nothing for this client", "client", from.String(), "error", err)
			continue
		}
		f.touch()
		forward(u.config.Path.Up, u.up, now, b[:n], func(p []byte) { _, _ = f.target.Write(p) }) // a target that is not there loses it
	}
}

// forward has a copy of the datagram sent at each moment at which the link lets one out.
func forward(link *Link, sched *scheduler, now time.Time, b []byte, send func([]byte)) {
	times := link.Datagram(now, len(b))
	if len(times) == 0 {
		return
	}
	payload := append([]byte(nil), b...)
	for _, t := range times {
		sched.at(t, func() { send(payload) })
	}
}

func (u *udpRelay) flowOf(ctx context.Context, from net.Addr) (*flow, error) {
	key := from.String()
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.flows[key]; f != nil {
		return f, nil
	}
	if len(u.flows) >= maxFlows {
		return nil, fmt.Errorf("the relay has %d clients already", maxFlows)
	}
	var d net.Dialer
	target, err := d.DialContext(ctx, "udp", u.config.Target)
	if err != nil {
		return nil, err
	}
	if c, ok := target.(*net.UDPConn); ok {
		_ = c.SetReadBuffer(relayBuffer) // as much as the kernel grants
	}
	f := &flow{client: from, target: target, used: time.Now()}
	u.flows[key] = f
	u.serving.Go(func() { u.answer(key, f) })
	return f, nil
}

// answer reads what the target sends to one client, until the client has been idle or the relay ends.
func (u *udpRelay) answer(key string, f *flow) {
	defer func() {
		u.mu.Lock()
		delete(u.flows, key)
		u.mu.Unlock()
		_ = f.target.Close()
	}()
	b := make([]byte, 65536)
	for {
		_ = f.target.SetReadDeadline(time.Now().Add(u.config.Idle))
		n, err := f.target.Read(b)
		now := time.Now()
		if err != nil {
			if f.idle() < u.config.Idle && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNREFUSED)) {
				continue // the target answered nothing, or was not there for an earlier datagram: it may be for the next
			}
			return
		}
		f.touch()
		forward(u.config.Path.Down, u.down, now, b[:n], func(p []byte) { _, _ = u.clients.WriteTo(p, f.client) })
	}
}
