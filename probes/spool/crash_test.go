package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// childVariable makes the test binary a process that appends to the folder it names, until it is killed.
const childVariable = "NRPROBE_SPOOL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child appends numbered records from four goroutines and prints each number once it is acknowledged. A reader goes
// along, so that cursors are written and segments deleted at the moment of death too.
func child(dir string) error {
	var config Config
	if _, err := fmt.Sscan(os.Getenv(childVariable+"_SYNC"), &config.Sync); err != nil {
		return err
	}
	config.Dir, config.SegmentBytes = dir, 4096
	s, err := Open(config)
	if err != nil {
		return err
	}
	fmt.Println("open")
	go func() {
		r := s.Reader("along")
		for {
			l, err := r.Next(context.Background(), 2000)
			if err != nil || l.Ack() != nil {
				return
			}
		}
	}()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
				if err := s.Append([]byte(name + strings.Repeat(" ", i%300))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(name) // one write: lines of two goroutines do not mix
			}
		})
	}
	all.Wait()
	return errors.New("no Append is left")
}

func TestKill9(t *testing.T) {
	for _, how := range []Sync{SyncAlways, SyncInterval, SyncNever} {
		t.Run(strconv.Itoa(int(how)), func(t *testing.T) {
			c := Config{Dir: t.TempDir(), SegmentBytes: 4096, Sync: how}
			s := open(t, c)
			s.Reader("checker") // holds everything
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(9, uint64(how)))
			acked := map[string]bool{}
			for range 5 {
				for _, name := range killed(t, c, 1+rng.IntN(400)) {
					acked[name] = true
				}
			}
			s = open(t, c)
			stats := s.Stats()
			seen := map[string]int{}
			for _, record := range drain(t, s.Reader("checker")) {
				seen[strings.TrimRight(record, " ")]++
			}
			for name := range acked {
				if seen[name] != 1 {
					t.Errorf("the acknowledged record %s was delivered %d times", name, seen[name])
				}
			}
			if stats.Corrupt != 0 || stats.Evicted != 0 {
				t.Errorf("%+v", stats)
			}
			t.Logf("%d records acknowledged, %d delivered, %d torn bytes at the last open", len(acked), len(seen), stats.TornBytes)
		})
	}
}

// killed runs a child, kills it after it has acknowledged some records, and returns all that it acknowledged.
func killed(t *testing.T, c Config, after int) (acked []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+c.Dir, fmt.Sprintf("%s_SYNC=%d", childVariable, c.Sync))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() { // to the end: what it printed before it died counts
		if len(acked) == 0 && lines.Text() == "open" {
			if _, err := Open(c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), c.Dir) {
				t.Errorf("Open beside another process: %v, want %v", err, ErrInUse)
			}
			continue
		}
		if acked = append(acked, lines.Text()); len(acked) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(acked) < after {
		t.Fatalf("the child ended by itself: %v, after %d records", err, len(acked))
	}
	return acked
}

func TestInUse(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := open(t, c)
	if _, err := Open(c); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Open: %v, want %v", err, ErrInUse)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, c)
}

// A disk that fills up, with a real one: Append says so, nothing is lost, and it goes on when there is space.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	for _, how := range []Sync{SyncAlways, SyncInterval} {
		t.Run(strconv.Itoa(int(how)), func(t *testing.T) {
			c := Config{Dir: dir + "/spool" + strconv.Itoa(int(how)), MaxBytes: 64 << 20, SegmentBytes: 64 << 10, Sync: how}
			s := open(t, c)
			r := s.Reader("a")
			ballast := dir + "/ballast"
			if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			var want []string
			var failed error
			for i := 0; failed == nil && i < 10_000; i++ {
				record := fmt.Sprint(i, strings.Repeat("d", 1000+i%500))
				if failed = s.Append([]byte(record)); failed == nil {
					want = append(want, record)
				}
			}
			if !errors.Is(failed, syscall.ENOSPC) || !strings.Contains(failed.Error(), c.Dir) {
				t.Fatalf("Append on a full disk returned %v after %d records", failed, len(want))
			}
			if err := s.Append([]byte(strings.Repeat("e", 5000))); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Append on a full disk returned %v", err)
			}
			if stats := s.Stats(); stats.Evicted != 0 || stats.Readers["a"].Pending != uint64(len(want)) {
				t.Errorf("%+v, want %d pending and nothing evicted", stats, len(want))
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			add(t, s, "again")
			if got := drain(t, r); strings.Join(got, ",") != strings.Join(append(want, "again"), ",") {
				t.Errorf("got %d records, want %d", len(got), len(want)+1)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}
