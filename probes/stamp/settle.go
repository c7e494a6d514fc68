package stamp

import (
	"cmp"
	"slices"
	"time"
)

func compare(a, b uint64) int { return cmp.Compare(a, b) }

// settled says whether the oldest window can be taken out: its time is over and each of its packets was answered for
// good or given up. at is when it will be if no reply comes; it is past when the answer is yes.
func (l *ledger) settled(now time.Duration) (yes bool, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[0]
	if w.end == forever || len(l.windows) == 1 {
		return false, forever // the sender may be late to open the next window, and sends into the last one until it has
	}
	at = w.end
	if w.open > 0 {
		at += l.timeout
	}
	return now >= at, at
}

// end closes the window that is being sent into at that moment.
func (l *ledger) end(at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.windows[len(l.windows)-1].end = at
}

// stop ends the session early at that moment: a window that was opened ahead of it did not come to pass.
func (l *ledger) stop(at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.windows = slices.DeleteFunc(l.windows, func(w *window) bool { return w.start >= at })
	for _, w := range slices.Backward(l.windows) {
		if w.counted {
			w.final = true
			return
		}
	}
}

// takeOut removes the oldest window; nil when there is none. What was not answered is kept in mind for lateLimit, so that it can be recovered.
// follower is the answered packet after the window with the lowest number, as far as it is known.
func (l *ledger) takeOut(now time.Duration) (w *window, follower neighbour) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.windows) == 0 {
		return nil, neighbour{}
	}
	w = l.windows[0]
	l.windows = slices.Delete(l.windows, 0, 1)
	l.missing = slices.DeleteFunc(l.missing, func(m missing) bool { return now-m.sent > lateLimit })
	for i := range w.records {
		r := &w.records[i]
		switch seq := w.first + uint64(i); {
		case r.fate.has(answered):
			w.finish(r)
		case w.counted:
			l.missing = append(l.missing, missing{seq: seq, sent: r.sent})
		}
	}
	for _, later := range l.windows {
		for i := range later.records {
			if r := &later.records[i]; r.fate.has(answered) {
				return w, neighbour{seq: later.first + uint64(i), farSeq: r.farSeq, life: r.life, known: true}
			}
		}
	}
	return w, neighbour{}
}

// attribute takes down the directions that were found for the losses of a window that was taken out.
func (l *ledger) attribute(w *window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.missing, w.first, func(m missing, seq uint64) int { return compare(m.seq, seq) })
	for ; i < len(l.missing); i++ {
		r := w.record(l.missing[i].seq)
		if r == nil {
			return
		}
		l.missing[i].way = r.fate & (lostUp | lostDown)
	}
}

// progress hands out what the oldest window tallied since the last call.
func (l *ledger) progress() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[0]
	if !w.counted {
		return tally{}
	}
	t := w.tally
	w.shown.add(&t.counts)
	w.tally = tally{}
	return t
}

// follows says whether the far end tells when its replies really left.
func (l *ledger) follows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.far.told
}
