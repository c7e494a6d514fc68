package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

func result(seq uint64) *probes.Result {
	return &probes.Result{
		ID: probes.ID{Agent: "a", Boot: "b", Seq: seq}, Agent: "a", Kind: "stamp", Probe: "p", Target: "h",
		Start: time.Unix(1_790_000_000+int64(seq), 0), Outcome: probes.OK, Values: map[string]float64{"rtt_p50_seconds": 0.02},
	}
}

func config(path, storage string) Config {
	c := Default()
	c.Path, c.Storage = path, storage
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func put(t *testing.T, o *Outbox, seqs ...uint64) {
	t.Helper()
	for _, seq := range seqs {
		if err := o.Put(result(seq)); err != nil {
			t.Fatal(err)
		}
	}
}

// take leases once and returns the sequence numbers.
func take(t *testing.T, o *Outbox) ([]uint64, Lease) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	lease, err := o.Next(ctx, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, record := range lease.Records() {
		for _, r := range wire.Decode(record, wire.Options{}).Results {
			seqs = append(seqs, r.ID.Seq)
		}
	}
	return seqs, lease
}

func TestKeepsOrderUntilAcknowledged(t *testing.T) {
	for _, storage := range []string{RAM, Flash, Auto} {
		o := Open(config(t.TempDir(), storage), quiet())
		put(t, o, 1, 2, 3)
		seqs, lease := take(t, o)
		if fmt.Sprint(seqs) != "[1 2 3]" {
			t.Errorf("%s: took %v", storage, seqs)
		}
		lease.Release()
		seqs, lease = take(t, o)
		if fmt.Sprint(seqs) != "[1 2 3]" {
			t.Errorf("%s: took %v after the release", storage, seqs)
		}
		put(t, o, 4)
		if err := lease.Ack(); err != nil {
			t.Fatal(err)
		}
		s := o.Stats()
		if s.Pending != 1 || s.Written != 4 || s.OnDisk != (storage != RAM) || s.Evicted != 0 || s.PendingBytes == 0 {
			t.Errorf("%s: stats %+v", storage, s)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if err := o.Put(result(5)); err == nil {
			t.Errorf("%s: a closed outbox took a result", storage)
		}
	}
}

func TestOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	o := Open(config(dir, Auto), quiet())
	put(t, o, 1, 2, 3)
	if _, lease := take(t, o); lease == nil {
		t.Fatal("no lease") // which is neither acknowledged nor released
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = Open(config(dir, Auto), quiet())
	defer o.Close()
	put(t, o, 4)
	if seqs, _ := take(t, o); fmt.Sprint(seqs) != "[1 2 3 4]" {
		t.Errorf("took %v after the restart", seqs)
	}
}

func TestNeverRefusesToStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	inUse := t.TempDir()
	first := Open(config(inUse, Flash), quiet())
	defer first.Close()
	for name, c := range map[string]Config{
		"a file in place of the folder": config(file, Flash), "the same, auto": config(file, Auto), "a folder in use": config(inUse, Flash),
	} {
		var log bytes.Buffer
		o := Open(c, slog.New(slog.NewTextHandler(&log, nil)))
		put(t, o, 1)
		if seqs, _ := take(t, o); fmt.Sprint(seqs) != "[1]" {
			t.Errorf("%s: took %v", name, seqs)
		}
		s := o.Stats()
		if s.OnDisk || s.Broken == nil || !strings.Contains(log.String(), "kept in memory") || !strings.Contains(log.String(), "outbox.path") {
			t.Errorf("%s: stats %+v, log %s", name, s, &log)
		}
		if err := o.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatTheDiskRefusesStaysInMemory(t *testing.T) {
	var log bytes.Buffer
	o := Open(config(t.TempDir(), Flash), slog.New(slog.NewTextHandler(&log, nil)))
	defer o.Close()
	put(t, o, 1)
	refusal := errors.New("no space left on device")
	for seq := uint64(2); seq <= 3; seq++ {
		if err := o.putSpare(wire.Append(nil, result(seq)), refusal); err != nil {
			t.Fatal(err)
		}
	}
	put(t, o, 4)
	var order []uint64
	for o.Pending() > 0 {
		seqs, lease := take(t, o)
		order = append(order, seqs...)
		if err := lease.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(order) != "[2 3 1 4]" {
		t.Errorf("took %v, want what is in memory first", order)
	}
	if s := o.Stats(); s.Refused != 2 || !s.OnDisk {
		t.Errorf("stats %+v", s)
	}
	if strings.Count(log.String(), "refuses results") != 1 {
		t.Errorf("log: %s", &log)
	}
}

func TestAResultInMemoryWakesAWaitForTheDisk(t *testing.T) {
	o := Open(config(t.TempDir(), Flash), quiet())
	defer o.Close()
	got := make(chan []uint64)
	go func() {
		seqs, _ := take(t, o)
		got <- seqs
	}()
	if err := o.putSpare(wire.Append(nil, result(7)), errors.New("read-only file system")); err != nil {
		t.Fatal(err)
	}
	if seqs := <-got; fmt.Sprint(seqs) != "[7]" {
		t.Errorf("took %v", seqs)
	}
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config("", RAM)
		c.MaxBytes, c.MaxAge = 64<<10, time.Hour
		o := Open(c, quiet())
		defer o.Close()
		for seq := range uint64(2000) {
			put(t, o, seq+1)
		}
		s := o.Stats()
		if s.Evicted == 0 || s.Pending+s.Evicted != 2000 || s.PendingBytes > 64<<10 {
			t.Errorf("stats %+v: want no more than 64 KiB, and every result counted", s)
		}
		var kept []uint64
		for o.Pending() > 0 {
			seqs, lease := take(t, o)
			kept = append(kept, seqs...)
			if err := lease.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if first := 2001 - s.Pending; kept[0] != first || kept[len(kept)-1] != 2000 || uint64(len(kept)) != s.Pending {
			t.Errorf("kept %d results from %d to %d, want the newest %d", len(kept), kept[0], kept[len(kept)-1], s.Pending)
		}
		put(t, o, 3000)
		time.Sleep(30 * time.Minute)
		if got := o.Stats().OldestAge; got != 30*time.Minute {
			t.Errorf("the oldest is %v old, want 30m", got)
		}
	})
}

func TestNextEndsWithItsContextAndWithClose(t *testing.T) {
	o := Open(config(t.TempDir(), Flash), quiet())
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error)
	go func() {
		_, err := o.Next(ctx, 1<<20)
		ends <- err
	}()
	cancel()
	if err := <-ends; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() {
		_, err := o.Next(t.Context(), 1<<20)
		ends <- err
	}()
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ends; err == nil {
		t.Error("a closed outbox gave a lease")
	}
}
