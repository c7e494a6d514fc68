package spool

import (
	"encoding/binary"
	"slices"
	"time"
)

// Stats are the figures of a spool since it was opened, except where they say otherwise.
type Stats struct {
	// Segments and Bytes are what is kept at present.
	Segments int
	Bytes    int64
	// Records and RecordBytes are what was appended.
	Records, RecordBytes uint64
	// Evicted is how many records were dropped, for MaxBytes or MaxAge, before every reader had acknowledged them.
	// EvictedBytes is their share of the segments they were in.
	Evicted, EvictedBytes uint64
	// Corrupt is how many records could not be read, as far as that can be known; TornBytes is what was cut off the end
	// at Open.
	Corrupt, TornBytes uint64
	// Fsyncs and DiskBytes are what was asked of the disk, cursors included. What the file system writes besides is not
	// in it.
	Fsyncs, DiskBytes uint64
	// OldestAge is the age of the oldest record that some reader has not acknowledged.
	OldestAge time.Duration
	// Readers by name.
	Readers map[string]ReaderStats
}

// ReaderStats are the figures of one reader, since the spool was opened.
type ReaderStats struct {
	// Pending and PendingBytes are what it has not acknowledged yet, at present. Bytes are those on disk, estimated where
	// the reader stands inside a segment.
	Pending, PendingBytes uint64
	// Read is how many records were leased, redeliveries included; Acked how many were acknowledged.
	Read, Acked uint64
	// Evicted is how many were dropped before it had acknowledged them.
	Evicted uint64
	// OldestAge is the age of the oldest pending record. 0 when nothing is pending.
	OldestAge time.Duration
}

// Stats returns the present figures.
func (s *Spool) Stats() Stats {
	s.expire()
	s.dateOldest()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	stats := s.stats
	stats.Segments, stats.Bytes = len(s.segments), s.bytes
	stats.Fsyncs, stats.DiskBytes = s.disk.fsyncs.Load(), s.disk.bytes.Load()
	stats.Readers = make(map[string]ReaderStats, len(s.readers))
	for name, r := range s.readers {
		of := r.statsLocked(now)
		stats.Readers[name] = of
		stats.OldestAge = max(stats.OldestAge, of.OldestAge)
	}
	if len(s.readers) == 0 && len(s.segments) > 0 {
		stats.OldestAge = now.Sub(s.segments[0].created)
	}
	return stats
}

func (r *Reader) statsLocked(now time.Time) ReaderStats {
	stats := r.stats
	for _, seg := range r.spool.segments {
		from := max(r.cursor, seg.first)
		if from >= seg.next {
			continue
		}
		if stats.Pending == 0 {
			stats.OldestAge = r.oldestAgeLocked(seg, now)
		}
		stats.Pending += seg.next - from
		records := max(seg.size-headerSize, 0)
		if share := float64(seg.next-from) / float64(seg.next-seg.first); share < 1 {
			records = int64(share * float64(records))
		}
		stats.PendingBytes += uint64(records)
	}
	return stats
}

// oldest is the time of one record, kept because it lies on the disk.
type oldest struct {
	number uint64
	at     time.Time
}

// dateOldest reads the time of each reader's oldest pending record.
func (s *Spool) dateOldest() {
	s.mu.Lock()
	type question struct {
		reader *Reader
		seg    *segment
		at     place
	}
	var questions []question
	for _, r := range s.readers {
		i := slices.IndexFunc(s.segments, func(seg *segment) bool { return seg.next > r.cursor })
		if i < 0 || r.oldest.number == r.cursor {
			continue
		}
		at := place{s.segments[i].first, headerSize}
		if r.atSeg == s.segments[i] {
			at = r.at
		}
		if at.number >= r.cursor {
			questions = append(questions, question{r, s.segments[i], at})
		}
	}
	s.mu.Unlock()
	for _, q := range questions {
		at, err := s.timeAt(q.seg.first, q.at)
		if err != nil {
			continue // the segment's age stands in
		}
		s.mu.Lock()
		q.reader.oldest = oldest{q.at.number, at}
		s.mu.Unlock()
	}
}

// timeAt reads the time of the record at a place.
func (s *Spool) timeAt(first uint64, at place) (time.Time, error) {
	f, err := s.folder.open(first)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	head := make([]byte, frameSize)
	if _, err := f.ReadAt(head, at.offset); err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(head[8:]))), nil
}

// oldestAgeLocked is the age of the record at the cursor. It is between the ages of its segment's first and last record,
// which go by the monotonic clock where the record's own stamp cannot.
func (r *Reader) oldestAgeLocked(seg *segment, now time.Time) time.Duration {
	most, least := max(now.Sub(seg.created), 0), max(now.Sub(seg.newest), 0)
	if r.oldest.number != max(r.cursor, seg.first) {
		return most
	}
	return min(max(now.Sub(r.oldest.at), least), most)
}
