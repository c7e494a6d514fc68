package load

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// inflows returns the streams of a receiver once there are n of them.
func inflows(r *Receiver, n int) []*inflow {
	for {
		r.mu.Lock()
		var list []*inflow
		for s := range r.streams {
			list = append(list, s)
		}
		r.mu.Unlock()
		if len(list) == n {
			return list
		}
		r.Sweep() // blocks nobody; the test's time limit ends the wait
	}
}

// receiving starts n streams into one receiver.
func receiving(t *testing.T, r *Receiver, n int) (senders []net.Conn, wait func() []error) {
	t.Helper()
	var streams sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		a, b := kernelPair(t)
		senders = append(senders, a)
		streams.Go(func() { errs[i] = r.Receive(b) })
	}
	return senders, func() []error { streams.Wait(); return errs }
}

// TestSweepCountsWhatWaits: below its threshold a stream is not woken, and what has arrived is counted all the same.
func TestSweepCountsWhatWaits(t *testing.T) {
	r := &Receiver{Received: NewCounter(0)}
	senders, wait := receiving(t, r, 2)
	for _, s := range inflows(r, 2) {
		r.adapt(s, maxThreshold)
	}
	for _, c := range senders {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for r.Received.Total() < 2000 { // for ever, and until the test's time limit, if a byte is missed
		r.Sweep()
	}
	for _, c := range senders {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range wait() {
		if err != nil {
			t.Error(err)
		}
	}
	if got := r.Received.Total(); got != 2000 {
		t.Errorf("received %d bytes, want 2000", got)
	}
}

// TestLimitIsNoticedAtOnce: with thresholds as high as they come, the last byte up to the limit is counted when it arrives,
// though the senders hold their connections open and nobody sweeps.
func TestLimitIsNoticedAtOnce(t *testing.T) {
	for _, limit := range []int64{1, 1000, maxThreshold + 1, 64 << 20} {
		r := &Receiver{Received: NewCounter(limit)}
		senders, wait := receiving(t, r, 4)
		for _, s := range inflows(r, 4) {
			r.adapt(s, maxThreshold)
		}
		out := &Sender{Block: NewBlock(1), Budget: NewBudget(limit), Sent: NewCounter(0)}
		var sending sync.WaitGroup
		for _, c := range senders {
			sending.Go(func() {
				if err := out.Send(c); err != nil {
					t.Error(err)
				}
			})
		}
		<-r.Received.Full()
		sending.Wait()
		if got := r.Received.Total(); got != limit {
			t.Errorf("received %d bytes, want %d", got, limit)
		}
		for _, c := range senders {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wait()
	}
}

// TestSweepKeepsErrors: an error that a sweep meets first is still what Receive returns.
func TestSweepKeepsErrors(t *testing.T) {
	r := &Receiver{Received: NewCounter(0)}
	senders, wait := receiving(t, r, 1)
	r.adapt(inflows(r, 1)[0], maxThreshold)
	sweeping := make(chan struct{})
	var sweeps sync.WaitGroup
	sweeps.Go(func() {
		for {
			select {
			case <-sweeping:
				return
			default:
				r.Sweep()
			}
		}
	})
	Abort(senders[0])
	if err := senders[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := wait()[0]; err == nil || !isReset(err) {
		t.Errorf("ended by %v, want a reset", err)
	}
	close(sweeping)
	sweeps.Wait()
}

// slowly is a socket on which the first calls take two milliseconds each, as they do on a machine that is busy with others.
type slowly struct {
	syscall.RawConn
	calls *int
}

func (s slowly) Control(func(fd uintptr)) error {
	if *s.calls--; *s.calls >= 0 {
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// TestCountTellsWhenItWasInterrupted: a reading is taken again twice, and one that is still not of one moment is loose.
func TestCountTellsWhenItWasInterrupted(t *testing.T) {
	for interrupted, want := range map[int]struct {
		at    time.Duration
		loose bool
	}{0: {0, false}, 1: {2 * time.Millisecond, false}, 2: {4 * time.Millisecond, false}, 3: {6 * time.Millisecond, true}} {
		synctest.Test(t, func(t *testing.T) {
			r := &Receiver{Received: NewCounter(0)}
			r.Received.Add(1000)
			r.enter(&inflow{raw: slowly{calls: &interrupted}})
			if bytes, at, loose := r.Count(time.Now()); bytes != 1000 || at != want.at || loose != want.loose {
				t.Errorf("%d bytes after %v, loose %v, want 1000, %v, %v", bytes, at, loose, want.at, want.loose)
			}
		})
	}
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func TestThresholdFollowsTheRate(t *testing.T) {
	now := time.Unix(1, 0)
	for rate, want := range map[float64]int{1e6: 1, 62.5e6: 1, 125e6: 250_000, 500e6: 1_000_000, 5e9: maxThreshold} {
		var p pace
		got, ok := 0, false
		for i := 0; i < 100 && !ok; i++ {
			got, ok = p.threshold(int(rate/1000), now.Add(time.Duration(i)*time.Millisecond))
		}
		if !ok || got != want {
			t.Errorf("at %g bytes/s the threshold is %d (%v), want %d", rate, got, ok, want)
		}
	}
}
