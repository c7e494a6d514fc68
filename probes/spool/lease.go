package spool

// Lease is what a reader has taken and not yet acknowledged: one run of records. Its methods are safe for concurrent use.
type Lease struct{ *lease }

type lease struct {
	reader  *Reader
	seg     *segment
	from    uint64 // the number of the first record
	end     place  // behind the last record
	records [][]byte
}

// Records returns the leased records, oldest first, at least one. They are the caller's.
func (l Lease) Records() [][]byte {
	if l.lease == nil {
		return nil
	}
	return l.records
}

// Ack moves the reader's cursor behind the lease, durably in the sense of Config.Sync. An error means that the cursor
// could not be written: until a later Ack succeeds, a restart has the records delivered again. A second Ack, and one
// after Release, does nothing. After Close it returns ErrClosed, and the records will be delivered again.
func (l Lease) Ack() error {
	r := l.reader
	s := r.spool
	s.mu.Lock()
	switch {
	case s.closed || r.gone:
		s.mu.Unlock()
		return ErrClosed
	case r.lease != l.lease:
		s.mu.Unlock()
		return nil
	}
	r.lease = nil
	r.stats.Acked += uint64(len(l.records))
	if r.cursor < l.end.number {
		r.cursor, r.atSeg, r.at = l.end.number, l.seg, l.end
	}
	s.mu.Unlock()
	s.dropAcknowledged() // first, since it may make the space that the cursor needs
	return r.save()
}

// Release gives the records back: the next Next delivers them again, but for those that were evicted meanwhile.
// After Ack or Release it does nothing.
func (l Lease) Release() {
	r := l.reader
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	if r.lease != l.lease {
		return
	}
	r.lease = nil
	if r.cursor > l.from {
		r.stats.Evicted += min(r.cursor, l.end.number) - l.from
	}
}
