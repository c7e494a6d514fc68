package load

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// BlockSize is how much is written at once. A quarter of a megabyte keeps the share of system calls low at 40 Gbit/s and
// takes 0.2 s at 10 Mbit/s, which only the sender's kernel waits for: the receiver counts what arrives.
const BlockSize = 256 << 10

// NewBlock makes BlockSize bytes to be sent: random, so that nothing on the way can compress them. All streams share one block
// and never change it.
func NewBlock(seed uint64) []byte {
	block := make([]byte, BlockSize)
	source := rand.New(rand.NewPCG(seed, 0))
	for i := range block {
		block[i] = byte(source.Uint32())
	}
	return block
}

// Counter counts the bytes of one direction, and knows when they are as many as agreed. It is safe for concurrent use.
type Counter struct {
	limit int64
	total atomic.Int64
	full  chan struct{}
	once  sync.Once
}

// NewCounter makes a counter that is full at limit bytes; 0 is no limit.
func NewCounter(limit int64) *Counter { return &Counter{limit: limit, full: make(chan struct{})} }

// Add counts n more bytes.
func (c *Counter) Add(n int64) {
	if total := c.total.Add(n); c.limit > 0 && total >= c.limit {
		c.once.Do(func() { close(c.full) })
	}
}

// Total is how many bytes have been counted.
func (c *Counter) Total() int64 { return c.total.Load() }

// Left is how many bytes the counter may still count; as many as there are numbers without a limit.
func (c *Counter) Left() int64 {
	if c.limit == 0 {
		return math.MaxInt64
	}
	return c.limit - c.Total()
}

// Full is closed once the limit has been reached.
func (c *Counter) Full() <-chan struct{} { return c.full }

// IsFull says whether the limit has been reached.
func (c *Counter) IsFull() bool {
	select {
	case <-c.full:
		return true
	default:
		return false
	}
}

// Budget is how many bytes may still be written. It is safe for concurrent use.
type Budget struct{ left atomic.Int64 }

// NewBudget makes a budget; 0 is no limit.
func NewBudget(limit int64) *Budget {
	b := &Budget{}
	b.left.Store(limit)
	if limit == 0 {
		b.left.Store(math.MaxInt64)
	}
	return b
}

// Take reserves up to n bytes; 0 when nothing is left.
func (b *Budget) Take(n int) int {
	for {
		left := b.left.Load()
		granted := min(int64(n), left)
		if granted == 0 || b.left.CompareAndSwap(left, left-granted) {
			return int(granted)
		}
	}
}

// Close leaves nothing of the budget.
func (b *Budget) Close() { b.left.Store(0) }

// Sender is what all sending streams of one direction share.
type Sender struct {
	Block  []byte   // what is written, as often as it takes; never changed
	Budget *Budget  // how much of it
	Sent   *Counter // what was taken by the transport
}

// Send writes until the budget is used up or w fails. It counts what w took.
func (s *Sender) Send(w io.Writer) error {
	for {
		n := s.Budget.Take(len(s.Block))
		if n == 0 {
			return nil
		}
		written, err := w.Write(s.Block[:n])
		s.Sent.Add(int64(written))
		if err != nil {
			return err
		}
	}
}

// Drain reads until r fails and counts what came. The end of the stream is no error.
func Drain(r io.Reader, buffer []byte, received *Counter) error {
	for {
		n, err := r.Read(buffer)
		received.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Past is a deadline that has passed, in virtual time too.
func Past() time.Time { return time.Unix(1, 0) }

// Interruptible makes what blocks on c return once ctx ends. The caller calls the returned function when it is done with c.
func Interruptible(ctx context.Context, c interface{ SetDeadline(time.Time) error }) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.SetDeadline(Past()) // it fails only on a closed connection, on which nothing blocks
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// Abort makes closing c throw away what its kernel still holds, so that an ended test stops using the link at once, and a
// peer that has vanished holds no buffers. It is an effort, not a promise: without it the connection closes in order.
func Abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // it fails on a closed connection only
		return
	}
	abortWrapped(c)
}
