package load

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// kernelPair is the two ends of a TCP connection of the kernel.
func kernelPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// TestReceiveCountsWhatWasSent compares the count of bytes that the kernel drops unread with the count of those written,
// and with TCP's own count on Linux.
func TestReceiveCountsWhatWasSent(t *testing.T) {
	for _, size := range []int{0, 1, 1000, BlockSize - 1, 200 << 20} {
		a, b := kernelPair(t)
		sent := NewCounter(0)
		var sending sync.WaitGroup
		sending.Go(func() {
			s := &Sender{Block: NewBlock(1), Budget: NewBudget(int64(size)), Sent: sent}
			if size > 0 {
				if err := s.Send(a); err != nil {
					t.Error(err)
				}
			}
			if err := a.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		received := NewCounter(0)
		if err := Receive(b, received); err != nil {
			t.Error(err)
		}
		sending.Wait()
		if got := received.Total(); got != int64(size) || sent.Total() != int64(size) {
			t.Errorf("sent %d of %d bytes, received %d", sent.Total(), size, got)
		}
		if state, ok := StateOf(a); ok && state.SentBytes-state.RetransmittedBytes != int64(size) {
			t.Errorf("the kernel says that it sent %d bytes and %d again, want %d", state.SentBytes, state.RetransmittedBytes, size)
		}
	}
}

// TestReceiveCountsEachPiece: what is dropped unread is counted to the last small piece.
func TestReceiveCountsEachPiece(t *testing.T) {
	a, b := kernelPair(t)
	received := NewCounter(3000)
	done := make(chan error, 1)
	go func() { done <- Receive(b, received) }()
	for range 3 {
		if _, err := a.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	<-received.Full() // blocks for ever, and fails the test by its time limit, if a byte is missed
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || received.Total() != 3000 {
		t.Errorf("received %d bytes, %v", received.Total(), err)
	}
}

func TestReceiveEndsWithItsDeadline(t *testing.T) {
	_, b := kernelPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := Interruptible(ctx, b)
	done := make(chan error, 1)
	go func() { done <- Receive(b, NewCounter(0)) }()
	cancel()
	err := <-done
	release()
	if probes.Classify(err) != probes.Timeout {
		t.Errorf("ended by %v, want the deadline", err)
	}
}

func TestCongestionControl(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("congestion control is chosen on Linux only")
	}
	a, _ := kernelPair(t)
	if err := UseCongestionControl(a, "reno"); err != nil {
		t.Fatal(err)
	}
	if state, ok := StateOf(a); !ok || state.CongestionControl != "reno" {
		t.Errorf("in use is %q, %v; want reno", state.CongestionControl, ok)
	}
	if err := UseCongestionControl(a, "nosuch"); err == nil {
		t.Error("a congestion control that does not exist was accepted")
	}
}
