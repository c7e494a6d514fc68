package throughput

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

// blockSize is how much is written at once. A quarter of a megabyte keeps the share of system calls low at 40 Gbit/s and
// takes 0.2 s at 10 Mbit/s, which only the sender's kernel waits for: the receiver counts what arrives.
const blockSize = 256 << 10

// newBlock makes what is sent: random, so that nothing on the way can compress it. It is shared by all streams and
// never changed.
func newBlock(seed uint64) []byte {
	block := make([]byte, blockSize)
	source := rand.New(rand.NewPCG(seed, 0))
	for i := range block {
		block[i] = byte(source.Uint32())
	}
	return block
}

// counter counts bytes of one direction, and knows when they are as many as agreed. It is safe for concurrent use.
type counter struct {
	limit int64 // 0 is no limit
	total atomic.Int64
	full  chan struct{} // closed when total has reached limit
	once  sync.Once
}

func newCounter(limit int64) *counter { return &counter{limit: limit, full: make(chan struct{})} }

func (c *counter) add(n int) {
	if total := c.total.Add(int64(n)); c.limit > 0 && total >= c.limit {
		c.once.Do(func() { close(c.full) })
	}
}

// budget is how many bytes may still be written. It is safe for concurrent use.
type budget struct{ left atomic.Int64 }

// newBudget makes a budget; 0 is no limit.
func newBudget(limit int64) *budget {
	b := &budget{}
	b.left.Store(limit)
	if limit == 0 {
		b.left.Store(math.MaxInt64)
	}
	return b
}

// take reserves up to n bytes; 0 when nothing is left.
func (b *budget) take(n int) int {
	for {
		left := b.left.Load()
		granted := min(int64(n), left)
		if granted == 0 || b.left.CompareAndSwap(left, left-granted) {
			return int(granted)
		}
	}
}

// sender is what all sending streams of one direction share.
type sender struct {
	block  []byte
	budget *budget
	sent   *counter
}

// send writes until the budget is used up or w fails. It counts what w took.
func (s *sender) send(w io.Writer) error {
	for {
		n := s.budget.take(len(s.block))
		if n == 0 {
			return nil
		}
		written, err := w.Write(s.block[:n])
		s.sent.add(written)
		if err != nil {
			return err
		}
	}
}

// drain reads until r fails and counts what came. The end of the stream is no error.
func drain(r io.Reader, buffer []byte, received *counter) error {
	for {
		n, err := r.Read(buffer)
		received.add(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// past is a deadline that has passed, in virtual time too.
func past() time.Time { return time.Unix(1, 0) }

// interruptible makes what blocks on c return once ctx ends. The caller calls the returned function when it is done with c.
func interruptible(ctx context.Context, c interface{ SetDeadline(time.Time) error }) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.SetDeadline(past()) // it fails only on a closed connection, on which nothing blocks
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// abort makes closing c throw away what its kernel still holds, so that an ended test stops using the link at once.
func abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // best effort: without it the connection closes in order, which only takes longer
	}
}
