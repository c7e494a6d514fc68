package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/collector/queue"
)

// scripted answers each Write with the next of its errors, and nil after the last, and notes when it was asked for what.
type scripted struct {
	began  time.Time
	script []error
	block  time.Duration
	calls  []string
}

func (s *scripted) Write(ctx context.Context, batches []queue.Batch) error {
	s.calls = append(s.calls, fmt.Sprintf("%v %d", time.Since(s.began).Round(time.Second), len(batches)))
	if s.block > 0 && !sleep(ctx, s.block) {
		return ctx.Err()
	}
	if len(s.script) == 0 {
		return nil
	}
	err := s.script[0]
	s.script = s.script[1:]
	return err
}

func (s *scripted) Close(context.Context) error { return nil }

// feed runs a Feeder over a queue in memory with n batches of two points until runs has passed.
func feed(t *testing.T, s *scripted, n int, runs time.Duration) (*Feeder, *queue.Queue) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	q, err := queue.Open(queue.Defaults(), []string{"s"}, log)
	if err != nil {
		t.Fatal(err)
	}
	s.began = time.Now()
	for range n {
		if err := q.Append(queue.Batch{Received: time.Now(), Points: 2, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	f := &Feeder{Name: "s", Sink: s, Source: q.Reader("s"), Log: log, Grace: 10 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), runs)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	return f, q
}

func TestFeederTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{script: []error{
			&Retry{After: 7 * time.Second, Err: errors.New("busy")},
			&Retry{After: 20 * time.Second, Err: errors.New("busy")},
		}}
		f, q := feed(t, s, 3, time.Hour)
		if diff := cmp.Diff([]string{"0s 3", "7s 3", "27s 3"}, s.calls); diff != "" {
			t.Error(diff)
		}
		c := &f.Counts
		if c.Points.Load() != 6 || c.Batches.Load() != 3 || c.Retries.Load() != 2 || c.Failing.Load() != 0 || f.Source.Pending() != 0 {
			t.Errorf("points %d, batches %d, retries %d, failing %d, pending %d", c.Points.Load(), c.Batches.Load(), c.Retries.Load(), c.Failing.Load(), f.Source.Pending())
		}
		_ = q.Close()
	})
}

func TestFeederBacksOffToAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		for range 1000 {
			s.script = append(s.script, errors.New("down"))
		}
		f, q := feed(t, s, 1, time.Hour)
		// Seven doublings within two minutes, then between 30 s and 60 s each: 60 to 125 calls an hour.
		if n := len(s.calls); n < 60 || n > 130 {
			t.Errorf("%d calls in an hour", n)
		}
		if f.Source.Pending() != 1 || f.Counts.Failing.Load() != 1 {
			t.Errorf("pending %d, failing %d, want the batch kept and the sink marked", f.Source.Pending(), f.Counts.Failing.Load())
		}
		_ = q.Close()
	})
}

func TestFeederLetsGoOfWhatIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{script: []error{fmt.Errorf("writing: %w", &Rejected{Points: 1, Err: errors.New("type conflict")})}}
		f, q := feed(t, s, 2, time.Minute)
		if diff := cmp.Diff([]string{"0s 2"}, s.calls); diff != "" {
			t.Error(diff)
		}
		if f.Counts.Rejected.Load() != 1 || f.Counts.Points.Load() != 3 || f.Source.Pending() != 0 {
			t.Errorf("rejected %d, points %d, pending %d; want 1, 3, 0", f.Counts.Rejected.Load(), f.Counts.Points.Load(), f.Source.Pending())
		}
		_ = q.Close()
	})
}

func TestFeederEndsWithinItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{block: time.Hour}
		f, q := feed(t, s, 1, time.Minute)
		if took := time.Since(s.began); took != 70*time.Second {
			t.Errorf("Run took %v, want a minute and the grace of 10 s", took)
		}
		if f.Source.Pending() != 1 {
			t.Errorf("pending %d, want the batch kept for the next start", f.Source.Pending())
		}
		_ = q.Close()
	})
}

func TestFeederDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The write under way when ctx ends is given up, and done again within the grace.
		s := &scripted{block: 4 * time.Second}
		f, q := feed(t, s, 5, 2*time.Second)
		if diff := cmp.Diff([]string{"0s 5", "2s 5"}, s.calls); diff != "" {
			t.Error(diff)
		}
		if took := time.Since(s.began); took != 6*time.Second || f.Source.Pending() != 0 {
			t.Errorf("took %v with %d left, want 6s and none", took, f.Source.Pending())
		}
		_ = q.Close()
	})
}
