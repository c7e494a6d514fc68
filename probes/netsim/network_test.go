package netsim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two connected hosts: an edge device and a far end.
func pair(t *testing.T, up, down Profile) (n *Network, edge, far *Host) {
	t.Helper()
	n = New(1)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	edge = n.Host("edge", "10.0.0.1", "fd00::1")
	far = n.Host("far.example", "192.0.2.1", "2001:db8::1")
	n.Connect(edge, far, up, down)
	return n, edge, far
}

// echo answers every datagram on the far host's UDP port 7 until the socket closes.
func echo(t *testing.T, far *Host) {
	t.Helper()
	pc, err := far.ListenPacket(t.Context(), "udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			if _, err := pc.WriteTo(b[:n], from); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
}

func TestRoundTripIsExact(t *testing.T) {
	for _, address := range []string{"192.0.2.1:7", "[2001:db8::1]:7"} {
		synctest.Test(t, func(t *testing.T) {
			_, edge, far := pair(t, State{Delay: 10 * time.Millisecond}, State{Delay: 15 * time.Millisecond})
			echo(t, far)
			c, err := edge.Dial(t.Context(), "udp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 3 {
				start := time.Now()
				if _, err := c.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 100)
				n, err := c.Read(b)
				if err != nil || string(b[:n]) != "hello" {
					t.Fatalf("read %q, %v", b[:n], err)
				}
				if rtt := time.Since(start); rtt != 25*time.Millisecond {
					t.Errorf("round trip took %v, want 25ms", rtt)
				}
			}
		})
	}
}

func TestPacketDeadlinesAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, _ := pair(t, State{}, State{})
		pc, err := edge.ListenPacket(t.Context(), "udp", "")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := pc.SetReadDeadline(start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _, err = pc.ReadFrom(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if err := pc.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { _ = pc.Close() })
		_, _, err = pc.ReadFrom(make([]byte, 1))
		if !errors.Is(err, net.ErrClosed) || time.Since(start) != time.Minute+time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if _, err := pc.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to a closed socket: %v", err)
		}
		if err := pc.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing twice: %v", err)
		}
	})
}

func TestLossesAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		defer n.Close()
		a, b := n.Host("a", "10.0.0.1"), n.Host("b", "10.0.0.2")
		up, down := n.Connect(a, b, State{Loss: 0.2, Burst: Burst{Enter: 0.02, Leave: 0.25, Loss: 0.9}}, State{})
		pc, err := b.ListenPacket(t.Context(), "udp", ":1")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Dial(t.Context(), "udp", "10.0.0.2:1")
		if err != nil {
			t.Fatal(err)
		}
		const count = 200
		for i := range byte(count) {
			if _, err := c.Write([]byte{i}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		var missing []uint64
		next := uint64(0)
		_ = pc.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 1)
		for {
			if _, _, err := pc.ReadFrom(buf); err != nil {
				break
			}
			for ; next < uint64(buf[0]); next++ {
				missing = append(missing, next)
			}
			next++
		}
		for ; next < count; next++ {
			missing = append(missing, next)
		}
		if want := up.Losses(count); !slices.Equal(missing, want) || len(want) < 30 {
			t.Errorf("missing %v, foretold %v", missing, want)
		}
		for i := range uint64(count) {
			if up.Lost(i) != slices.Contains(missing, i) {
				t.Errorf("Lost(%d) = %v", i, up.Lost(i))
			}
		}
		if s := up.Stats(); s.Sent != count || s.Lost != uint64(len(missing)) || s.Delivered != count-s.Lost || s.Bytes != count {
			t.Errorf("statistics %+v", s)
		}
		if s := down.Stats(); s != (LinkStats{}) {
			t.Errorf("statistics of the idle direction %+v", s)
		}
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, State{Delay: 10 * time.Millisecond}, State{Delay: 10 * time.Millisecond})
		n.Host("island", "203.0.113.1")
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for _, c := range []struct {
			network, address string
			ctx              context.Context
			want             error
			took             time.Duration
		}{
			{"tcp", "192.0.2.1:80", t.Context(), syscall.ECONNREFUSED, 20 * time.Millisecond},
			{"tcp6", "[2001:db8::1]:80", t.Context(), syscall.ECONNREFUSED, 20 * time.Millisecond},
			{"tcp", "203.0.113.1:80", t.Context(), syscall.ENETUNREACH, 0},
			{"udp", "203.0.113.1:80", t.Context(), syscall.ENETUNREACH, 0},
			{"udp", "198.51.100.1:80", t.Context(), syscall.ENETUNREACH, 0},
			{"tcp", "192.0.2.1:80", expired, context.DeadlineExceeded, 0},
		} {
			start := time.Now()
			_, err := edge.Dial(c.ctx, c.network, c.address)
			if !errors.Is(err, c.want) || time.Since(start) != c.took {
				t.Errorf("%s %s: after %v: %v", c.network, c.address, time.Since(start), err)
			}
		}
		if _, err := edge.Resolve(t.Context(), "nobody.example"); !isNotFound(err) {
			t.Errorf("resolving a name that nobody has: %v", err)
		}
		addrs, err := edge.Resolve(t.Context(), "far.example")
		if want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}; err != nil || !slices.Equal(addrs, want) {
			t.Errorf("resolved %v, %v", addrs, err)
		}
		if _, err := far.Listen(t.Context(), "tcp", "10.0.0.1:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listening on another host's address: %v", err)
		}
		if _, err := far.ListenPacket(t.Context(), "udp", ":80"); err != nil {
			t.Error(err)
		}
		if _, err := far.ListenPacket(t.Context(), "udp", "192.0.2.1:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening twice: %v", err)
		}
	})
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

func TestStreamIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, State{Delay: 10 * time.Millisecond}, State{Delay: 10 * time.Millisecond})
		l, err := far.Listen(t.Context(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		begun := start
		served := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			defer c.Close()
			if at := time.Since(begun); at != 30*time.Millisecond {
				t.Errorf("accepted after %v, want 30ms", at)
			}
			_, err = io.Copy(c, c)
			served <- err
		}()
		c, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 20*time.Millisecond {
			t.Errorf("connecting took %v, want 20ms", took)
		}
		start = time.Now()
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" || time.Since(start) != 20*time.Millisecond {
			t.Errorf("after %v: %q, %v", time.Since(start), b, err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing after CloseWrite: %v", err)
		}
		if n, err := c.Read(b); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
