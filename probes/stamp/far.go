package stamp

// farState is what the replies show of the far end's own counting.
type farState struct {
	seen    bool
	told    bool // it told a true departure at least once
	replies int  // that arrived, up to a few
	counts  bool // it is known to count on its own, so that the direction of a loss can be told

	life   uint8 // grows when the far end's numbers begin anew
	t2     int64 // the latest T2 so far, and the number that came with it
	farSeq uint32
	lifeT2 int64 // the first T2 of the present life

	maxSeq    uint64 // highest sequence number answered so far
	maxFarSeq uint32 // highest number of the present life that arrived
}

// observe looks at the numbers of a reply and returns the life of the far end that they belong to.
//
// A far end that counts gives growing numbers in the order in which packets reach it, which T2 tells. A later T2 with a
// lower number means that it restarted or forgot the session. A stateless one repeats the sender's numbers, so that
// after reordering on the way there the same can be seen: until one number differs, nothing is concluded.
func (f *farState) observe(e *echo, t2 int64) uint8 {
	if e.counts || e.farSeq != e.seq {
		f.counts = true
	}
	switch {
	case !f.seen:
		f.seen, f.t2, f.farSeq, f.lifeT2 = true, t2, e.farSeq, t2
	case t2 < f.lifeT2 && f.life > 0:
		return f.life - 1
	case t2 > f.t2:
		if f.counts && int32(e.farSeq-f.farSeq) <= 0 {
			f.life++
			f.lifeT2, f.maxFarSeq = t2, 0
		}
		f.t2, f.farSeq = t2, e.farSeq
	}
	return f.life
}

// order says whether a reply arrived out of order (RFC 4737 section 3): behind that of a packet sent later, and, for
// the way back alone, behind one that left the far end later.
func (f *farState) order(seq uint64, farSeq uint32, life uint8) (flags fate) {
	if seq < f.maxSeq {
		flags |= reordered
	}
	f.maxSeq = max(f.maxSeq, seq)
	if life == f.life {
		if farSeq < f.maxFarSeq {
			flags |= overtaken
		}
		f.maxFarSeq = max(f.maxFarSeq, farSeq)
	}
	return flags
}

// tells says whether a later reply may tell when this one really left. A far end has nothing to tell with its first
// reply; one that tells nothing with the next either will not.
func (f *farState) tells(e *echo) bool {
	f.told = f.told || e.told.ok
	f.replies = min(f.replies+1, 3)
	return e.follows && (f.told || f.replies < 3)
}
