// Package queue keeps accepted batches on disk until every sink has them. Each sink reads at its own pace, so that a slow
// or dead one holds up no other; what is kept is bounded, and what a sink missed because of that is counted for that sink.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes/spool"
)

// Config says where and how much is kept.
type Config struct {
	Path     string        `yaml:"path" help:"folder of the queue; it also holds what the collector remembers of the Results it has seen"`
	MaxBytes unit.Bytes    `yaml:"max_bytes" help:"largest size on disk; beyond it the oldest batches are dropped and counted" min:"1MiB"`
	MaxAge   time.Duration `yaml:"max_age" help:"oldest batch that is kept for a sink that does not take it; 0 for no limit" min:"0s"`
}

// Defaults is the configuration without a file. 1 GiB is about a day of a thousand agents with a Result every 10 s; 7 days is as long as an agent's own outbox.
func Defaults() Config { return Config{MaxBytes: 1 << 30, MaxAge: 7 * 24 * time.Hour} }

// Errors that callers tell apart.
var (
	// ErrClosed is wrapped by everything after Close.
	ErrClosed = spool.ErrClosed
	// ErrTooLarge is wrapped by Append for a batch that the queue could never keep.
	ErrTooLarge = spool.ErrTooLarge
)

// Queue is an open queue. It is safe for concurrent use.
type Queue struct {
	spool *spool.Spool
	log   *slog.Logger
}

// Open opens or makes the queue for these readers. Readers that earlier runs had and that are not named any more are
// forgotten, so that they hold nothing back.
func Open(c Config, readers []string, log *slog.Logger) (*Queue, error) {
	folder := "" // without a path batches are kept in memory, for tests
	if c.Path != "" {
		folder = filepath.Join(c.Path, "batches")
	}
	s, err := spool.Open(spool.Config{
		Dir: folder, MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge,
		Sync: spool.SyncAlways, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("opening queue: %w", err)
	}
	q := &Queue{spool: s, log: log}
	wanted := map[string]bool{}
	for _, name := range readers {
		wanted[name] = true
		s.Reader(name)
	}
	for name := range s.Stats().Readers {
		if wanted[name] {
			continue
		}
		log.Info("forgetting a sink that is not configured any more", "sink", name)
		if err := s.Forget(name); err != nil {
			return nil, errors.Join(fmt.Errorf("forgetting sink %s: %w", name, err), s.Close())
		}
	}
	return q, nil
}

// Append adds a batch and returns when it is on disk for good.
func (q *Queue) Append(b Batch) error { return q.spool.Append(b.encode()) }

// Stats returns the present figures; readers are by name.
func (q *Queue) Stats() spool.Stats { return q.spool.Stats() }

// Close waits for Appends under way and closes. Readers that wait get ErrClosed.
func (q *Queue) Close() error { return q.spool.Close() }

// Reader returns the reader of that name.
func (q *Queue) Reader(name string) *Reader {
	return &Reader{reader: q.spool.Reader(name), queue: q, name: name}
}

// Reader is one sink's position in the queue. It outlives the process. It is for one goroutine.
type Reader struct {
	reader *spool.Reader
	queue  *Queue
	name   string
}

// Pending is how many batches the reader has not acknowledged.
func (r *Reader) Pending() uint64 { return r.queue.Stats().Readers[r.name].Pending }

// Next waits for a batch and leases up to maxBytes of batches as they lie on disk, at least one.
func (r *Reader) Next(ctx context.Context, maxBytes int) (Lease, error) {
	return r.NextUpTo(ctx, maxBytes, 0)
}

// NextUpTo is Next with a bound on the number of batches too; 0 is no bound.
func (r *Reader) NextUpTo(ctx context.Context, maxBytes, maxBatches int) (Lease, error) {
	leased, err := r.reader.NextUpTo(ctx, maxBytes, maxBatches)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{lease: leased}
	for _, record := range leased.Records() {
		b, err := decode(record)
		if err != nil {
			r.queue.log.Error("dropping a batch that cannot be read", "sink", r.name, "bytes", len(record), "error", err)
			continue
		}
		l.Batches = append(l.Batches, b)
	}
	return l, nil
}

// Lease is what a reader has taken and not yet acknowledged.
type Lease struct {
	// Batches are the oldest ones that the reader has not acknowledged, in their order.
	Batches []Batch
	lease   spool.Lease
}

// Ack says that the batches are dealt with. After it they are never delivered to this reader again.
func (l Lease) Ack() error { return l.lease.Ack() }

// Records is how many batches the lease holds, those that could not be read included.
func (l Lease) Records() int { return len(l.lease.Records()) }

// Release gives the batches back; Next delivers them again.
func (l Lease) Release() { l.lease.Release() }
