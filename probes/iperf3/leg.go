package iperf3

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes/load"
)

// leg is one data stream, at one of its ends. Its counts are safe for concurrent use.
type leg struct {
	id    int
	sends bool

	conn    net.Conn // nil for the UDP streams of a server, which share a socket
	bytes   *load.Counter
	tally   *tally // of a receiver of UDP
	packets atomic.Int64
	refused atomic.Int64 // datagrams that the own kernel did not take

	omitted struct{ bytes, packets, retransmitted atomic.Int64 } // in the time to be left out
}

// omit leaves out what has passed so far.
func (l *leg) omit() {
	l.omitted.bytes.Store(l.bytes.Total())
	l.omitted.packets.Store(l.packets.Load())
	if state, ok := l.state(); ok {
		l.omitted.retransmitted.Store(state.Retransmitted)
	}
	if l.tally != nil {
		l.tally.omit()
	}
}

// counted is how many bytes have passed behind what is left out, above TCP or UDP.
func (l *leg) counted() int64 {
	if l.tally != nil {
		var r streamResult
		l.tally.result(&r)
		return int64(r.Bytes)
	}
	return l.bytes.Total() - l.omitted.bytes.Load()
}

// state is what the kernel says of a TCP sender.
func (l *leg) state() (load.State, bool) {
	if l.conn == nil || !l.sends {
		return load.State{}, false
	}
	return load.StateOf(l.conn)
}

// result is the leg's part of the results, after so long behind what is left out.
func (l *leg) result(elapsed time.Duration) streamResult {
	r := streamResult{ID: number(l.id), Retransmits: -1, End: real(elapsed.Seconds())}
	if l.tally != nil {
		l.tally.result(&r)
		return r
	}
	r.Bytes = number(l.counted())
	r.Packets, r.OmittedPackets = number(l.packets.Load()), number(l.omitted.packets.Load())
	if state, ok := l.state(); ok {
		r.Retransmits = number(state.Retransmitted - l.omitted.retransmitted.Load())
	}
	return r
}

// run moves data until ctx ends, the limit is reached, or the stream fails. The end of a stream that is received is an error.
func (l *leg) run(ctx context.Context, t *traffic) error {
	if l.conn != nil {
		defer load.Interruptible(ctx, l.conn)()
	}
	var err error
	switch {
	case !l.sends && l.tally != nil:
		err = l.receiveDatagrams(t)
	case !l.sends:
		if err = load.Receive(l.conn, l.bytes); err == nil {
			err = io.EOF
		}
	case t.udp:
		err = l.sendDatagrams(ctx, t, l.conn.Write)
	default:
		err = (&load.Sender{Block: t.block, Budget: t.budget, Sent: l.bytes}).Send(l.conn)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// traffic is what the streams of one direction have in common.
type traffic struct {
	udp    bool
	wide   bool // datagrams are numbered with 64 bits
	block  []byte
	budget *load.Budget
	rate   float64 // bytes per second of a UDP stream; 0 is no limit
	epoch  time.Time
}

// clock is the monotonic time that datagrams carry.
func (t *traffic) clock() time.Duration { return time.Since(t.epoch) }

// newTraffic makes what the test's parameters ask for; limit bounds the bytes that this end sends, 0 does not.
func newTraffic(p *params, limit int64, seed uint64) *traffic {
	block := load.NewBlock(seed)
	for len(block) < int(p.Len) {
		block = append(block, block...)
	}
	return &traffic{
		udp: bool(p.UDP), wide: p.Counters64 != 0, block: block[:p.Len], budget: load.NewBudget(limit),
		rate: float64(p.Bandwidth) / 8, epoch: time.Now(),
	}
}

// pacingInterval is how often a sender of datagrams looks at what is due: iperf3's default. At 100 Mbit/s and 1,200 bytes
// it sends ten each time.
const pacingInterval = time.Millisecond

// sendDatagrams sends at the rate until ctx ends or the budget is used up.
func (l *leg) sendDatagrams(ctx context.Context, t *traffic, write func([]byte) (int, error)) error {
	datagram := append([]byte(nil), t.block...)
	timer := time.NewTimer(0)
	defer timer.Stop()
	begun := time.Now()
	for {
		for t.rate == 0 || float64(l.bytes.Total()) <= t.rate*time.Since(begun).Seconds() {
			if ctx.Err() != nil {
				return nil
			}
			if t.budget.Take(len(datagram)) == 0 {
				return nil
			}
			putHeader(datagram, t.clock(), uint64(l.packets.Load()+1), t.wide)
			if _, err := write(datagram); isRefused(err) {
				l.refused.Add(1)
				break
			} else if err != nil {
				return err
			}
			l.packets.Add(1)
			l.bytes.Add(int64(len(datagram)))
		}
		timer.Reset(pacingInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// isRefused says whether the own kernel had no room for a datagram.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN)
}

func (l *leg) receiveDatagrams(t *traffic) error {
	b := make([]byte, maxDatagram)
	for {
		n, err := l.conn.Read(b)
		if err != nil {
			return err
		}
		l.tally.arrive(b[:n], t.clock())
	}
}
