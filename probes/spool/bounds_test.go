package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMaxBytes(t *testing.T) {
	both(t, func(t *testing.T, c Config) {
		c.MaxBytes, c.SegmentBytes = 1000, 250
		s := open(t, c)
		r := s.Reader("a")
		held := Lease{}
		for i := range 100 {
			add(t, s, fmt.Sprintf("%04d%s", i, strings.Repeat("z", 80))) // 100 bytes on disk, two a segment
			if stats := s.Stats(); stats.Bytes > 1000 || c.Dir != "" && onDisk(t, c.Dir) > 1000+64 {
				t.Fatalf("%d bytes are kept, %d on disk, more than 1000", stats.Bytes, onDisk(t, c.Dir))
			}
			if i == 10 {
				held = leaseOf(t, r, 1) // the oldest of all; it is evicted while leased
			}
		}
		stats := s.Stats()
		of := stats.Readers["a"]
		// What is leased is not lost to the reader yet.
		if of.Pending+of.Evicted+1 != 100 || stats.Evicted != of.Evicted+1 || of.Pending != 8 {
			t.Errorf("%+v", stats)
		}
		if want := uint64(stats.Evicted * 116); stats.EvictedBytes != want { // with the half of a header each
			t.Errorf("%d bytes evicted, want %d", stats.EvictedBytes, want)
		}
		if err := held.Ack(); err != nil {
			t.Error(err)
		}
		if got := s.Stats().Readers["a"]; got.Evicted != of.Evicted || got.Acked != 1 {
			t.Errorf("after Ack: %+v", got)
		}
		got := drain(t, r)
		if len(got) != 8 || !strings.HasPrefix(got[0], "0092") || !strings.HasPrefix(got[7], "0099") {
			t.Errorf("got %q", got)
		}
	})
}

func TestReleaseOfWhatWasEvicted(t *testing.T) {
	s := open(t, Config{MaxBytes: 1000, SegmentBytes: 250})
	r := s.Reader("a")
	record := strings.Repeat("z", 84)
	add(t, s, record, record)
	l := leaseOf(t, r, 1000)
	for range 20 {
		add(t, s, record)
	}
	before := s.Stats().Readers["a"].Evicted
	l.Release()
	if got := s.Stats().Readers["a"]; got.Evicted != before+2 || got.Evicted+got.Pending != 22 {
		t.Errorf("after Release: %+v, with %d evicted before", got, before)
	}
}

func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), segmentSuffix) {
			total += info.Size()
		}
	}
	return total
}

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{MaxAge: 8 * time.Hour})
		r := s.Reader("a")
		for i := range 24 {
			add(t, s, fmt.Sprint(i))
			time.Sleep(time.Hour)
			stats := s.Stats()
			if stats.OldestAge > 9*time.Hour {
				t.Errorf("a record is %v old", stats.OldestAge)
			}
			if want := min(i+1, 8); stats.Readers["a"].Pending < uint64(want) {
				t.Errorf("hour %d: %d records are kept, want at least %d", i, stats.Readers["a"].Pending, want)
			}
		}
		l := leaseOf(t, r, 1)
		if got := texts(l); !slices.Equal(got, []string{"16"}) {
			t.Errorf("the oldest record kept is %q, want 16", got)
		}
		if got := s.Stats().Readers["a"]; got.Evicted != 16 || got.OldestAge != 8*time.Hour {
			t.Errorf("%+v, want 16 evicted and an age of 8 h", got)
		}
		time.Sleep(24 * time.Hour)
		if stats := s.Stats(); stats.Segments != 0 || stats.Evicted != 24 || stats.OldestAge != 0 {
			t.Errorf("a day later: %+v, want everything gone", stats)
		}
		if err := l.Ack(); err != nil {
			t.Error(err)
		}
		add(t, s, "new")
		if got := texts(leaseOf(t, r, 1)); !slices.Equal(got, []string{"new"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestOldestAgeIsThatOfTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{})
		r := s.Reader("a")
		for range 5 {
			add(t, s, "x")
			time.Sleep(time.Minute)
		}
		for i := range 5 {
			if got, want := s.Stats().OldestAge, time.Duration(5-i)*time.Minute; got != want {
				t.Errorf("with %d acknowledged: %v, want %v", i, got, want)
			}
			l, err := r.NextUpTo(t.Context(), 100, 1)
			if err != nil || l.Ack() != nil {
				t.Fatal(err)
			}
		}
		if got := s.Stats().OldestAge; got != 0 {
			t.Errorf("with nothing pending: %v", got)
		}
	})
}

