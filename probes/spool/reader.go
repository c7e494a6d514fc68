package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Reader is a named position in the spool that survives restarts. It is safe for concurrent use, though Next is meant for
// one goroutine.
type Reader struct {
	spool *Spool
	name  string

	// turn is the right to read, and to use what follows.
	turn      chan struct{}
	file      file
	fileFirst uint64 // the segment that file is

	saving sync.Mutex // cursors reach the disk in their order

	// Spool.mu guards these.
	cursor uint64 // the first record that is not acknowledged
	at     place  // where a record at or before the cursor lies in segment atFirst
	atSeg  *segment
	lease  *lease
	gone   bool // forgotten
	oldest oldest
	stats  ReaderStats
}

// Reader returns the reader of that name, the same one each time. One that has not been there before begins at the oldest
// record that is kept. Names are any text of up to 60 bytes.
func (s *Spool) Reader(name string) *Reader {
	s.mu.Lock()
	r, known := s.readers[name]
	if !known {
		r = &Reader{spool: s, name: name, cursor: s.next, turn: make(chan struct{}, 1)}
		if len(s.segments) > 0 {
			r.cursor = s.segments[0].first
		}
		s.readers[name] = r
	}
	closed := s.closed
	s.mu.Unlock()
	if !known && !closed {
		if err := r.save(); err != nil {
			s.config.Log.Warn("a new reader is not on disk yet: it will be with its first acknowledgement", "reader", name, "error", err)
		}
	}
	return r
}

// Forget drops a reader and its cursor, so that it holds no segments any more. Its Next returns ErrClosed from then on.
func (s *Spool) Forget(name string) error {
	s.mu.Lock()
	r, known := s.readers[name]
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if !known {
		s.mu.Unlock()
		return nil
	}
	r.gone = true
	delete(s.readers, name)
	close(s.changed) // wakes its Next
	s.changed = make(chan struct{})
	s.mu.Unlock()
	r.turn <- struct{}{}
	r.closeFile()
	<-r.turn
	s.dropAcknowledged()
	r.saving.Lock()
	defer r.saving.Unlock()
	return s.folder.forget(name)
}

// Next waits for a record and leases records of up to maxBytes together, but at least one. It blocks until there is one,
// ctx ends or the spool is closed, and returns ErrLeased at once while the last lease is out. A reader is meant for one
// goroutine; more of them wait for each other.
func (r *Reader) Next(ctx context.Context, maxBytes int) (Lease, error) {
	return r.NextUpTo(ctx, maxBytes, 0)
}

// NextUpTo is Next with a bound on the number of records too; 0 is no bound.
func (r *Reader) NextUpTo(ctx context.Context, maxBytes, maxRecords int) (Lease, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return Lease{}, ctx.Err()
	}
	for {
		if err := ctx.Err(); err != nil {
			return Lease{}, err
		}
		r.spool.expire()
		p, wait, err := r.plan()
		if err != nil {
			r.closeFile()
			return Lease{}, err
		}
		if wait != nil {
			select {
			case <-wait:
			case <-r.spool.done:
			case <-ctx.Done():
			}
			continue
		}
		l, err := r.read(p, maxBytes, maxRecords)
		switch {
		case errors.Is(err, errCorrupt):
			r.skip(p, l.end)
		case errors.Is(err, fs.ErrNotExist):
			if !r.vanished(p) {
				return Lease{}, err
			}
		case err != nil:
			return Lease{}, err
		case r.take(p, l):
			return Lease{l}, nil
		}
	}
}

// plan is what to read.
type plan struct {
	seg    *segment
	cursor uint64
	start  place // of a record at or before the cursor
	end    place // behind the last record that may be read
}

