package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, c Config) *Spool {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t *testing.T, s *Spool, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := s.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(l Lease) (all []string) {
	for _, r := range l.Records() {
		all = append(all, string(r))
	}
	return all
}

// leaseOf takes what there is, without waiting.
func leaseOf(t *testing.T, r *Reader, maxBytes int) Lease {
	t.Helper()
	l, err := r.Next(t.Context(), maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// drain reads and acknowledges all that is pending, without waiting.
func drain(t *testing.T, r *Reader) (all []string) {
	t.Helper()
	for r.spool.Stats().Readers[r.name].Pending > 0 {
		l, err := next(r)
		if errors.Is(err, context.Canceled) {
			break // what was pending could not be read
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, texts(l)...)
		if err := l.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// next is Next for a reader with something pending. It skips what is corrupt itself, because Next would wait
// when nothing else is there.
func next(r *Reader) (Lease, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, wait, err := r.plan()
	for err == nil && wait == nil {
		l, failed := r.read(p, 1<<20, 0)
		if failed == nil {
			break
		}
		r.skip(p, l.end)
		p, wait, err = r.plan()
	}
	if wait != nil {
		cancel()
	}
	return r.Next(ctx, 1<<20)
}

// both runs a test on disk and in memory.
func both(t *testing.T, test func(t *testing.T, c Config)) {
	t.Run("disk", func(t *testing.T) { test(t, Config{Dir: t.TempDir()}) })
	t.Run("memory", func(t *testing.T) { test(t, Config{}) })
}

func TestLeases(t *testing.T) {
	both(t, func(t *testing.T, c Config) {
		s := open(t, c)
		r := s.Reader("a")
		if s.Reader("a") != r {
			t.Errorf("the reader is another one the second time")
		}
		add(t, s, "one", "two", "", "three", "four")
		first := leaseOf(t, r, 6)
		if got := texts(first); !slices.Equal(got, []string{"one", "two", ""}) {
			t.Errorf("leased %q", got)
		}
		if _, err := r.Next(t.Context(), 6); !errors.Is(err, ErrLeased) {
			t.Errorf("a second lease: %v, want %v", err, ErrLeased)
		}
		first.Release()
		again, err := r.NextUpTo(t.Context(), 100, 2)
		if got := texts(again); err != nil || !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("after Release: leased %q, %v", got, err)
		}
		first.Release() // of a lease that is over: nothing
		if err := again.Ack(); err != nil {
			t.Error(err)
		}
		again.Release()
		if err := first.Ack(); err != nil {
			t.Error(err)
		}
		big := leaseOf(t, r, 0) // at least one
		if got := texts(big); !slices.Equal(got, []string{""}) {
			t.Errorf("leased %q, want one record", got)
		}
		stats := s.Stats()
		if got := stats.Readers["a"]; got.Pending != 3 || got.Read != 6 || got.Acked != 2 || stats.Records != 5 || stats.RecordBytes != 15 {
			t.Errorf("stats %+v", stats)
		}
		if err := big.Ack(); err != nil {
			t.Error(err)
		}
		if got := drain(t, r); !slices.Equal(got, []string{"three", "four"}) {
			t.Errorf("drained %q", got)
		}
		if got := drain(t, s.Reader("late")); len(got) != 5 {
			t.Errorf("a new reader got %q, want all that is kept", got)
		}
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{})
		r := s.Reader("a")
		got := make(chan string, 1)
		go func() {
			l, err := r.Next(t.Context(), 100)
			got <- fmt.Sprint(texts(l), err)
		}()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("Next did not wait: %s", <-got)
		}
		add(t, s, "x")
		if text := <-got; text != "[x] <nil>" {
			t.Errorf("Next returned %s", text)
		}
		r = s.Reader("b")
		drain(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Next(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time Next returned %v", err)
		}
		go func() {
			_, err := r.Next(t.Context(), 100)
			got <- fmt.Sprint(err)
		}()
		synctest.Wait()
		if err := s.Forget("b"); err != nil {
			t.Error(err)
		}
		if text := <-got; text != ErrClosed.Error() {
			t.Errorf("Next of a forgotten reader returned %s", text)
		}
		r = s.Reader("c")
		l := leaseOf(t, r, 100)
		go func() {
			_, err := s.Reader("d").Next(t.Context(), 100)
			if err == nil {
				_, err = s.Reader("d").Next(t.Context(), 100)
			}
			got <- fmt.Sprint(err)
		}()
		if text := <-got; text != ErrLeased.Error() {
			t.Errorf("Next with a lease out returned %s", text)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.Close(), s.Append(nil), l.Ack(), s.Forget("c")); !errors.Is(err, ErrClosed) || strings.Count(err.Error(), "closed") != 3 {
			t.Errorf("after Close: %v", err)
		}
		if _, err := r.Next(t.Context(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("Next after Close returned %v", err)
		}
	})
}

func TestCloseWakesReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{})
		got := make(chan error, 3)
		for i := range 3 {
			go func() {
				_, err := s.Reader(fmt.Sprint(i%2)).Next(t.Context(), 100)
				got <- err
			}()
		}
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for range 3 {
			if err := <-got; !errors.Is(err, ErrClosed) {
				t.Errorf("Next returned %v", err)
			}
		}
	})
}

