package netsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// underWay is how many segments of one direction of a TCP connection a relay holds at most.
	underWay = 512
	// relaySocket is the kernel buffer of each of a relay's TCP sockets. Small, because what waits there waits outside the
	// link's own queue, where it would look like a delay that the link does not have.
	relaySocket = 128 << 10
)

// RelayTCP opens a relay for TCP connections. Bytes take the link's delay, jitter, rate, queue, stalls and outages, as they
// do in a Network. A connection is established with the relay itself, so that a client's connect time is that of the
// loopback interface, and there is a congestion control on either side that sees no loss, only the rate.
func RelayTCP(ctx context.Context, config RelayConfig) (*Relay, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening relay: %w", err)
	}
	t := &tcpRelay{config: c, listener: l}
	return &Relay{addr: l.Addr(), close: l.Close, serve: t.run}, nil
}

// tcpRelay forwards connections.
type tcpRelay struct {
	config   RelayConfig
	listener net.Listener
	serving  sync.WaitGroup
}

func (t *tcpRelay) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = t.listener.Close() })
	defer stop()
	defer t.serving.Wait()
	defer cancel()
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting a connection to relay: %w", err)
		}
		t.serving.Go(func() {
			if err := t.connect(ctx, c.(*net.TCPConn)); err != nil && ctx.Err() == nil {
				t.config.Log.Info("relayed connection ended", "client", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// connect forwards one connection until both directions have ended.
func (t *tcpRelay) connect(ctx context.Context, client *net.TCPConn) error {
	defer client.Close()
	var d net.Dialer
	far, err := d.DialContext(ctx, "tcp", t.config.Target)
	if err != nil {
		_ = client.SetLinger(0) // the client sees a reset: nearest to a refused connection that is possible behind accept
		return err
	}
	target := far.(*net.TCPConn)
	defer target.Close()
	for _, c := range []*net.TCPConn{client, target} {
		_ = c.SetReadBuffer(relaySocket)
		_ = c.SetWriteBuffer(relaySocket)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { abort(client, target) })
	defer stop()
	errs := make(chan error, 2)
	var pumps sync.WaitGroup
	pumps.Go(func() { errs <- pump(ctx, t.config.Path.Up, client, target) })
	pumps.Go(func() { errs <- pump(ctx, t.config.Path.Down, target, client) })
	err = <-errs
	if err != nil {
		cancel() // a broken direction breaks the connection
	}
	pumps.Wait()
	return errors.Join(err, <-errs)
}

// abort closes connections with a reset.
func abort(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// piece is part of a stream on its way; a nil payload is its end.
type piece struct {
	at      time.Time
	payload []byte
}

// pump carries one direction of a connection to its end. Liveness: both goroutines end when the connections close, which
// connect does when ctx ends.
func pump(ctx context.Context, link *Link, from, to *net.TCPConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pieces := make(chan piece, underWay)
	read := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(pieces)
		read <- readPieces(ctx, link, from, pieces)
	})
	err := writePieces(ctx, pieces, to)
	if err != nil {
		cancel()
		abort(from, to) // ends the reader too
	}
	reading.Wait()
	return errors.Join(err, <-read)
}

// readPieces reads the stream as fast as the link's queue takes it.
func readPieces(ctx context.Context, link *Link, from *net.TCPConn, pieces chan<- piece) error {
	b := make([]byte, 32*1448)
	var last time.Duration
	for {
		n, err := from.Read(b[:min(len(b), link.segmentSize(time.Since(link.start)))])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		end := err != nil
		arrival, err := admit(ctx, link, n)
		if err != nil {
			return err
		}
		last = max(last, arrival)
		p := piece{at: link.start.Add(last)}
		if !end {
			p.payload = append([]byte(nil), b[:n]...)
		}
		select {
		case pieces <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		if end {
			return nil
		}
	}
}

// admit waits for room in the link's queue and returns when the bytes come out.
func admit(ctx context.Context, link *Link, size int) (time.Duration, error) {
	for {
		arrival, wait, err := link.segment(time.Since(link.start), size, attempt{tries: maxTries})
		if err != nil || wait == 0 {
			return arrival, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		}
	}
}

// writePieces writes each piece at its time.
func writePieces(ctx context.Context, pieces <-chan piece, to *net.TCPConn) error {
	for p := range pieces {
		if err := sleepUntil(ctx, p.at); err != nil {
			return err
		}
		if p.payload == nil {
			return to.CloseWrite()
		}
		if _, err := to.Write(p.payload); err != nil {
			return err
		}
	}
	return nil
}

// sleepUntil sleeps as precisely as the system can.
func sleepUntil(ctx context.Context, t time.Time) error {
	if left := time.Until(t) - coarse; left > 0 {
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	for left := time.Until(t); left > 0; left = time.Until(t) {
		nap(left)
	}
	return ctx.Err()
}
