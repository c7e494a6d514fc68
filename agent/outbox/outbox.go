// Package outbox keeps measured Results until a server has taken them: on disk where it can, in memory where it cannot,
// bounded by bytes and by age, through restarts, kill -9 and a disk that breaks while the agent runs.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/spool"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// readerName is the cursor of the uplink in the spool.
const readerName = "uplink"

// spareBytes bounds what is kept in memory in place of a disk. Routers with 128 MiB of memory are common, and at a
// Result of 1 kB each ten seconds this is most of a day.
const spareBytes = 8 << 20

// Lease is what the uplink has taken and not yet delivered.
type Lease interface {
	// Records are lines of line protocol, oldest Result first. They must not be changed.
	Records() [][]byte
	// Ack drops the records for good. A lease that was neither acknowledged nor released is delivered again after a restart.
	Ack() error
	// Release gives the records back: the next lease begins with them.
	Release()
}

// Outbox holds encoded Results in order. It is safe for concurrent use; Next is for one goroutine at a time.
type Outbox struct {
	config Config
	log    *slog.Logger
	main   store
	disk   bool  // main is on disk
	broken error // why it is not, though it was wanted

	mu      sync.Mutex
	spare   store              // in memory, for what main refused; nil while that never happened
	wake    context.CancelFunc // ends a Next that waits on main; nil while none waits
	written uint64             // Results that were put
	missed  uint64             // Results that main refused
	lost    uint64             // Results that found no place at all
}

// store is the part of a spool with one reader that the outbox needs.
type store struct {
	*spool.Spool
	reader *spool.Reader
}

func (s store) pending() spool.ReaderStats { return s.Stats().Readers[readerName] }

// Open opens the outbox. It never fails: where the folder cannot be used it says so in the log and in Stats, and keeps
// Results in memory.
func Open(c Config, log *slog.Logger) *Outbox {
	o := &Outbox{config: c, log: log}
	if c.Storage == RAM {
		o.main = memory(c, int64(c.MaxBytes))
		return o
	}
	dir := filepath.Join(c.Path, "outbox")
	s, err := spool.Open(spool.Config{
		Dir: dir, MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge,
		Sync: spool.SyncInterval, SyncEvery: c.SyncEvery, SyncBytes: int64(c.SyncBytes), Log: log,
	})
	if err == nil {
		o.main, o.disk = store{s, s.Reader(readerName)}, true
		return o
	}
	o.broken = err
	o.main = memory(c, min(int64(c.MaxBytes), spareBytes))
	say := log.Error
	if c.Storage == Auto {
		say = log.Warn
	}
	say("the outbox cannot be kept on disk: results are kept in memory and a restart loses those not yet delivered",
		"path", dir, "error", err, "remedy", "make the folder writable, or set outbox.path or outbox.storage: ram")
	return o
}

// memory opens a spool in memory, which cannot fail.
func memory(c Config, maxBytes int64) store {
	s, err := spool.Open(spool.Config{MaxBytes: maxBytes, MaxAge: c.MaxAge})
	if err != nil {
		panic(fmt.Sprintf("outbox: a spool in memory does not open: %v", err))
	}
	return store{s, s.Reader(readerName)}
}

// Put keeps a Result. When it returns nil the Result is acknowledged: from then on it outlives the process (on disk), and
// only an age or a size beyond the bounds of the Config drops it. What the disk refuses is kept in memory.
func (o *Outbox) Put(r *probes.Result) error {
	record := wire.Append(nil, r)
	err := o.main.Append(record)
	if err == nil || !o.disk || errors.Is(err, spool.ErrTooLarge) || errors.Is(err, spool.ErrClosed) {
		return o.counted(err)
	}
	return o.counted(o.putSpare(record, err))
}

func (o *Outbox) counted(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.written++
		return nil
	}
	o.lost++
	return fmt.Errorf("keeping a result in the outbox: %w", err)
}

func (o *Outbox) putSpare(record []byte, cause error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spare.Spool == nil {
		o.spare = memory(o.config, min(int64(o.config.MaxBytes), spareBytes))
	}
	if o.missed == 0 {
		o.log.Error("the outbox's disk refuses results: they are kept in memory, and a restart loses those not yet delivered",
			"path", o.config.Path, "error", cause, "remedy", "free space on the disk, or replace it")
	}
	o.missed++
	if o.wake != nil {
		o.wake()
	}
	return o.spare.Append(record)
}

// Next waits for a Result and leases up to maxBytes of them, at least one. What is in memory only goes first.
func (o *Outbox) Next(ctx context.Context, maxBytes int) (Lease, error) {
	for {
		if spare := o.spareStore(); spare.Spool != nil && spare.pending().Pending > 0 {
			return next(ctx, spare, maxBytes)
		}
		waiting, cancel := context.WithCancel(ctx)
		if !o.wait(cancel) {
			cancel()
			continue
		}
		lease, err := next(waiting, o.main, maxBytes)
		o.wait(nil)
		woken := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !woken {
			return lease, err
		}
	}
}

// next keeps a lease that is none from becoming an interface that is not nil.
func next(ctx context.Context, s store, maxBytes int) (Lease, error) {
	lease, err := s.reader.Next(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	return lease, nil
}

func (o *Outbox) spareStore() store {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.spare
}

// wait registers what ends a wait on main, unless there is something in memory already. nil ends the registration.
func (o *Outbox) wait(wake context.CancelFunc) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if wake != nil && o.spare.Spool != nil && o.spare.pending().Pending > 0 {
		return false
	}
	o.wake = wake
	return true
}

// Stats are the figures of the outbox.
type Stats struct {
	// Written is how many Results were put since the outbox was opened.
	Written uint64
	// Pending and PendingBytes are what was not delivered yet; OldestAge is the age of the oldest of it.
	Pending, PendingBytes uint64
	OldestAge             time.Duration
	// Evicted is how many Results were dropped for their age or for want of space, since the outbox was opened.
	Evicted uint64
	// Refused is how many Results the disk refused; they are in memory. Lost is how many could not be kept at all.
	Refused, Lost uint64
	// DiskBytes is what was written to the disk, which matters to flash.
	DiskBytes uint64
	// OnDisk says whether Results are kept on disk. Broken is why not, where the disk was wanted.
	OnDisk bool
	Broken error
}

// Stats returns the present figures.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := o.main.Stats()
	reader := whole.Readers[readerName]
	s := Stats{
		Written: o.written,
		Pending: reader.Pending, PendingBytes: reader.PendingBytes, OldestAge: reader.OldestAge, Evicted: reader.Evicted,
		Refused: o.missed, Lost: o.lost, DiskBytes: whole.DiskBytes, OnDisk: o.disk, Broken: o.broken,
	}
	if o.spare.Spool != nil {
		spare := o.spare.pending()
		s.Pending += spare.Pending
		s.PendingBytes += spare.PendingBytes
		s.OldestAge = max(s.OldestAge, spare.OldestAge)
		s.Evicted += spare.Evicted
	}
	return s
}

// Pending is how many Results were not delivered yet.
func (o *Outbox) Pending() uint64 { return o.Stats().Pending }

// Close writes to disk what is not there yet and ends a waiting Next. Results in memory are gone.
func (o *Outbox) Close() error {
	err := o.main.Close()
	if spare := o.spareStore(); spare.Spool != nil {
		err = errors.Join(err, spare.Close())
	}
	return err
}
