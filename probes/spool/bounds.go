package spool

import (
	"errors"
	"io/fs"
	"time"
)

// dropForLocked drops the oldest segments until size more bytes fit and nothing is too old. The active segment is among
// them when nothing else is left; then the caller must have the right to write. The caller removes the files.
func (s *Spool) dropForLocked(size int64) (victims []*segment) {
	for len(s.segments) > 0 && (s.bytes+size > s.config.MaxBytes || s.tooOld(s.segments[0])) {
		victims = append(victims, s.segments[0])
		s.evictLocked(s.segments[0])
	}
	return victims
}

func (s *Spool) tooOld(seg *segment) bool {
	return s.config.MaxAge > 0 && time.Since(seg.newest) > s.config.MaxAge
}

// expire drops what is too old. The active segment can only be dropped while nobody writes; whoever does makes it young.
func (s *Spool) expire() {
	if s.config.MaxAge == 0 {
		return
	}
	mayWrite := false
	select {
	case s.writing <- struct{}{}:
		mayWrite = true
	default:
	}
	s.mu.Lock()
	var victims []*segment
	for len(s.segments) > 0 && s.tooOld(s.segments[0]) && (mayWrite || s.segments[0] != s.active) {
		victims = append(victims, s.segments[0])
		s.evictLocked(s.segments[0])
	}
	gone := s.active == nil
	s.mu.Unlock()
	if mayWrite {
		if gone {
			s.closeFile()
		}
		<-s.writing
	}
	s.removeFiles(victims)
}

// evictLocked drops the oldest segment and counts what was not read. What a reader has leased is not lost to it yet: it
// counts when the lease is released.
func (s *Spool) evictLocked(seg *segment) {
	unread := uint64(0)
	if len(s.readers) == 0 {
		unread = seg.next - seg.first
	}
	for _, r := range s.readers {
		from := max(r.cursor, seg.first)
		if from >= seg.next {
			continue
		}
		unread = max(unread, seg.next-from)
		r.stats.Evicted += seg.next - from
		if r.lease != nil {
			if until := min(r.lease.end.number, seg.next); until > from {
				r.stats.Evicted -= until - from
			}
		}
		r.cursor = seg.next
	}
	s.stats.Evicted += unread
	if unread > 0 {
		s.stats.EvictedBytes += uint64(float64(seg.size) * float64(unread) / float64(seg.next-seg.first))
	}
	s.forgetLocked(seg)
}

// forgetLocked takes the oldest segment out of the list.
func (s *Spool) forgetLocked(seg *segment) {
	s.segments = s.segments[1:]
	s.bytes -= seg.size
	if s.active == seg {
		s.active = nil
	}
}

// dropAcknowledged deletes the segments that every reader is done with, but not the active one.
func (s *Spool) dropAcknowledged() {
	s.mu.Lock()
	var victims []*segment
	for len(s.readers) > 0 && len(s.segments) > 0 && s.segments[0] != s.active && s.acknowledgedLocked(s.segments[0]) {
		victims = append(victims, s.segments[0])
		s.forgetLocked(s.segments[0])
	}
	s.mu.Unlock()
	s.removeFiles(victims)
}

func (s *Spool) acknowledgedLocked(seg *segment) bool {
	for _, r := range s.readers {
		if r.cursor < seg.next {
			return false
		}
	}
	return true
}

// removeFiles deletes segments that are no longer in the list. One that cannot be deleted comes back at the next Open.
func (s *Spool) removeFiles(victims []*segment) {
	for _, seg := range victims {
		if err := s.folder.remove(seg.first); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.config.Log.Warn("a segment that is done with cannot be deleted", "error", err)
		}
	}
}
