package stamp

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// path is a network between one sender and one reflector that does to each packet exactly what a test says. Under
// synctest its time is virtual. A rule is given the number of the packet on its way, counted from 0, and returns the
// delay of each copy that arrives; none means that the packet is lost.
type path struct {
	up, down rule
	nat      func(n int) uint16        // the sender's port as the reflector sees it; nil for 40000 always
	refuse   func(socket, n int) error // what the sender's kernel says to the n-th packet of a socket; nil for nothing
	moves    bool                      // each new socket of the sender has another address

	clock   clockState    // what the sender's host says of its clock
	slow    time.Duration // what resolving a name takes
	readers load.Readers  // what it says of the rest

	mu      sync.Mutex
	server  *end
	last    *end            // of the sender's sockets, the one that last sent
	origin  map[string]*end // which of them sent from an address, as the reflector sees it
	dialled int
}

type rule func(n int) []time.Duration

func constant(d time.Duration) rule { return func(int) []time.Duration { return []time.Duration{d} } }

// lose drops the packets with those numbers and passes the others to the rule.
func lose(r rule, numbers ...int) rule {
	return func(n int) []time.Duration {
		if slices.Contains(numbers, n) {
			return nil
		}
		return r(n)
	}
}

// datagram is a packet that arrives, with the address it seems to come from.
type datagram struct {
	payload []byte
	from    net.Addr
}

// end is one side's socket: a net.Conn for the sender, a net.PacketConn for the reflector.
type end struct {
	inbox  chan datagram
	write  func(p []byte, to net.Addr) (int, error)
	local  net.Addr
	remote net.Addr // nil for several

	mu       sync.Mutex
	deadline chan struct{}
}

var (
	senderIP    = netip.MustParseAddr("192.0.2.1")
	reflectorIP = netip.MustParseAddr("198.51.100.1")
)

func newPath(up, down rule) *path {
	p := &path{up: up, down: down, origin: map[string]*end{}}
	p.server = p.end(reflectorIP, 862)
	returned := 0
	p.server.write = func(b []byte, to net.Addr) (int, error) {
		n := returned
		returned++
		p.mu.Lock()
		defer p.mu.Unlock()
		client := p.last
		if to != nil {
			client = p.origin[to.String()]
		}
		deliver(client, b, p.server.local, p.down(n))
		return len(b), nil
	}
	return p
}

// socket is a new one of the sender's, with an address of its own.
func (p *path) socket() *end {
	p.mu.Lock()
	defer p.mu.Unlock()
	ip := senderIP
	number := p.dialled
	p.dialled++
	for range number {
		if p.moves {
			ip = ip.Next()
		}
	}
	port := uint16(40000 + number)
	client := p.end(ip, port)
	client.remote = p.server.local
	sent := 0
	client.write = func(b []byte, _ net.Addr) (int, error) {
		n := sent
		sent++
		if p.refuse != nil {
			if err := p.refuse(number, n); err != nil {
				return 0, err
			}
		}
		seen := port
		if p.nat != nil {
			seen = p.nat(n)
		}
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, seen))
		p.mu.Lock()
		p.last = client
		p.origin[from.String()] = client
		p.mu.Unlock()
		deliver(p.server, b, from, p.up(n))
		return len(b), nil
	}
	return client
}

func (p *path) end(ip netip.Addr, port uint16) *end {
	return &end{inbox: make(chan datagram, 1<<16), local: net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)), deadline: make(chan struct{})}
}

func deliver(to *end, b []byte, from net.Addr, delays []time.Duration) {
	d := datagram{payload: append([]byte(nil), b...), from: from}
	for _, delay := range delays {
		time.AfterFunc(delay, func() { to.inbox <- d })
	}
}

func (e *end) Read(b []byte) (int, error) {
	n, _, err := e.ReadFrom(b)
	return n, err
}

func (e *end) ReadFrom(b []byte) (int, net.Addr, error) {
	e.mu.Lock()
	deadline := e.deadline
	e.mu.Unlock()
	select {
	case <-deadline:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-e.inbox:
		return copy(b, d.payload), d.from, nil
	case <-deadline:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// SetReadDeadline ends all reading: the only use that is made of it is a moment in the past.
func (e *end) SetReadDeadline(time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.deadline:
	default:
		close(e.deadline)
	}
	return nil
}

func (e *end) Write(b []byte) (int, error)                { return e.write(b, nil) }
func (e *end) WriteTo(b []byte, to net.Addr) (int, error) { return e.write(b, to) }
func (e *end) Close() error                               { return nil }
func (e *end) LocalAddr() net.Addr                        { return e.local }
func (e *end) RemoteAddr() net.Addr                       { return e.remote }
func (e *end) SetDeadline(time.Time) error                { return nil }
func (e *end) SetWriteDeadline(time.Time) error           { return nil }

// Dial and the other methods make a path a probes.Network.
func (p *path) Dial(context.Context, string, string) (net.Conn, error) { return p.socket(), nil }

func (p *path) Resolve(context.Context, string) ([]netip.Addr, error) {
	time.Sleep(p.slow)
	return []netip.Addr{reflectorIP}, nil
}

func (p *path) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, io.ErrUnexpectedEOF
}

func (p *path) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, io.ErrUnexpectedEOF
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// measure runs a probe over the path against our reflector and returns its results: one, or one per window.
func (p *path) measure(ctx context.Context, t *testing.T, c Config, r *Reflector) []*probes.Result {
	t.Helper()
	r.Log = quiet()
	serving, stop := context.WithCancel(t.Context())
	var reflector sync.WaitGroup
	reflector.Go(func() {
		if err := r.Serve(serving, p.server); err != nil {
			t.Errorf("reflector: %v", err)
		}
	})
	results := p.probe(ctx, t, c)
	stop()
	reflector.Wait()
	return results
}

// measureFor is measure against a plain reflector, ended after a time.
func (p *path) measureFor(t *testing.T, c Config, lasts time.Duration) []*probes.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	return p.measure(ctx, t, c, &Reflector{})
}

// probe runs a probe over the path, whatever answers there.
func (p *path) probe(ctx context.Context, t *testing.T, c Config) []*probes.Result {
	t.Helper()
	env := probes.Env{Net: p, Log: quiet(), Rand: rand.New(rand.NewPCG(1, 2))}
	kind := Kind()
	probe, err := kind.Build(&c, env, probes.Target{Host: "far", Port: 862, Text: "far"})
	if err != nil {
		t.Fatal(err)
	}
	probe.(*sender).clock, probe.(*sender).readers = p.clock, p.readers
	var results []*probes.Result
	job := probes.Job{Kind: kind.Name, Name: "test", Target: "far", Probe: probe, Timeout: c.Timeout()}
	(&probes.Runner{Agent: "a", Boot: "b"}).Run(ctx, job, func(r *probes.Result) { results = append(results, r) })
	return results
}

// value holds a value of a result against what it must be, exactly.
func value(t *testing.T, r *probes.Result, name string, want float64) {
	t.Helper()
	if got, ok := r.Values[name]; !ok || got != want {
		t.Errorf("%s = %v (present: %v), want %v", name, got, ok, want)
	}
}

func absent(t *testing.T, r *probes.Result, name string) {
	t.Helper()
	if got, ok := r.Values[name]; ok {
		t.Errorf("%s = %v, want it absent", name, got)
	}
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// reopen makes reading possible again after a deadline.
func (e *end) reopen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = make(chan struct{})
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
