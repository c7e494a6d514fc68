package netsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running runs a relay until the test ends.
func running(t testing.TB, r *Relay, err error) *Relay {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return r
}

// echoUDP answers every datagram with the sender's port in front, so that clients can be told apart.
func echoUDP(t testing.TB) string {
	t.Helper()
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteToUDPAddrPort(fmt.Appendf(nil, "%d %s", from.Port(), b[:n]), from)
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		done.Wait()
	})
	return pc.LocalAddr().String()
}

// echoTCP sends back what one connection brings.
func echoTCP(t testing.TB) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c) // ends by a reset where the test ends first
	})
	t.Cleanup(func() {
		_ = l.Close()
		done.Wait()
	})
	return l.Addr().String()
}

func dialLoopback(t testing.TB, network, address string) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRelayUDPKeepsClientsApart(t *testing.T) {
	path := NewPath(1, time.Now(), State{Delay: time.Millisecond}, State{Delay: time.Millisecond})
	r, err := RelayUDP(t.Context(), RelayConfig{Path: path, Target: echoUDP(t)})
	running(t, r, err)
	ports := map[int]bool{}
	for i := range 3 {
		c := dialLoopback(t, "udp", r.Addr())
		for range 2 {
			start := time.Now()
			if _, err := fmt.Fprintf(c, "client-%d", i); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			var port, client int
			if _, err := fmt.Sscanf(string(b[:n]), "%d client-%d", &port, &client); err != nil || client != i {
				t.Fatalf("client %d got %q (%v)", i, b[:n], err)
			}
			if rtt := time.Since(start); rtt < 2*time.Millisecond {
				t.Errorf("round trip took %v, which is less than the link's delay", rtt)
			}
			ports[port] = true
		}
	}
	if len(ports) != 3 {
		t.Errorf("the target saw %d clients, want 3", len(ports))
	}
	if up, down := path.Up.Stats(), path.Down.Stats(); up.Delivered != 6 || down.Delivered != 6 {
		t.Errorf("statistics: up %+v, down %+v", up, down)
	}
}

func TestRelayUDPLosesWhatTheLinkLoses(t *testing.T) {
	path := NewPath(5, time.Now(), State{Loss: 0.3}, State{})
	r, err := RelayUDP(t.Context(), RelayConfig{Path: path, Target: echoUDP(t)})
	running(t, r, err)
	c := dialLoopback(t, "udp", r.Addr())
	const count = 50
	var want []int
	for i := range count {
		if !path.Up.Lost(uint64(i)) {
			want = append(want, i)
		}
	}
	for i := range count {
		if _, err := fmt.Fprint(c, i); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	for range want { // blocks until the test's time is over when the relay loses more
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var port, i int
		if _, err := fmt.Sscan(string(b[:n]), &port, &i); err != nil {
			t.Fatal(err)
		}
		got = append(got, i)
	}
	if !slices.Equal(got, want) || len(want) == count {
		t.Errorf("got %v, want %v", got, want)
	}
}

// scripted is a connection whose reads fail one after the other.
type scripted struct {
	net.Conn
	errs   []error
	closed bool
}

func (s *scripted) Read([]byte) (int, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return 0, err
}

func (s *scripted) SetReadDeadline(time.Time) error { return nil }

func (s *scripted) Close() error {
	s.closed = true
	return nil
}

func TestRelayUDPForgetsIdleClients(t *testing.T) {
	for _, c := range []struct {
		name string
		used time.Time
		errs []error
		left int // errors that were not asked for any more
	}{
		{"idle", time.Now().Add(-time.Hour), []error{os.ErrDeadlineExceeded, io.EOF}, 1},
		{"sending, without answers", time.Now(), []error{os.ErrDeadlineExceeded, syscall.ECONNREFUSED, net.ErrClosed, io.EOF}, 1},
		{"broken", time.Now(), []error{io.ErrUnexpectedEOF, io.EOF}, 1},
	} {
		target := &scripted{errs: c.errs}
		f := &flow{target: target, used: c.used}
		u := &udpRelay{config: RelayConfig{Idle: time.Minute}, flows: map[string]*flow{"client": f}}
		u.answer("client", f)
		if len(u.flows) != 0 || !target.closed || len(target.errs) != c.left {
			t.Errorf("%s: %d flows, closed %v, %d reads left", c.name, len(u.flows), target.closed, len(target.errs))
		}
	}
}

func TestRelayTCPCarriesEveryByte(t *testing.T) {
	target := echoTCP(t)
	state := State{Delay: 2 * time.Millisecond, Rate: 50e6, Queue: 256 << 10, Loss: 0.001}
	path := NewPath(1, time.Now(), state, state)
	r, err := RelayTCP(t.Context(), RelayConfig{Path: path, Target: target})
	running(t, r, err)
	c := dialLoopback(t, "tcp", r.Addr()).(*net.TCPConn)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes of %d back, %v", len(got), len(sent), err)
	}
	if up := path.Up.Stats(); up.Bytes != uint64(len(sent)) {
		t.Errorf("statistics %+v", up)
	}
}

func TestRelayTCPToNobodyIsReset(t *testing.T) {
	path := NewPath(1, time.Now(), State{}, State{})
	r, err := RelayTCP(t.Context(), RelayConfig{Path: path, Target: "127.0.0.1:1"})
	running(t, r, err)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", r.Addr())
	if err == nil { // the reset may come before connect returns
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

func TestRelayNeedsPathAndTarget(t *testing.T) {
	for _, open := range []func(context.Context, RelayConfig) (*Relay, error){RelayUDP, RelayTCP} {
		if _, err := open(t.Context(), RelayConfig{Target: "127.0.0.1:1"}); err == nil {
			t.Error("no path, no error")
		}
		path := NewPath(1, time.Now(), State{}, State{})
		if _, err := open(t.Context(), RelayConfig{Path: path, Target: "127.0.0.1:1", Listen: "127.0.0.1:none"}); err == nil {
			t.Error("no such port, no error")
		}
	}
}

// BenchmarkRelayError prints how much later than asked for data comes back through a relay of 5 ms each way: the median and
// 99th percentile of what is added per round trip, two wake-ups and four system calls of the relay included.
func BenchmarkRelayError(b *testing.B) {
	const delay = 5 * time.Millisecond
	newPath := func() *Path { return NewPath(1, time.Now(), State{Delay: delay}, State{Delay: delay}) }
	b.Run("udp", func(b *testing.B) {
		r, err := RelayUDP(b.Context(), RelayConfig{Path: newPath(), Target: echoUDP(b)})
		running(b, r, err)
		roundTrips(b, dialLoopback(b, "udp", r.Addr()), 2*delay)
	})
	b.Run("tcp", func(b *testing.B) {
		r, err := RelayTCP(b.Context(), RelayConfig{Path: newPath(), Target: echoTCP(b)})
		running(b, r, err)
		roundTrips(b, dialLoopback(b, "tcp", r.Addr()), 2*delay)
	})
}

func roundTrips(b *testing.B, c net.Conn, want time.Duration) {
	var added []time.Duration
	buf := make([]byte, 100)
	for b.Loop() {
		start := time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		added = append(added, time.Since(start)-want)
	}
	slices.Sort(added)
	b.ReportMetric(float64(added[len(added)/2].Microseconds()), "p50-added-µs")
	b.ReportMetric(float64(added[len(added)*99/100].Microseconds()), "p99-added-µs")
}
