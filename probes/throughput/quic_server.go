package throughput

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes/load"
)

// serveLoad answers one connection under ALPNLoad: its first stream is the control stream of a session, the others are
// those of the draft.
// Liveness: the streams end with the connection, which is closed here before they are waited for.
func (s *server) serveLoad(ctx context.Context, c *quic.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.Context(), cancel)()
	var streams sync.WaitGroup
	defer streams.Wait()
	defer func() { _ = c.CloseWithError(0, "") }() // the session is over either way
	st, o, err := request(ctx, c)
	if err != nil {
		return err
	}
	err = s.control(ctx, st, o, func(sess *session) {
		sess.attach(c)
		sess.accept(ctx, c, &streams, new(atomic.Int64))
	})
	// The last message is on its way; the client closes the connection when it has it. Closing first would drop it.
	if closeErr := st.Close(); closeErr != nil {
		return errors.Join(err, closeErr)
	}
	patience := time.NewTimer(idleLimit)
	defer patience.Stop()
	select {
	case <-ctx.Done():
	case <-patience.C:
	}
	return err
}

// request waits for the control stream and what the client asks for on it.
func request(ctx context.Context, c *quic.Conn) (*quic.Stream, open, error) {
	ctx, cancel := context.WithTimeout(ctx, idleLimit)
	defer cancel()
	st, err := c.AcceptStream(ctx)
	if err != nil {
		return nil, open{}, fmt.Errorf("waiting for the control stream: %w", err)
	}
	defer load.Interruptible(ctx, st)()
	m, err := readMessage(st)
	switch {
	case err != nil:
		return nil, open{}, fmt.Errorf("waiting for a request: %w", err)
	case m.Open == nil:
		return nil, open{}, fmt.Errorf("%w: the first message asks for nothing", errFrame)
	}
	return st, *m.Open, nil
}

// servePerf answers one connection of a client that knows the draft only. Like a session it ends when nothing moves, or
// when its time or its bytes are used up.
func (s *server) servePerf(ctx context.Context, c *quic.Conn) error {
	if err := s.limits.Leases.Admit(c.RemoteAddr().String()); err != nil {
		return errors.Join(err, c.CloseWithError(quic.ApplicationErrorCode(perfRejected), err.Error()))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.Context(), func() { cancel(errStopped) })()
	var streams sync.WaitGroup
	defer streams.Wait()
	defer func() { _ = c.CloseWithError(0, "") }() // the session is over either way
	o := open{Version: protocolVersion, Up: 1, Down: 1, Duration: s.limits.Duration, Interval: time.Second, Limit: s.limits.Bytes}
	id, sess, no := s.admit(ctx, cancel, o)
	if no != nil {
		return errors.New(no.Text)
	}
	defer s.dismiss(id)
	sess.attach(c)
	var opened atomic.Int64
	sess.accept(ctx, c, &streams, &opened)
	err := sess.watch(ctx, &opened, func() error { return nil })
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// attach makes c the one connection of the session. Its streams need not be waited for: they come as they are wanted.
func (s *session) attach(c *quic.Conn) {
	s.state = func() load.State { return stateOfQUIC(c) }
	close(s.ready)
}

// accept serves the streams of the draft until ctx ends or the connection does, and counts them. All that it starts is in
// the wait group.
func (s *session) accept(ctx context.Context, c *quic.Conn, streams *sync.WaitGroup, opened *atomic.Int64) {
	streams.Go(func() {
		for {
			st, err := c.AcceptStream(ctx)
			if err != nil {
				return // the connection or the session is over
			}
			opened.Add(1)
			streams.Go(func() {
				s.answer(st, func() (perfSender, error) { return st, nil })
				_ = st.Close() // for a stream that asked for nothing; the others are closed or canceled already
			})
		}
	})
	streams.Go(func() {
		for {
			st, err := c.AcceptUniStream(ctx)
			if err != nil {
				return
			}
			opened.Add(1)
			streams.Go(func() {
				s.answer(st, func() (perfSender, error) { return c.OpenUniStreamSync(ctx) })
			})
		}
	})
}

// perfSender is the sending side of a stream.
type perfSender interface {
	io.WriteCloser
	CancelWrite(quic.StreamErrorCode)
}

// answer takes in what one stream carries and sends back as much as its header asks for. How a stream fails says nothing
// here: the client sees it, and the session goes on.
func (s *session) answer(in io.Reader, reply func() (perfSender, error)) {
	var head [perfHeader]byte
	_, err := io.ReadFull(in, head[:])
	if err != nil {
		return // a stream that ends before its header asks for nothing
	}
	if err := load.Drain(in, make([]byte, quicReadSize), s.received); err != nil {
		return
	}
	out, err := reply()
	if err != nil {
		return
	}
	for left := binary.BigEndian.Uint64(head[:]); left > 0; {
		n := s.out.Budget.Take(int(min(left, uint64(len(s.out.Block)))))
		if n == 0 {
			break
		}
		written, err := out.Write(s.out.Block[:n])
		s.out.Sent.Add(int64(written))
		if err != nil {
			out.CancelWrite(perfRejected)
			return
		}
		left -= uint64(n)
	}
	_ = out.Close() // it fails when the stream was canceled, which is the client's wish
}
