package spool

import (
	"errors"
	"fmt"
	"time"
)

// batch is what one write takes to the disk.
type batch struct {
	frames  []byte
	records uint64
	done    chan struct{} // closed when err says how it went
	err     error
}

// maxBatch bounds what waits in memory for one write, but for a single record that is larger.
const maxBatch = 1 << 20

// Append adds a record and returns when it is safe in the sense of Config.Sync. It keeps nothing of the slice. When the
// disk is full it returns an error that names the path, and works again when there is space.
func (s *Spool) Append(record []byte) error {
	if int64(len(record)) > s.maxRecord() {
		return fmt.Errorf("%w: %d bytes do not fit into a spool of %d", ErrTooLarge, len(record), s.config.MaxBytes)
	}
	b, err := s.join(record)
	if err != nil {
		return err
	}
	for {
		// Whoever gets the right to write writes the oldest batch, which need not be the own one.
		select {
		case <-b.done:
			return b.err
		case s.writing <- struct{}{}:
			s.writeNext()
			<-s.writing
		}
	}
}

// join puts a record into the batch that waits.
func (s *Spool) join(record []byte) (*batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	limit := min(maxBatch, s.config.SegmentBytes-headerSize)
	size := int64(frameSize + len(record))
	if n := len(s.queue); n == 0 || int64(len(s.queue[n-1].frames))+size > limit {
		s.queue = append(s.queue, &batch{done: make(chan struct{})})
	}
	b := s.queue[len(s.queue)-1]
	b.frames = appendFrame(b.frames, record)
	b.records++
	return b, nil
}

// writeNext writes the oldest batch. It is false when none waits. The caller has the right to write.
func (s *Spool) writeNext() bool {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.mu.Unlock()
		return false
	}
	b := s.queue[0]
	s.queue = s.queue[1:]
	s.mu.Unlock()
	b.err = s.write(b)
	close(b.done)
	return true
}

func (s *Spool) write(b *batch) error {
	now := time.Now()
	seg, err := s.makeRoom(int64(len(b.frames)), now)
	if err != nil {
		return err
	}
	sealFrames(b.frames, s.next, now) // only the writer changes next
	frames := b.frames
	fresh := seg.size == 0
	if fresh {
		frames = append(appendHeader(make([]byte, 0, headerSize+len(frames)), seg.first, now), frames...)
	}
	if _, err := s.file.WriteAt(frames, seg.size); err != nil {
		s.rollBack(seg, false)
		return err
	}
	if s.config.Sync == SyncAlways {
		if err := s.file.Sync(); err != nil {
			s.rollBack(seg, true)
			return err
		}
	}
	s.publish(seg, b, int64(len(frames)), now)
	return s.syncLater(int64(len(frames)))
}

// makeRoom returns the segment to write to. When that is a new one, its size is 0 and it is not among s.segments yet.
func (s *Spool) makeRoom(size int64, now time.Time) (*segment, error) {
	s.mu.Lock()
	a := s.active
	full := a != nil && (a.sealed || a.size+size > s.config.SegmentBytes ||
		s.config.MaxAge > 0 && now.Sub(a.created) > s.config.MaxAge/8)
	s.mu.Unlock()
	if full {
		if err := s.seal(); err != nil {
			s.config.Log.Warn("a full segment could not be synced", "error", err)
		}
	}
	s.mu.Lock()
	victims := s.dropForLocked(size + headerSize)
	a = s.active
	s.mu.Unlock()
	s.removeFiles(victims)
	if a != nil {
		return a, nil
	}
	s.closeFile() // of an active segment that was dropped
	f, err := s.folder.create(s.next)
	if err != nil {
		return nil, err
	}
	s.file = f
	return &segment{first: s.next, next: s.next, created: now}, nil
}

// rollBack takes back a write that went wrong. After a failed sync nobody knows what the kernel still holds of a file, so
// no more is written to it.
func (s *Spool) rollBack(seg *segment, unknown bool) {
	if seg.size == 0 {
		s.closeFile()
		s.removeFiles([]*segment{seg})
		return
	}
	if err := s.file.Truncate(seg.size); err != nil || unknown {
		err = errors.Join(err, s.seal())
		s.config.Log.Warn("a write went wrong: going on in a new segment", "segment", segmentName(seg.first), "error", err)
	}
}

func (s *Spool) closeFile() {
	if s.file != nil {
		if err := s.file.Close(); err != nil {
			s.config.Log.Warn("closing a segment", "error", err)
		}
		s.file = nil
	}
	s.dirty = 0
}

// publish shows a batch to the readers.
func (s *Spool) publish(seg *segment, b *batch, written int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.size == 0 {
		s.segments = append(s.segments, seg)
		s.active = seg
	}
	seg.size += written
	seg.next += b.records
	seg.newest = now
	s.bytes += written
	s.next = seg.next
	s.stats.Records += b.records
	s.stats.RecordBytes += uint64(len(b.frames)) - b.records*frameSize
	close(s.changed)
	s.changed = make(chan struct{})
}

// seal syncs and closes the active segment, so that the next write begins a new one. The caller has the right to write.
func (s *Spool) seal() error {
	s.mu.Lock()
	s.active = nil
	s.mu.Unlock()
	var err error
	if s.file != nil && s.dirty > 0 && s.config.Sync != SyncNever {
		err = s.file.Sync()
	}
	s.closeFile()
	return err
}

// syncLater sees to it that what was written under SyncInterval is synced in time.
func (s *Spool) syncLater(written int64) error {
	if s.config.Sync != SyncInterval {
		return nil
	}
	s.dirty += written
	if s.dirty >= s.config.SyncBytes {
		return s.syncNow()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.closed {
		s.syncs.Add(1)
		s.timer = time.AfterFunc(s.config.SyncEvery, s.syncByTimer)
	}
	return nil
}

func (s *Spool) syncByTimer() {
	defer s.syncs.Done()
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	s.timer = nil
	s.mu.Unlock()
	if err := s.syncNow(); err != nil {
		s.config.Log.Error("records that were taken may not survive a power cut", "error", err)
	}
}

// syncNow syncs the active segment. The caller has the right to write.
func (s *Spool) syncNow() error {
	if s.file == nil || s.dirty == 0 {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		s.dirty = 0
		return errors.Join(err, s.seal())
	}
	s.dirty = 0
	return nil
}