func TestReopen(t *testing.T) {
	c := Config{Dir: t.TempDir(), SegmentBytes: 200, MaxBytes: 1 << 20}
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("record %d %s", i, strings.Repeat("x", i)))
	}
	for i, record := range want {
		s := open(t, c)
		add(t, s, record)
		if i == 10 {
			l, err := s.Reader("a / b").NextUpTo(t.Context(), 1<<20, 3)
			if err != nil || l.Ack() != nil {
				t.Fatal(err)
			}
			leaseOf(t, s.Reader("a / b"), 1<<20) // neither acknowledged nor released
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, c)
	if got := s.Stats().Readers["a / b"].Pending; got != 37 {
		t.Errorf("%d records pending after restarts, want 37", got)
	}
	if got := drain(t, s.Reader("a / b")); !slices.Equal(got, want[3:]) {
		t.Errorf("got %q\nwant %q", got, want[3:])
	}
	if got := drain(t, s.Reader("b")); !slices.Equal(got, want[38:]) {
		t.Errorf("another reader got %q, want what is in the segment still kept", got)
	}
	// With everything acknowledged, numbers go on after a restart, or cursors would hide what is new.
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, c)
		add(t, s, "new")
		if got := drain(t, s.Reader("b")); !slices.Equal(got, []string{"new"}) {
			t.Errorf("after a restart the reader got %q", got)
		}
		drain(t, s.Reader("a / b"))
	}
}

func TestSegmentsGoWhenAllHaveAcknowledged(t *testing.T) {
	both(t, func(t *testing.T, c Config) {
		c.MaxBytes, c.SegmentBytes = 1<<20, 300
		s := open(t, c)
		a, b := s.Reader("a"), s.Reader("b")
		for range 50 {
			add(t, s, strings.Repeat("y", 100))
		}
		if n := s.Stats().Segments; n != 25 {
			t.Fatalf("%d segments, want 25", n)
		}
		drain(t, a)
		if n := s.Stats().Segments; n != 25 {
			t.Errorf("%d segments left while b has read nothing, want 25", n)
		}
		for range 10 {
			if err := leaseOf(t, b, 200).Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if stats := s.Stats(); stats.Segments != 15 || stats.Readers["b"].Pending != 30 {
			t.Errorf("stats %+v, want 15 segments and 30 pending", stats)
		}
		if err := s.Forget("b"); err != nil {
			t.Fatal(err)
		}
		if stats := s.Stats(); stats.Segments != 1 || stats.Evicted != 0 || len(stats.Readers) != 1 {
			t.Errorf("stats %+v, want the active segment alone and nothing evicted", stats)
		}
	})
}

func TestConfig(t *testing.T) {
	for want, c := range map[string]Config{
		"spool: 40 bytes are not enough for one record":              {MaxBytes: 40},
		"spool: segments of 2000 bytes do not fit into 1000":         {MaxBytes: 1000, SegmentBytes: 2000},
		"spool: an age of -1s is negative":                           {MaxAge: -time.Second},
		"spool: making the folder: mkdir /dev/null: not a directory": {Dir: "/dev/null/x"},
	} {
		if _, err := Open(c); err == nil || err.Error() != want {
			t.Errorf("%+v: got %v, want %s", c, err, want)
		}
	}
	s := open(t, Config{MaxBytes: 1000})
	if err := s.Append(make([]byte, 953)); !errors.Is(err, ErrTooLarge) || err.Error() != "spool: record too large: 953 bytes do not fit into a spool of 1000" {
		t.Errorf("got %v", err)
	}
	add(t, s, strings.Repeat("z", 952))
	if got := s.Stats().Bytes; got != 1000 {
		t.Errorf("%d bytes, want 1000", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []Sync{SyncAlways, SyncInterval} {
		b.Run([]string{"always", "interval"}[sync], func(b *testing.B) {
			s, err := Open(Config{Dir: b.TempDir(), Sync: sync})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			record := make([]byte, 1000)
			b.SetBytes(1000)
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := s.Append(record); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(s.Stats().Fsyncs)/float64(b.N), "fsyncs/op")
		})
	}
}