// plan finds the record at the cursor; wait is set instead when there is none yet.
func (r *Reader) plan() (p plan, wait <-chan struct{}, err error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || r.gone:
		return p, nil, ErrClosed
	case r.lease != nil:
		return p, nil, ErrLeased
	}
	for _, seg := range s.segments {
		if seg.next <= r.cursor {
			continue
		}
		r.cursor = max(r.cursor, seg.first)
		if r.atSeg != seg || r.at.number > r.cursor {
			r.atSeg, r.at = seg, place{seg.first, headerSize}
		}
		return plan{seg: seg, cursor: r.cursor, start: r.at, end: place{seg.next, seg.size}}, nil, nil
	}
	return p, s.changed, nil
}

// read reads from the cursor on. With errCorrupt the lease's end is where the bad record is.
func (r *Reader) read(p plan, maxBytes, maxRecords int) (*lease, error) {
	l := &lease{reader: r, seg: p.seg, from: p.cursor, end: p.start}
	if r.file == nil || r.fileFirst != p.seg.first {
		r.closeFile()
		f, err := r.spool.folder.open(p.seg.first)
		if err != nil {
			return l, err
		}
		r.file, r.fileFirst = f, p.seg.first
	}
	frames := readFrames(r.file, p.start, p.end.offset)
	for frames.number < p.cursor { // read already, good or not
		if _, _, err := frames.frame(); err != nil {
			return l, errCorrupt
		}
		l.end = place{frames.number, frames.offset}
	}
	bytes := 0
	for frames.number < p.end.number {
		length, err := frames.length()
		if err == nil && len(l.records) > 0 && int64(bytes)+length > int64(maxBytes) {
			break
		}
		record, _, err := frames.next()
		if err != nil {
			if len(l.records) > 0 {
				break // the next lease begins with what is wrong
			}
			return l, errCorrupt // io.EOF too: the segment that follows says there are more
		}
		l.end = place{frames.number, frames.offset}
		l.records = append(l.records, record)
		if bytes += len(record); maxRecords > 0 && len(l.records) >= maxRecords {
			break
		}
	}
	return l, nil
}

// take makes a lease of what was read, unless it was evicted meanwhile.
func (r *Reader) take(p plan, l *lease) bool {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	if r.cursor != p.cursor || r.gone || len(l.records) == 0 {
		return false
	}
	r.lease = l
	r.stats.Read += uint64(len(l.records))
	return true
}

// skip goes to the end of what is known of a segment with a bad record. What is appended to the segment later can be
// read, but a new one begins as soon as possible.
func (r *Reader) skip(p plan, bad place) {
	s := r.spool
	s.mu.Lock()
	if !p.seg.counted {
		p.seg.counted = true
		lost := p.end.number - max(bad.number, p.cursor)
		s.stats.Corrupt += lost
		s.config.Log.Warn("skipping records that cannot be read", "segment", segmentName(p.seg.first), "offset", bad.offset, "records", lost)
	}
	p.seg.sealed = true
	if r.cursor == p.cursor {
		r.cursor, r.atSeg, r.at = p.end.number, p.seg, p.end
	}
	s.mu.Unlock()
	s.dropAcknowledged()
}

// vanished deals with a segment whose file is not there. When the spool dropped it, the next plan knows; when somebody
// else deleted it, its records are lost. It is false when the segment is being written to, which cannot be helped here.
func (r *Reader) vanished(p plan) bool {
	s := r.spool
	s.mu.Lock()
	listed, active := false, p.seg == s.active
	for _, seg := range s.segments {
		listed = listed || seg == p.seg
	}
	s.mu.Unlock()
	if listed && !active {
		r.skip(p, place{p.cursor, headerSize})
	}
	return !active
}

func (r *Reader) closeFile() {
	if r.file != nil {
		if err := r.file.Close(); err != nil {
			r.spool.config.Log.Warn("closing a segment", "error", err)
		}
		r.file = nil
	}
}

// save brings the cursor to the disk.
func (r *Reader) save() error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.spool.mu.Lock()
	next, gone := r.cursor, r.gone
	r.spool.mu.Unlock()
	if gone {
		return ErrClosed
	}
	if err := r.spool.folder.save(r.name, next); err != nil {
		return fmt.Errorf("keeping the cursor of reader %q: %w", r.name, err)
	}
	return nil
}
