package spool

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// load finds what earlier processes left.
func (s *Spool) load() error {
	sizes, err := s.folder.list()
	if err != nil {
		return err
	}
	cursors, err := s.folder.cursors()
	if err != nil {
		return err
	}
	for reader, next := range cursors {
		s.readers[reader] = &Reader{spool: s, name: reader, cursor: next, turn: make(chan struct{}, 1)}
		s.next = max(s.next, next) // a number that a reader has acknowledged must not be given to a new record
	}
	firsts := slices.Sorted(maps.Keys(sizes))
	for i, first := range firsts {
		seg := &segment{first: first, size: sizes[first]}
		if i+1 < len(firsts) {
			seg.next = firsts[i+1]
			s.loadHeader(seg)
		} else if !s.loadLast(seg) {
			s.next = max(s.next, first)
			continue
		}
		if len(s.segments) > 0 {
			s.segments[len(s.segments)-1].newest = seg.created
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.size
		s.next = max(s.next, seg.next)
	}
	s.dropAcknowledged()
	s.mu.Lock()
	victims := s.dropForLocked(0)
	s.mu.Unlock()
	s.removeFiles(victims)
	return s.resume()
}

// loadHeader reads the time of a segment. Its newest record is at least as old as the segment that follows, if one does.
func (s *Spool) loadHeader(seg *segment) {
	seg.created, seg.newest = s.opened, s.opened
	f, err := s.folder.open(seg.first)
	if err != nil {
		s.config.Log.Warn("a segment cannot be opened", "error", err)
		return
	}
	defer f.Close()
	header := make([]byte, headerSize)
	_, _ = f.ReadAt(header, 0) // what is missing fails the checks
	if created, ok := parseHeader(header, seg.first); ok {
		seg.created = s.plausible(created)
	}
}

// plausible replaces the stamp of a clock that was not set. Go writes no earlier version of this program than 2025.
func (s *Spool) plausible(t time.Time) time.Time {
	if t.Year() < 2025 || t.After(s.opened) {
		return s.opened
	}
	return t
}

// loadLast reads all of the newest segment and cuts off what is not whole. It is false when nothing is left.
func (s *Spool) loadLast(seg *segment) bool {
	s.loadHeader(seg)
	f, err := s.folder.open(seg.first)
	if err != nil {
		// Whatever is in it, it must stay out of the way of new records.
		s.next = max(s.next, seg.first)
		return false
	}
	defer f.Close()
	end, newest := scan(f, seg.first, seg.size)
	if torn := seg.size - end.offset; torn != 0 {
		lost := lostBehind(f, end, seg.size)
		s.stats.Corrupt += lost
		s.stats.TornBytes += uint64(max(torn, 0))
		s.config.Log.Warn("cutting off the end of the spool, which is not whole", "segment", segmentName(seg.first), "bytes", torn, "lost_records", lost)
	}
	if end.number == seg.first {
		s.removeFiles([]*segment{seg})
		return false
	}
	seg.next, seg.newest = end.number, s.plausible(newest)
	if end.offset < seg.size {
		if err := errors.Join(f.Truncate(end.offset), f.Sync()); err != nil {
			s.config.Log.Warn("the end of the spool cannot be cut off: going on in a new segment", "error", err)
			seg.sealed = true
		}
	}
	seg.size = end.offset
	return true
}

// resume goes on writing in the last segment, if it can be.
func (s *Spool) resume() error {
	if len(s.segments) == 0 {
		return nil
	}
	last := s.segments[len(s.segments)-1]
	if last.sealed || last.next != s.next || last.size >= s.config.SegmentBytes {
		return nil
	}
	f, err := s.folder.open(last.first)
	if err != nil {
		s.config.Log.Warn("going on in a new segment", "error", err)
		return nil
	}
	s.file, s.active = f, last
	return nil
}
