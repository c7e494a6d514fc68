package tcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// exchange is the echoes of one run: TCP keeps them in order, so that the number of the next one is known.
type exchange struct {
	probe    *probe
	recorder *probes.Recorder
	conn     net.Conn

	mu       sync.Mutex
	sent     []time.Time // when each request was handed to the kernel
	received int
}

// echoes asks for all echoes on their schedule, whatever became of the one before, and takes down those that come back.
// Liveness: the sending goroutine ends when its context does or the connection is closed; echoes waits for it.
func (p *probe) echoes(ctx context.Context, r *probes.Recorder, c net.Conn) error {
	e := &exchange{probe: p, recorder: r, conn: c}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	unblock := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer unblock()
	var sendErr error
	var wg sync.WaitGroup
	wg.Go(func() { sendErr = e.send(sending) })
	err := e.receive()
	stop()
	if err != nil {
		_ = c.SetWriteDeadline(time.Unix(1, 0)) // a write that waits for the peer must not outlive the run
	}
	wg.Wait()
	client.Account(r, len(e.sent), e.received)
	observeKernel(r, c)
	return e.verdict(ctx, err, sendErr)
}

// send writes the preamble and all requests. When it returns, only the echoes under way are still to come.
func (e *exchange) send(ctx context.Context) error {
	p := e.probe
	if _, err := e.conn.Write([]byte(farend.PreambleEcho)); err != nil {
		return err
	}
	request := make([]byte, p.config.Size)
	start := time.Now()
	for i := range p.config.Count {
		planned := start.Add(time.Duration(i) * p.config.Interval)
		if err := client.WaitUntil(ctx, planned); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(request, uint64(i))
		now := e.begin()
		e.recorder.ObserveDuration(probes.ScheduleError, probes.Both, now.Sub(planned))
		if _, err := e.conn.Write(request); err != nil {
			return err
		}
	}
	err := e.conn.SetReadDeadline(time.Now().Add(p.config.EchoTimeout))
	if ctx.Err() != nil { // the deadline may have replaced the one that was to end the reading
		return errors.Join(err, e.conn.SetReadDeadline(time.Unix(1, 0)))
	}
	return err
}

// begin notes that a request leaves now.
func (e *exchange) begin() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.sent = append(e.sent, now)
	return now
}

// receive reads echoes until all are back or none comes any more.
func (e *exchange) receive() error {
	reply := make([]byte, e.probe.config.Size)
	for i := range e.probe.config.Count {
		if _, err := io.ReadFull(e.conn, reply); err != nil {
			return err
		}
		now := time.Now()
		if err := e.complete(i, binary.BigEndian.Uint64(reply), now); err != nil {
			return err
		}
	}
	return nil
}

func (e *exchange) complete(i int, number uint64, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if number != uint64(i) || i >= len(e.sent) {
		return probes.Fail(probes.Invalid, "%s sent back something else than it was sent: is it the TCP port of nrprobe reflector?", e.probe.target.Address())
	}
	e.received++
	e.recorder.ObserveDuration(probes.RTT, probes.Both, now.Sub(e.sent[i]))
	return nil
}

// verdict says how the run ended, when both goroutines have.
func (e *exchange) verdict(ctx context.Context, receiveErr, sendErr error) error {
	where := e.probe.target.Address()
	switch {
	case receiveErr == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(receiveErr, os.ErrDeadlineExceeded) && e.received > 0:
		return nil // the losses are taken down
	case errors.Is(receiveErr, os.ErrDeadlineExceeded):
		return probes.Fail(probes.Timeout, "%s took the connection and sent no echo within %v", where, e.probe.config.EchoTimeout)
	case closedByPeer(receiveErr):
		return probes.Fail(probes.Refused, "%s closed the connection after %d echoes: is it the TCP port of nrprobe reflector, and has that room for one more client? --echo=false measures the connect time of any port", where, e.received)
	case sendErr != nil && !errors.Is(sendErr, context.Canceled):
		return fmt.Errorf("echo with %s: %w", where, errors.Join(receiveErr, sendErr))
	default:
		return fmt.Errorf("echo with %s: %w", where, receiveErr)
	}
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
