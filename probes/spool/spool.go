// Package spool is a durable, bounded queue of opaque records on disk: what an agent measured while the link is down, and
// what a collector accepted while a store is.
//
// # Contract
//
// Append returns nil when the record is safe: from then on it survives kill -9, and a power cut as far as Config.Sync
// says. An Append that returned an error may or may not have kept its record, and leaves everything before it as it was.
//
// Each named Reader gets the records in the order of their Appends, from the oldest one that is still kept. Next leases a
// run of them; Ack moves the reader's cursor behind the lease, durably in the sense of Config.Sync; Release, or a restart
// without Ack, has them delivered again. A reader holds segments until it is told to Forget, in later processes too, asked for or
// not. So every record is delivered at least once, and in order, unless it is
//
//   - evicted: the oldest segments are dropped, read or not, when the spool would grow beyond MaxBytes, or when all of a
//     segment is older than MaxAge. A segment spans at most an eighth of MaxAge, so no record gets older than 9/8 of it
//     while the spool is in use.
//   - corrupt: from the first record that fails its checksum, the rest of that segment is skipped.
//
// Both are counted. A segment is deleted when every reader has acknowledged all of it; without readers only the bounds
// delete. Ages go by the monotonic clock for what this process appended, and by the wall clock for what an earlier one
// did; a time stamp from before 2025 or from the future is that of a clock that was not set, and counts from Open.
//
// Open refuses only folders that it cannot use and folders that are in use: any file in it may be damaged. What a crash
// left half written at the end is cut off.
//
// # On disk
//
// Segments are named by the number of their first record, 00000000000000000001.seg. Numbers are in little endian.
//
//	segment: "NRPSPOOL"  version u32 = 1  first u64  created u64 (Unix ns)  CRC-32C u32 of the 28 bytes before
//	record:  CRC-32C u32 of all that follows, with the record's number as u64 before it
//	         length u32  time u64 (Unix ns)  bytes
//
// Because the checksum covers the number, a record counts only in its own place. Cursors are files of one line,
// cursor.<reader>, written anew and renamed into place. The file lock is locked (flock) while the spool is open.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("spool: closed")
	// ErrLeased is returned by Next while the reader's lease is neither acknowledged nor released.
	ErrLeased = errors.New("spool: the reader's last lease is still out: acknowledge or release it first")
	// ErrTooLarge is wrapped by Append for a record that could never be kept.
	ErrTooLarge = errors.New("spool: record too large")
	// ErrInUse is wrapped by Open when the folder is open already, in this process or another.
	ErrInUse = errors.New("spool: in use")
)

// Sync says when records are made to survive a power cut.
type Sync uint8

// The ways to sync. Under all of them a record outlives the process (kill -9) once Append has returned.
const (
	// SyncAlways syncs before Append and Ack return. Concurrent Appends share one sync.
	SyncAlways Sync = iota
	// SyncInterval syncs at the latest SyncEvery after an Append, or when SyncBytes have gathered. A power cut may cost
	// what came since, and the latest Acks. It saves flash, which wears by the sync.
	SyncInterval
	// SyncNever leaves it to the operating system.
	SyncNever
)

// Config says where and how much is kept. The zero value keeps 64 MiB in memory.
type Config struct {
	// Dir is the folder; it is made when missing. "" keeps the records in memory, with the same contract but for
	// durability.
	Dir string
	// MaxBytes bounds the segments; 0 is DefaultMaxBytes. Cursors are some bytes besides.
	MaxBytes int64
	// MaxAge bounds how old a record may become; 0 is no bound.
	MaxAge time.Duration
	// SegmentBytes is the size at which a new segment begins; 0 is an eighth of MaxBytes, at most 8 MiB.
	SegmentBytes int64
	// Sync says when to sync.
	Sync Sync
	// SyncEvery and SyncBytes are for SyncInterval; 0 is 1 s and 1 MiB.
	SyncEvery time.Duration
	SyncBytes int64
	// Log is told what was lost or repaired; nil is silent.
	Log *slog.Logger
}

// DefaultMaxBytes is the bound when Config has none.
const DefaultMaxBytes = 64 << 20

// maxSegment keeps a segment a small part of what is dropped or skipped at once.
const maxSegment = 8 << 20

func (c Config) withDefaults() (Config, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = min(max(c.MaxBytes/8, headerSize+frameSize), maxSegment)
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = time.Second
	}
	if c.SyncBytes <= 0 {
		c.SyncBytes = 1 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.MaxBytes <= headerSize+frameSize:
		return c, fmt.Errorf("spool: %d bytes are not enough for one record", c.MaxBytes)
	case c.SegmentBytes < 0 || c.SegmentBytes > c.MaxBytes:
		return c, fmt.Errorf("spool: segments of %d bytes do not fit into %d", c.SegmentBytes, c.MaxBytes)
	case c.MaxAge < 0:
		return c, fmt.Errorf("spool: an age of %v is negative", c.MaxAge)
	default:
		return c, nil
	}
}

// Spool is an open spool. It is safe for concurrent use.
//
// Liveness: under SyncInterval a timer of at most one goroutine syncs; Close waits for it. There are no others.
type Spool struct {
	config Config
	folder folder
	disk   *counters
	opened time.Time

	// writing is the right to write: whoever has put something in. It is taken before mu.
	writing chan struct{}
	file    file           // of the active segment; belongs to whoever writes
	dirty   int64          // bytes not synced yet; belongs to whoever writes
	syncs   sync.WaitGroup // the timer's goroutine

	mu       sync.Mutex
	closed   bool
	done     chan struct{} // closed by Close
	changed  chan struct{} // closed and made anew when a record was added
	queue    []*batch      // waiting to be written
	segments []*segment    // oldest first
	active   *segment      // the last of them while it is being written to; nil otherwise
	bytes    int64         // of all segments
	next     uint64        // the number of the next record
	readers  map[string]*Reader
	timer    *time.Timer // nil while nothing waits for a sync
	stats    Stats
}

// Open opens or makes the spool. Damage in the folder is repaired, counted and logged.
func Open(c Config) (*Spool, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	disk := &counters{}
	if c.Dir == "" {
		return start(c, newMemory(), disk)
	}
	folder, err := openDir(c, disk)
	if err != nil {
		return nil, err
	}
	return start(c, folder, disk)
}

// start makes a spool of what is in the folder, which it closes in the end.
func start(c Config, f folder, disk *counters) (*Spool, error) {
	s := &Spool{
		config: c, folder: f, disk: disk, opened: time.Now(),
		writing: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{}),
		next: 1, readers: map[string]*Reader{},
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return s, nil
}

// Close writes what Appends under way have handed in, syncs and closes. Blocked and later calls get ErrClosed. It may be
// called more than once.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	if s.timer != nil && s.timer.Stop() {
		s.syncs.Done()
	}
	s.timer = nil
	readers := make([]*Reader, 0, len(s.readers))
	for _, r := range s.readers {
		readers = append(readers, r)
	}
	s.mu.Unlock()

	s.writing <- struct{}{}
	for s.writeNext() {
	}
	err := s.seal()
	<-s.writing
	s.syncs.Wait()
	for _, r := range readers {
		r.turn <- struct{}{}
		r.closeFile()
		<-r.turn
	}
	return errors.Join(err, s.folder.close())
}

// maxRecord is the length of the largest record that can be kept.
func (s *Spool) maxRecord() int64 {
	return min(s.config.MaxBytes-headerSize-frameSize, math.MaxInt32-frameSize)
}
