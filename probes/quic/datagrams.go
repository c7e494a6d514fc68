package quic

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

// tally is what became of the datagrams of one run. The first eight bytes of each are its number, big endian.
type tally struct {
	r    *probes.Recorder
	want int
	done chan struct{} // closed when all are back

	mu       sync.Mutex
	sent     []time.Time // when each was handed to the QUIC stack
	received []bool
	count    int
	highest  int // of the numbers received; -1 before the first
	foreign  int
	move     *move // nil in a run without migration
}

// datagrams sends all datagrams on their schedule and takes down those that come back.
// Liveness: the receiving goroutine, and what is measured beside, end with their context, which ends here; datagrams waits
// for them.
func (m *run) datagrams(ctx context.Context, c *quicgo.Conn) error {
	t := &tally{r: m.r, want: m.config.Count, done: make(chan struct{}), received: make([]bool, m.config.Count), highest: -1}
	start := time.Now()
	if m.second != nil {
		t.move = &move{last: start, interval: m.config.Interval}
	}
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	var receiveErr error
	var wg sync.WaitGroup
	wg.Go(func() { receiveErr = t.receive(receiving, c) })
	var beside sync.WaitGroup
	if m.second != nil {
		beside.Go(func() { t.move.err = m.migrate(receiving, c, t, start) })
	}
	if m.config.Stream {
		beside.Go(func() { m.streams(receiving, c, start) })
	}
	err := m.send(ctx, c, t, start)
	if err == nil {
		err = m.await(ctx, c, t)
	}
	if err == nil {
		beside.Wait() // the last echo may be on its way still, or the new path be validated
	}
	stop()
	beside.Wait()
	wg.Wait()
	t.account()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return m.explain(ctx, err)
	case t.foreign > 0 && t.count == 0:
		return probes.Fail(probes.Invalid, "%s sent datagrams that were not ours", m.target.Address())
	case t.count == 0 && receiveErr != nil && !errors.Is(receiveErr, context.Canceled):
		return m.explain(ctx, receiveErr)
	case t.count == 0:
		return probes.Fail(probes.Timeout, "%s took the connection and sent no datagram back within %v", m.target.Address(), m.config.DatagramTimeout)
	case t.move != nil:
		return m.moved(ctx, t)
	}
	return nil
}

func (m *run) send(ctx context.Context, c *quicgo.Conn, t *tally, start time.Time) error {
	payload := make([]byte, m.config.Size)
	for i := range m.config.Count {
		planned := start.Add(time.Duration(i) * m.config.Interval)
		if err := waitUntil(ctx, c, planned); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(payload, uint64(i))
		m.r.ObserveDuration(probes.ScheduleError, probes.Both, t.begin().Sub(planned))
		if err := c.SendDatagram(payload); err != nil {
			t.retract()
			if tooLarge, ok := errors.AsType[*quicgo.DatagramTooLargeError](err); ok {
				return probes.Fail(probes.Invalid, "size: %d is more than the %d bytes that fit in a datagram on this path", m.config.Size, tooLarge.MaxDatagramPayloadSize)
			}
			return err
		}
	}
	return nil
}

// await waits for what is still under way.
func (m *run) await(ctx context.Context, c *quicgo.Conn, t *tally) error {
	timer := time.NewTimer(m.config.DatagramTimeout)
	defer timer.Stop()
	select {
	case <-t.done:
		return nil
	case <-timer.C:
		return nil // the losses are taken down
	case <-c.Context().Done():
		return context.Cause(c.Context()) // the connection's own context says why it ended
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func waitUntil(ctx context.Context, c *quicgo.Conn, when time.Time) error {
	timer := time.NewTimer(time.Until(when))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.Context().Done():
		return context.Cause(c.Context()) // the connection's own context says why it ended
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// receive takes down datagrams until ctx or the connection ends.
func (t *tally) receive(ctx context.Context, c *quicgo.Conn) error {
	for {
		payload, err := c.ReceiveDatagram(ctx)
		if err != nil {
			return err
		}
		t.arrived(payload, time.Now())
	}
}

func (t *tally) begin() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sent = append(t.sent, now)
	return now
}

// retract takes back what begin noted of a datagram that never left.
func (t *tally) retract() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = t.sent[:len(t.sent)-1]
}

// arrived takes down one datagram: reordered when one that was sent later came before it (RFC 4737).
func (t *tally) arrived(payload []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(payload) < 8 {
		t.foreign++
		return
	}
	number := binary.BigEndian.Uint64(payload)
	if number >= uint64(len(t.sent)) {
		t.foreign++
		return
	}
	i := int(number)
	if t.received[i] {
		t.r.Add(probes.PacketsDuplicated, probes.Both, 1)
		return
	}
	t.received[i] = true
	t.r.ObserveDuration(probes.RTT, probes.Both, now.Sub(t.sent[i]))
	t.follow(i, now)
	if i < t.highest {
		t.r.Add(probes.PacketsReordered, probes.Both, 1)
	}
	t.highest = max(t.highest, i)
	if t.count++; t.count == t.want {
		close(t.done)
	}
}

func (t *tally) account() {
	t.mu.Lock()
	defer t.mu.Unlock()
	client.Account(t.r, len(t.sent), t.count)
}
