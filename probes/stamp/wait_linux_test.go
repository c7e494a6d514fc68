package stamp

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// policy is how the kernel schedules the calling thread.
func policy(t *testing.T) uint32 {
	t.Helper()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Policy
}

// TestOftenLateSenderGetsAnUrgentThread asks the kernel how it schedules the thread that sends. Where the process may not
// have an urgent one, it pins that the result tells so.
func TestOftenLateSenderGetsAnUrgentThread(t *testing.T) {
	done := make(chan struct{})
	go func() { // its thread ends with it
		defer close(done)
		w := newHostWaiter(newSessionClock(), 10*time.Millisecond, slog.New(slog.DiscardHandler)).(*alarmWaiter)
		defer func() { _ = w.close() }()
		wait := func(n int, late time.Duration) {
			for range n {
				w.learn(late, false)
			}
		}
		for range 3 { // seldom late
			wait(tooOften-1, 6*time.Millisecond)
			wait(100-tooOften+1, w.tooLate)
		}
		if w.urgent || w.thread() != "" || policy(t) != unix.SCHED_NORMAL {
			t.Errorf("seldom late: thread %q, policy %d", w.thread(), policy(t))
		}
		wait(tooOften, w.tooLate+1)
		if w.refused {
			if policy(t) != unix.SCHED_NORMAL || !strings.HasPrefix(w.thread(), "ordinary, though often late: sched_setattr: ") {
				t.Errorf("refused: thread %q, policy %d", w.thread(), policy(t))
			}
			return
		}
		if policy(t) != unix.SCHED_FIFO || !strings.HasPrefix(w.thread(), "real-time, ") {
			t.Errorf("often late: thread %q, policy %d", w.thread(), policy(t))
		}
		at := w.clock.now() + time.Millisecond
		if !w.until(t.Context(), at) || w.clock.now() < at {
			t.Error("a wait on an urgent thread ended early")
		}
		wait(keepFor, 0)
		if w.urgent || w.thread() != "" || policy(t) != unix.SCHED_NORMAL {
			t.Errorf("calm again: thread %q, policy %d", w.thread(), policy(t))
		}
	}()
	<-done
}

// TestStallCountsOnce holds that a host which stood still once is not taken for one that is often late, however many packets
// were due meanwhile.
func TestStallCountsOnce(t *testing.T) {
	w := newHostWaiter(newSessionClock(), 10*time.Millisecond, slog.New(slog.DiscardHandler)).(*alarmWaiter)
	defer func() { _ = w.close() }()
	for due := 57 * time.Millisecond; due > w.tooLate; due -= 10 * time.Millisecond {
		w.until(t.Context(), w.clock.now()-due)
	}
	if w.waits != 1 || w.tardy != 1 {
		t.Errorf("a stall outside a wait: %d of %d waits ended late", w.tardy, w.waits)
	}
	w.learn(0, false)
	w.learn(57*time.Millisecond, false)
	for late := 47 * time.Millisecond; late > 0; late -= 10 * time.Millisecond {
		w.learn(late, true)
	}
	w.learn(7*time.Millisecond, false) // another one
	if w.waits != 4 || w.tardy != 3 || w.urgent {
		t.Errorf("three stalls: %d of %d waits ended late, urgent %v", w.tardy, w.waits, w.urgent)
	}
}

func TestRarePacketsNeedNoUrgentThread(t *testing.T) {
	w := newHostWaiter(newSessionClock(), blind+1, slog.New(slog.DiscardHandler)).(*alarmWaiter)
	defer func() { _ = w.close() }()
	for range 1000 {
		w.learn(time.Second, false)
	}
	if w.urgent || w.thread() != "" {
		t.Errorf("thread %q", w.thread())
	}
}

// TestLeadFollowsTheKernel: the lead is as long as the kernel mostly takes, and no wait that ends far too late changes it.
func TestLeadFollowsTheKernel(t *testing.T) {
	w := newHostWaiter(newSessionClock(), 10*time.Millisecond, slog.New(slog.DiscardHandler)).(*alarmWaiter)
	defer func() { _ = w.close() }()
	for _, step := range []struct {
		late time.Duration
		want time.Duration
	}{
		{30 * time.Microsecond, 30 * time.Microsecond}, // down from the longest, then round that
		{5 * time.Millisecond, 30 * time.Microsecond},
		{149 * time.Microsecond, 149 * time.Microsecond},
		{0, 0},
	} {
		for range 200 {
			w.aim(step.late)
		}
		if w.spin < step.want-time.Microsecond || w.spin > min(step.want+19*time.Microsecond, longestSpin) {
			t.Errorf("woken %v late: a lead of %v", step.late, w.spin)
		}
	}
}