// A device without a battery for its clock starts in 1970, or in the future. That must not make its records old.
func TestAgesWithAClockThatWasNotSet(t *testing.T) {
	c, segments := written(t, 30)
	c.MaxAge = time.Hour
	for _, stamp := range []time.Time{time.Unix(1000, 0), time.Now().Add(10 * 365 * 24 * time.Hour)} {
		for _, path := range segments {
			first := firstOf(t, path)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sealFrames(whole[headerSize:], first, stamp)
			whole = append(appendHeader(nil, first, stamp), whole[headerSize:]...)
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, c)
		s.Reader("a")
		if stats := s.Stats(); stats.Readers["a"].Pending != 30 || stats.OldestAge > time.Minute {
			t.Errorf("stamped %v: %+v, want all 30 kept and young", stamp, stats)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range segments { // a clock that was set
		first := firstOf(t, path)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		stamp := time.Now().Add(-2 * time.Hour)
		sealFrames(whole[headerSize:], first, stamp)
		whole = append(appendHeader(nil, first, stamp), whole[headerSize:]...)
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, c)
	if stats := s.Stats(); stats.Segments != 0 || stats.Evicted != 30 {
		t.Errorf("%+v, want all 30 gone after two hours", stats)
	}
}

// faulty is a folder in memory whose disk can be slow, full or broken.
type faulty struct {
	*memory
	write, sync func() error // nil does not fail
	syncs       atomic.Int64
}

func (f *faulty) create(first uint64) (file, error) {
	inner, err := f.memory.create(first)
	return &faultyFile{file: inner, folder: f}, err
}

type faultyFile struct {
	file
	folder *faulty
}

func (f *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if f.folder.write != nil {
		if err := f.folder.write(); err != nil {
			n, _ := f.file.WriteAt(b[:len(b)/2], at) // half of it got there
			return n, fmt.Errorf("appending to memory: %w", err)
		}
	}
	return f.file.WriteAt(b, at)
}

func (f *faultyFile) Sync() error {
	f.folder.syncs.Add(1)
	if f.folder.sync != nil {
		return f.folder.sync()
	}
	return nil
}

func startFaulty(t *testing.T, c Config) (*Spool, *faulty) {
	t.Helper()
	f := &faulty{memory: newMemory()}
	s, err := start(mustDefaults(t, c), f, &counters{})
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

func TestAppendsShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := startFaulty(t, Config{})
		f.sync = func() error { time.Sleep(10 * time.Millisecond); return nil }
		start := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { add(t, s, fmt.Sprint(i)) })
		}
		all.Wait()
		// The first syncs alone or with whoever came before it began; all others wait and share the second.
		if n, took := f.syncs.Load(), time.Since(start); n > 2 || took > 20*time.Millisecond {
			t.Errorf("%d syncs for 100 Appends at once, in %v; want at most 2", n, took)
		}
		if got := drain(t, s.Reader("a")); len(got) != 100 {
			t.Errorf("%d records, want 100", len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingIsReadBeforeItIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := startFaulty(t, Config{})
		release := make(chan error)
		f.sync = func() error { return <-release }
		appended := make(chan error, 1)
		go func() { appended <- s.Append([]byte("x")) }()
		synctest.Wait()
		r := s.Reader("a")
		if len(appended) != 0 || s.Stats().Readers["a"].Pending != 0 {
			t.Errorf("the record is there before it was synced")
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Errorf("Close did not wait for Append")
		}
		release <- nil
		if err := errors.Join(<-appended, <-closed); err != nil {
			t.Error(err)
		}
		if r.stats.Read != 0 || s.next != 2 {
			t.Errorf("read %d, next %d", r.stats.Read, s.next)
		}
	})
}

func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := startFaulty(t, Config{Sync: SyncInterval, SyncEvery: 4500 * time.Millisecond, SyncBytes: 10_000})
		for range 10 { // one a second
			add(t, s, "x")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := f.syncs.Load(); n != 2 {
			t.Errorf("%d syncs in 10 s, want one 4.5 s after the first Append and one 4.5 s after the next", n)
		}
		time.Sleep(time.Hour)
		if n := f.syncs.Load(); n != 2 {
			t.Errorf("%d syncs after an idle hour, want no more", n)
		}
		for range 10 {
			add(t, s, strings.Repeat("x", 5000))
		}
		if n := f.syncs.Load(); n != 2+5 {
			t.Errorf("%d syncs, want one more for each 10 kB", n)
		}
		add(t, s, "y")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := f.syncs.Load(); n != 8 {
			t.Errorf("%d syncs, want the last at Close", n)
		}
	})
}

func TestFaultyDisk(t *testing.T) {
	for _, where := range []string{"write", "sync"} {
		t.Run(where, func(t *testing.T) {
			s, f := startFaulty(t, Config{})
			defer s.Close()
			r := s.Reader("a")
			broken := error(nil)
			fault := func() error { return broken }
			if where == "write" {
				f.write = fault
			} else {
				f.sync = fault
			}
			var want []string
			for i := range 60 {
				broken = nil
				if i%3 != 0 {
					broken = syscall.EIO
				}
				record := fmt.Sprint(i)
				err := s.Append([]byte(record))
				if !errors.Is(err, broken) {
					t.Fatalf("Append returned %v, want %v", err, broken)
				}
				if err == nil {
					want = append(want, record)
				}
			}
			if got := drain(t, r); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
			if got := s.Stats(); got.Evicted != 0 || got.Corrupt != 0 {
				t.Errorf("%+v, want nothing lost", got)
			}
		})
	}
}
