package stamp

import (
	"slices"
	"time"
)

// neighbour is an answered packet: its number at the sender and its number at the far end.
type neighbour struct {
	seq    uint64
	farSeq uint32
	life   uint8
	known  bool
	copy   bool // a further copy of the packet
}

// losses tells the direction of each loss, window by window (RFC 8762 section 4: a stateful reflector counts what it
// sends). It carries over what a gap at the end of a window left undecided.
type losses struct {
	last    neighbour // the answered packet with the highest far-end number so far
	taken   uint64    // losses behind last that were already found to be on the way back
	unknown uint64    // losses behind last that were published without direction
	highest uint64    // highest sequence number among those that reached the far end, one more than it
}

// decide marks every settled loss of the window as up or down where the numbers tell, and returns how many packets
// reached the far end out of order. follower is the first answered packet behind the window.
//
// In the order of the far end's numbers, a missing number is a reply that did not arrive; a missing packet without a
// missing number is a request that did not. Where a gap holds both, which of them is which cannot be told and does not
// change the sums; the earlier ones are taken for replies.
func (l *losses) decide(w *window, follower neighbour, settled time.Duration) (reorderedUp int) {
	met := l.met(w)
	for _, n := range met {
		if l.last.known && n.life != l.last.life {
			l.last, l.taken, l.unknown, l.highest = neighbour{}, 0, 0, 0
		} else {
			l.between(w, n, settled)
		}
		if n.seq+1 < l.highest && !n.copy {
			reorderedUp++
		}
		l.highest = max(l.highest, n.seq+1)
		l.last, l.taken, l.unknown = n, 0, 0
	}
	if follower.known && follower.life == l.last.life {
		l.between(w, follower, settled)
	}
	l.carry(w, settled)
	return reorderedUp
}

// met lists the packets of the window that are known to have reached the far end, in the order in which they did.
func (l *losses) met(w *window) []neighbour {
	list := make([]neighbour, 0, len(w.records)+len(w.copies))
	for i := range w.records {
		if r := &w.records[i]; r.fate.has(answered) {
			list = append(list, neighbour{seq: w.first + uint64(i), farSeq: r.farSeq, life: r.life, known: true})
		}
	}
	for _, c := range w.copies {
		list = append(list, neighbour{seq: c.seq, farSeq: c.farSeq, life: c.life, known: true, copy: true})
	}
	slices.SortFunc(list, func(a, b neighbour) int {
		if a.life != b.life {
			return int(int8(a.life - b.life))
		}
		return int(int32(a.farSeq - b.farSeq)) // the numbers may wrap
	})
	return list
}

// between marks the losses between the last packet that reached the far end and the next one that did.
func (l *losses) between(w *window, next neighbour, settled time.Duration) {
	low, replies := uint64(0), uint64(next.farSeq)
	if l.last.known {
		low, replies = l.last.seq+1, uint64(next.farSeq-l.last.farSeq-1)
	} else if uint64(next.farSeq) > next.seq {
		return // the far end began to count before this session did
	}
	high := next.seq
	if low > high {
		low, high = high, low
	}
	lost := w.lost(low, high, settled)
	replies -= min(replies, l.taken)
	if l.unknown > 0 {
		replies = replies * uint64(len(lost)) / (uint64(len(lost)) + l.unknown)
	}
	for _, r := range lost {
		r.fate &^= lostUp | lostDown
		if replies > 0 {
			r.fate |= lostDown
			replies--
			l.taken++
		} else {
			r.fate |= lostUp
		}
	}
}

// carry counts the losses behind the last packet that reached the far end whose direction stays open.
func (l *losses) carry(w *window, settled time.Duration) {
	low := uint64(0)
	if l.last.known {
		low = l.last.seq + 1
	}
	for _, r := range w.lost(low, w.first+uint64(len(w.records)), settled) {
		if !r.fate.has(lostUp | lostDown) {
			l.unknown++
		}
	}
}

// lost lists the given-up packets of the window with numbers in [low, high) whose direction was not told otherwise.
func (w *window) lost(low, high uint64, settled time.Duration) []*record {
	var list []*record
	for seq := max(low, w.first); seq < high && seq-w.first < uint64(len(w.records)); seq++ {
		if r := w.record(seq); r.lost(settled) && !r.fate.has(lostDown) {
			list = append(list, r)
		}
	}
	return list
}

// lost says whether the packet was given up. settled is the departure up to which packets had their time.
func (r *record) lost(settled time.Duration) bool { return !r.fate.has(answered) && r.sent <= settled }
