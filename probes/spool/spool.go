// Package spool is a durable, bounded FIFO of opaque records on disk.
package spool

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("spool: closed")
	// ErrLeased is returned by Next while the reader's lease is neither acknowledged nor released.
	ErrLeased = errors.New("spool: the reader's last lease is still out: acknowledge or release it first")
	// ErrTooLarge is wrapped by Append for a record that could never be kept.
	ErrTooLarge = errors.New("spool: record too large")
	// ErrInUse is wrapped by Open when another process has the folder open.
	ErrInUse = errors.New("spool: in use")
)

// Sync says when records are made to survive a power cut.
type Sync uint8

// The ways to sync. Under all of them a record outlives the process (kill -9) once Append has returned.
const (
	// SyncAlways syncs before Append returns. Concurrent Appends share one.
	SyncAlways Sync = iota
	// SyncInterval syncs at the latest SyncEvery after Append, or when SyncBytes have gathered.
	SyncInterval
	// SyncNever leaves it to the operating system.
	SyncNever
)

// Config says where and how much is kept. The zero value keeps 64 MiB in memory.
type Config struct {
	// Dir is the folder; it is made when missing. "" keeps the records in memory.
	Dir string
	// MaxBytes bounds the segments on disk; 0 is DefaultMaxBytes.
	MaxBytes int64
	// MaxAge bounds how old a record may become; 0 is no bound.
	MaxAge time.Duration
	// SegmentBytes is the size at which a new segment begins; 0 is an eighth of MaxBytes within 64 KiB and 8 MiB.
	SegmentBytes int64
	// Sync, SyncEvery and SyncBytes say when to sync; the latter two are for SyncInterval, 0 is 1 s and 1 MiB.
	Sync      Sync
	SyncEvery time.Duration
	SyncBytes int64
	// Log is told what was lost or repaired; nil is silent.
	Log *slog.Logger
}

// DefaultMaxBytes is the bound when Config has none.
const DefaultMaxBytes = 64 << 20

// Spool is an open spool. It is safe for concurrent use.
type Spool struct{}

// Open opens or makes the spool.
func Open(c Config) (*Spool, error) { return &Spool{}, nil }

// Append adds a record and returns when it is durable in the sense of Config.Sync.
func (s *Spool) Append(record []byte) error { return nil }

// Reader returns the reader of that name, the same one each time.
func (s *Spool) Reader(name string) *Reader { return &Reader{} }

// Forget drops a reader and its cursor, so that it holds no segments any more.
func (s *Spool) Forget(name string) error { return nil }

// Stats returns the present figures.
func (s *Spool) Stats() Stats { return Stats{} }

// Close waits for Appends that are under way, syncs and closes. Blocked readers get ErrClosed.
func (s *Spool) Close() error { return nil }

// Reader is a named position in the spool that survives restarts.
type Reader struct{}

// Next waits for a record and leases up to maxBytes of records (at least one).
func (r *Reader) Next(ctx context.Context, maxBytes int) (Lease, error) { return Lease{}, nil }

// NextUpTo is Next with a bound on the number of records too; 0 is no bound.
func (r *Reader) NextUpTo(ctx context.Context, maxBytes, maxRecords int) (Lease, error) {
	return Lease{}, nil
}

// Lease is what a reader has taken and not yet acknowledged.
type Lease struct{}

// Records returns the leased records, oldest first.
func (l Lease) Records() [][]byte { return nil }

// Ack moves the reader's cursor behind the lease, durably.
func (l Lease) Ack() error { return nil }

// Release gives the records back; the next Next delivers them again.
func (l Lease) Release() {}

// Stats are the figures of a spool since it was opened, except where they say otherwise.
type Stats struct {
	// Segments and Bytes are what is kept at present.
	Segments int
	Bytes    int64
	// Records and RecordBytes are what was appended.
	Records, RecordBytes uint64
	// Evicted is what was dropped for MaxBytes or MaxAge before every reader had acknowledged it.
	Evicted, EvictedBytes uint64
	// Corrupt is how many records could not be read; TornBytes is what a crash left half written.
	Corrupt, TornBytes uint64
	// Fsyncs and DiskBytes are what was asked of the disk, cursors included.
	Fsyncs, DiskBytes uint64
	// OldestAge is the age of the oldest record that some reader has not acknowledged.
	OldestAge time.Duration
	// Readers by name.
	Readers map[string]ReaderStats
}

// ReaderStats are the figures of one reader.
type ReaderStats struct {
	// Pending and PendingBytes are what it has not acknowledged yet.
	Pending, PendingBytes uint64
	// Read is how many records were leased, redeliveries included; Acked how many were acknowledged.
	Read, Acked uint64
	// Evicted is how many were dropped before it had acknowledged them.
	Evicted uint64
	// OldestAge is the age of the oldest pending record.
	OldestAge time.Duration
}
