package stamp

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFrequentPacketsHaveAnUrgentThread asks the kernel how it schedules the thread that sends.
func TestFrequentPacketsHaveAnUrgentThread(t *testing.T) {
	if err := mayHurry(); err != nil {
		t.Skipf("wants root, CAP_SYS_NICE or RLIMIT_RTPRIO: %v", err)
	}
	for _, row := range []struct {
		interval time.Duration
		thread   string
		policy   uint32
	}{
		{10 * time.Millisecond, "real-time", unix.SCHED_FIFO},
		{blind, "real-time", unix.SCHED_FIFO},
		{blind + 1, "ordinary", unix.SCHED_NORMAL},
	} {
		clock := newSessionClock()
		w, thread := newHostWaiter(clock, row.interval, slog.New(slog.DiscardHandler))
		if thread != row.thread {
			t.Errorf("at %v the thread is called %q, want %q", row.interval, thread, row.thread)
		}
		got := make(chan *unix.SchedAttr, 1)
		go func() {
			w.claim()
			at := clock.now() + time.Millisecond
			if !w.until(t.Context(), at) || clock.now() < at {
				t.Errorf("at %v the wait ended early", row.interval)
			}
			attr, err := unix.SchedGetAttr(0, 0)
			if err != nil {
				t.Error(err)
			}
			got <- attr
		}()
		if attr := <-got; attr.Policy != row.policy {
			t.Errorf("at %v the policy is %d, want %d", row.interval, attr.Policy, row.policy)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		t.Errorf("a thread that sends nothing has policy %d (%v)", attr.Policy, err)
	}
}

// TestWhoMayNotHurryIsTold pins the words of the note that a result carries then.
func TestWhoMayNotHurryIsTold(t *testing.T) {
	w, thread := newHostWaiter(newSessionClock(), time.Millisecond, slog.New(slog.DiscardHandler))
	defer func() { _ = w.close() }()
	if err := mayHurry(); err != nil && !strings.HasPrefix(thread, "ordinary: sched_setattr: ") {
		t.Errorf("the thread is called %q", thread)
	} else if err == nil && thread != "real-time" {
		t.Errorf("the thread is called %q", thread)
	}
}
