package netsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// joined is an established connection from edge to far.
func joined(t *testing.T, edge, far *Host) (client, server net.Conn) {
	t.Helper()
	l, err := far.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = edge.Dial(t.Context(), "tcp", "192.0.2.1:80"); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestStreamTakesTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1,448,000 bytes at 1,448,000 bytes per second, one millisecond a segment
		_, edge, far := pair(t, State{Delay: 10 * ms, Rate: 1_448_000, Queue: 40_000}, State{Delay: 10 * ms})
		client, server := joined(t, edge, far)
		sent := bytes.Repeat([]byte("abcdefgh"), 1_448_000/8)
		start := time.Now()
		wrote := make(chan time.Duration, 1)
		go func() {
			if _, err := client.Write(sent); err != nil {
				t.Error(err)
			}
			wrote <- time.Since(start)
			_ = client.Close()
		}()
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(start).Round(ms); took != 1010*ms {
			t.Errorf("took %v, want a second and the delay", took)
		}
		// Three quarters of the queue, 20 segments, are under way when Write returns.
		if took := (<-wrote).Round(ms); took != 980*ms {
			t.Errorf("writing took %v, want 980ms", took)
		}
	})
}

func TestStreamsLeaveRoomForDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, State{Delay: 10 * ms, Rate: 1_448_000, Queue: 40_000}, State{Delay: 10 * ms})
		echo(t, far)
		client, server := joined(t, edge, far)
		go func() { _, _ = io.Copy(io.Discard, server) }()
		go func() { _, _ = io.Copy(client, zeros{}) }()
		time.Sleep(time.Second)
		c, err := edge.Dial(t.Context(), "udp", "192.0.2.1:7")
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			start := time.Now()
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			// 20 segments of 1 ms wait before it: latency under load.
			if rtt := time.Since(start); rtt < 38*ms || rtt > 41*ms {
				t.Errorf("round trip under load %v, want 20 ms of delay and 20 ms of queue", rtt)
			}
			time.Sleep(7 * ms)
		}
		_ = server.Close()
		_ = client.Close()
	})
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestStreamWindowHoldsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, State{Delay: ms}, State{Delay: ms})
		client, server := joined(t, edge, far)
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := client.Write(make([]byte, 5<<20))
		if n != streamWindow || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
		if n, err := io.ReadFull(server, make([]byte, streamWindow)); n != streamWindow || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		_ = client.SetWriteDeadline(time.Time{})
		if _, err := client.Write([]byte("on it goes")); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamWaitsForTheEndOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, WithOutages(State{Delay: 10 * ms}, Interval{time.Second, 3 * time.Second}), State{Delay: 10 * ms})
		client, server := joined(t, edge, far)
		time.Sleep(2*time.Second - n.Elapsed())
		if _, err := client.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(server, b); err != nil || string(b) != "late" {
			t.Fatalf("%q, %v", b, err)
		}
		// Sent at 2 s, again 220, 660 and 1540 ms later: the last one is through.
		if at := n.Elapsed(); at != 3550*ms {
			t.Errorf("arrived at %v, want 3.55s", at)
		}
	})
}

func TestSYNIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, WithOutages(State{Delay: 10 * ms}, Interval{0, 2 * time.Second}), State{Delay: 10 * ms})
		joined(t, edge, far)
		if at := n.Elapsed(); at != 3030*ms { // SYN at 0, 1 and 3 s; the server accepts half a round trip after the client
			t.Errorf("connected at %v, want 3.03s", at)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, edge, _ := pair(t, State{Down: true}, State{})
		start := time.Now()
		_, err := edge.Dial(t.Context(), "tcp", "192.0.2.1:80")
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		_, err = edge.Dial(ctx, "tcp", "192.0.2.1:80")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if open := edge.Sockets(); open != 0 {
			t.Errorf("%d sockets left", open)
		}
	})
}

func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, State{Delay: 10 * ms}, State{Delay: 10 * ms})
		client, server := joined(t, edge, far)
		if _, err := server.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(client); err != nil || string(b) != "last words" {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Errorf("the first write behind the peer's close: %v", err)
		}
		time.Sleep(21 * ms) // there and back, and the reset is in
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a write behind the reset: %v", err)
		}

		client, server = joined(t, edge, far)
		if _, err := client.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * ms)
		_ = server.Close()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading when the peer left something unread: %v", err)
		}

		client, server = joined(t, edge, far)
		time.AfterFunc(time.Second, func() { _ = client.Close() })
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading while it is closed: %v", err)
		}
		if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("reading behind the peer's close: %d, %v", n, err)
		}
		_ = server.SetDeadline(time.Now())
		if _, err := server.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing behind the deadline: %v", err)
		}
	})
}

func TestListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, State{Delay: 10 * ms}, State{Delay: 10 * ms})
		l, err := far.Listen(t.Context(), "tcp", "192.0.2.1:0")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = l.(interface{ SetDeadline(time.Time) error }).SetDeadline(start.Add(time.Second))
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		c, err := edge.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that nobody accepted: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting from a closed listener: %v", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, State{Delay: 10 * ms}, State{Delay: 10 * ms})
		client, server := joined(t, edge, far)
		l, err := far.Listen(t.Context(), "tcp", ":81")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := far.ListenPacket(t.Context(), "udp", ":81")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 5)
		go func() { _, err := client.Read(make([]byte, 1)); ended <- err }()
		go func() { _, err := server.Read(make([]byte, 1)); ended <- err }()
		go func() { _, _, err := pc.ReadFrom(make([]byte, 1)); ended <- err }()
		go func() { _, err := l.Accept(); ended <- err }()
		go func() { _, err := edge.Dial(context.Background(), "tcp", "192.0.2.1:81"); ended <- err }()
		synctest.Wait()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		}
		if open := edge.Sockets() + far.Sockets(); open != 0 {
			t.Errorf("%d sockets left", open)
		}
		if _, err := edge.ListenPacket(context.Background(), "udp", ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("opening a socket on a closed network: %v", err)
		}
	})
}

func TestRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, State{Delay: 10 * ms}, State{Delay: 10 * ms})
		client, server := joined(t, edge, far)
		pc, err := far.ListenPacket(t.Context(), "udp4", ":9")
		if err != nil {
			t.Fatal(err)
		}
		c, err := edge.Dial(t.Context(), "udp", "192.0.2.1:9")
		if err != nil {
			t.Fatal(err)
		}
		public := netip.MustParseAddr("198.51.100.7")
		edge.RebindAt(time.Second, public)
		b := make([]byte, 10)
		var seen []net.Addr
		for range 3 {
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			_, from, err := pc.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, from)
			if _, err := pc.WriteTo([]byte("pong"), from); err != nil {
				t.Fatal(err)
			}
			if k, err := c.Read(b); err != nil || string(b[:k]) != "pong" {
				t.Fatalf("%q, %v", b[:k], err)
			}
			time.Sleep(time.Second)
		}
		if own := c.LocalAddr().String(); seen[0].String() != own || seen[1].String() != "198.51.100.7:20000" || seen[2].String() != seen[1].String() {
			t.Errorf("seen from %v, own address %s", seen, own)
		}
		if _, err := pc.WriteTo([]byte("to the old address"), seen[0]); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("what was sent to the old address: %v", err)
		}
		for _, s := range []net.Conn{client, server} {
			if _, err := s.Read(b); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a connection from before: %v", err)
			}
		}
		if _, server := joined(t, edge, far); !bytes.HasPrefix([]byte(server.RemoteAddr().String()), []byte("198.51.100.7:")) {
			t.Errorf("a new connection comes from %v", server.RemoteAddr())
		}
		edge.Rebind(netip.Addr{})
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, from, err := pc.ReadFrom(b); err != nil || from.String() != "10.0.0.1:21002" {
			t.Errorf("after the second rebinding at %v: from %v, %v", n.Elapsed(), from, err)
		}
	})
}

func TestHostReachesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, edge, _ := pair(t, State{Delay: ms}, State{Delay: ms})
		for _, address := range []string{"127.0.0.1:80", "[::1]:80", "10.0.0.1:80"} {
			l, err := edge.Listen(t.Context(), "tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			c, err := edge.Dial(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(make([]byte, 1)); err != nil || time.Since(start) != 0 {
				t.Errorf("%s: %v after %v", address, err, time.Since(start))
			}
			if s.RemoteAddr().String() != c.LocalAddr().String() || s.LocalAddr().String() != address {
				t.Errorf("%s: %v to %v", address, s.RemoteAddr(), s.LocalAddr())
			}
			_ = l.Close()
		}
	})
}
