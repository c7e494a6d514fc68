package reflector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listener hands out the connections that the gate lets in, each with its limits around it. The others are closed
// unanswered and counted.
type listener struct {
	net.Listener
	r     *Reflector
	stats *portStats
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, ok := l.r.gate.enter(inner.RemoteAddr())
		if !ok {
			l.stats.busy.Add(1)
			_ = inner.Close() // it was never served
			continue
		}
		l.stats.accepted.Add(1)
		l.r.conns.Add(1)
		return l.r.limit(inner, func() {
			leave()
			l.r.conns.Done()
		}), nil
	}
}

// conn ends itself when its time or its bytes are used up.
type conn struct {
	net.Conn
	left   atomic.Int64 // bytes
	limits Limits
	timer  *time.Timer
	leave  func() // called once, with the first Close
}

// kernelConn is a conn whose socket the services may ask about, TCP_INFO for one. What they move through it behind our
// back does not count as bytes.
type kernelConn struct {
	*conn
	syscall.Conn
}

// limit puts the limits around a connection.
func (r *Reflector) limit(inner net.Conn, leave func()) net.Conn {
	c := &conn{Conn: inner, limits: r.config.Limits, leave: sync.OnceFunc(leave)}
	c.left.Store(int64(c.limits.Bytes))
	c.timer = time.AfterFunc(c.limits.Duration, func() { _ = inner.Close() }) // what waits on it is told by its error
	if kernel, ok := inner.(syscall.Conn); ok {
		return kernelConn{conn: c, Conn: kernel}
	}
	return c
}

var errUsedUp = errors.New("the connection has carried all that limits.bytes allows")

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.spend(n, err)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.spend(n, err)
}

func (c *conn) spend(n int, err error) error {
	if c.left.Add(-int64(n)) >= 0 {
		return err
	}
	_ = c.Conn.Close()
	return errUsedUp
}

// CloseWrite ends one direction, as *net.TCPConn does.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("closing one direction of a %T: %w", c.Conn, errors.ErrUnsupported)
	}
	return half.CloseWrite()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.leave()
	c.timer.Stop()
	return c.Conn.Close()
}

// acceptPause is how long to wait after accept was refused for want of file descriptors, which only time mends.
const acceptPause = 100 * time.Millisecond

// acceptLoop calls serve with every connection until the listener is closed.
// Liveness: it returns when the listener is closed, at the latest acceptPause later.
func (r *Reflector) acceptLoop(ctx context.Context, l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			serve(c)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			r.log.Warn("accepting a connection", "listen", l.Addr().String(), "error", err)
			pause(ctx, acceptPause)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
