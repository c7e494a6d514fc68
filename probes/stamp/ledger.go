package stamp

import (
	"slices"
	"sync"
	"time"
)

// lateLimit is how long after its departure a packet may still come back and be taken down as late. Replies over
// cellular links were seen after more than ten seconds.
const lateLimit = 60 * time.Second

// ledger takes down what happens to each packet. The sender and the receiver write into it, the clerk takes out windows
// whose packets are all settled. It is safe for concurrent use. It knows no clock but the moments it is given.
type ledger struct {
	timeout   time.Duration // without a reply for longer, a packet is given up
	tolerance time.Duration // a packet that leaves later than planned by more is behind schedule
	// departed is told the true departures of packets, one at a time, and must not come back to the ledger; it may be nil.
	departed func(seq uint32, at time.Duration)

	mu       sync.Mutex
	windows  []*window // those not taken out yet, oldest first; never empty after the first open
	next     uint64    // sequence number of the next packet
	arrivals uint32
	missing  []missing // lost packets of windows taken out, in the order of sequence, younger than lateLimit
	far      farState
	waiting  []waiting     // replies whose true departure may still be told, in the order of arrival
	stuck    time.Duration // when the first slot was due that was skipped since a packet was sent; 0 when none was
	owed     time.Duration // a pause whose first packet did not leave: the next one that does is the first
}

// missing is a packet that was given up and may still come.
type missing struct {
	seq  uint64
	sent time.Duration
	way  fate // lostUp or lostDown as its window said, or neither
}

// waiting is an answered packet that is not final.
type waiting struct {
	seq    uint64
	farSeq uint32
	life   uint8
}

// echo is a reply as far as it concerns the ledger.
type echo struct {
	seq      uint32 // the sender's
	farSeq   uint32
	received time.Duration
	seen     time.Duration // the same by the process
	kernel   bool          // received was taken by the kernel
	t2, t3   timestamp
	format   format
	told     departure // of an earlier reply
	follows  bool      // the far end takes part in follow-up telemetry
	// counts says that the far end is known to count on its own, whatever its numbers look like.
	counts    bool
	condition condition
}

// departure is what Follow-Up Telemetry says: when the reply with that number really left.
type departure struct {
	seq uint32
	at  timestamp
	ok  bool
}

// open begins a window. Windows follow one another in time.
func (l *ledger) open(w *window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.first = l.next
	l.windows = append(l.windows, w)
}

// disturb takes down what happened to the clocks in the window that is being sent into, before the next one is opened.
func (l *ledger) disturb(d disturbance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.windows) > 0 {
		l.windows[len(l.windows)-1].disturbance = d
	}
}

// latest is the window that is being sent into. Only the sender, who opens windows, may call it.
func (l *ledger) latest() *window {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.windows[len(l.windows)-1]
}

// nextSeq is the sequence number of the next packet. Only the sender may call it.
func (l *ledger) nextSeq() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint32(l.next)
}

// send takes down a packet that is about to leave, scheduleError later than planned and after a pause, if that is not 0, and
// returns the wall clock at session time 0 for its time stamp.
func (l *ledger) send(at, scheduleError, paused time.Duration) (epoch int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[len(l.windows)-1]
	r := record{sent: at}
	resting := paused
	paused, l.owed = max(paused, l.owed), 0
	if paused > 0 {
		r.fate |= cold
		w.pauses = append(w.pauses, pause{seq: l.next, length: paused})
	}
	w.records = append(w.records, r)
	w.open++
	w.sent++
	w.scheduleError.Add(scheduleError.Seconds())
	if scheduleError > l.tolerance {
		w.behind++
		w.lateness += scheduleError
	}
	if l.stuck > 0 {
		l.stuck += resting
		w.stalls = append(w.stalls, pause{seq: l.next, length: at - l.stuck})
		w.blind, w.tail, l.stuck = max(w.blind, at-l.stuck), 0, 0
	}
	l.next++
	return w.epoch
}

// refuse takes back the packet last taken down, because the kernel did not accept it. Its sequence number is free again.
func (l *ledger) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[len(l.windows)-1]
	sent := w.records[len(w.records)-1].sent
	w.records = w.records[:len(w.records)-1]
	w.open--
	w.sent--
	w.refused++
	l.next--
	if n := len(w.pauses); n > 0 && w.pauses[n-1].seq == l.next {
		l.owed = w.pauses[n-1].length
		w.pauses = w.pauses[:n-1]
	}
	if n := len(w.stalls); n > 0 && w.stalls[n-1].seq == l.next {
		l.stuck = sent - w.stalls[n-1].length
		w.tail = min(sent, w.end) - l.stuck
		w.stalls = w.stalls[:n-1]
	}
}

// skip takes down a slot that had passed when the process came to it at that moment.
func (l *ledger) skip(at time.Duration, s slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[len(l.windows)-1]
	w.skipped++
	w.lateness += at - s.at
	l.owed = max(l.owed, s.pause)
	if !w.counted {
		return
	}
	if l.stuck == 0 {
		l.stuck = s.at
	} else {
		l.stuck += s.pause // in which nothing was to be sent
	}
	w.tail = min(at, w.end) - l.stuck
	w.blind = max(w.blind, w.tail)
}

// stray takes down something that came in and is no reply to this session.
func (l *ledger) stray() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.windows) > 0 {
		l.windows[0].stray++
	}
}

// correct replaces the departure of a packet by its true one, which lies between the one taken down and the arrival of
// the reply.
func (l *ledger) correct(seq uint32, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, ok := l.extend(seq)
	if !ok {
		return
	}
	if _, r := l.find(full); r != nil && !r.fate.has(final) && at >= r.sent && (r.received == 0 || at <= r.received) {
		r.sent = at
		r.fate |= kernelT1
		if l.departed != nil {
			l.departed(seq, at)
		}
	}
}

// extend turns the 32 bits of a packet into the sequence number that was given out; ok is false when none was.
func (l *ledger) extend(seq uint32) (full uint64, ok bool) {
	back := uint64(uint32(l.next) - seq)
	if back == 0 {
		back = 1 << 32
	}
	return l.next - back, back <= l.next
}

// find looks a packet up in the windows at hand; nil when its window was taken out.
func (l *ledger) find(seq uint64) (*window, *record) {
	for _, w := range slices.Backward(l.windows) {
		if r := w.record(seq); r != nil {
			return w, r
		}
	}
	return nil, nil
}

// receive takes down a reply. settled says that the oldest window may be ready to be taken out.
func (l *ledger) receive(e *echo) (settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.windows) == 0 {
		return false
	}
	seq, ok := l.extend(e.seq)
	if !ok {
		l.windows[0].stray++
		return false
	}
	w, r := l.find(seq)
	if r == nil {
		l.receiveMissing(seq, e)
		return false
	}
	if e.received < r.sent {
		e.received, e.kernel = e.seen, false // the wall clock, which the kernel stamps by, was set back meanwhile
	}
	t2 := e.t2.unixNano(e.format, w.epoch+int64(e.received))
	life := l.far.observe(e, t2)
	if r.fate.has(answered) {
		w.receiveCopy(r, extra{seq: seq, farSeq: e.farSeq, life: life})
		return false
	}
	w.condition.add(e.condition)
	r.received, r.farSeq, r.life, r.t2 = e.received, e.farSeq, life, t2
	r.t3 = e.t3.unixNano(e.format, t2)
	l.arrivals++
	r.order = l.arrivals
	r.fate |= answered
	w.received++
	if e.kernel {
		r.fate |= kernelT4
	}
	if r.received-r.sent > l.timeout {
		r.fate |= late
		w.late++
	}
	r.fate |= l.far.order(seq, e.farSeq, life)
	l.waiting = append(l.waiting, waiting{seq: seq, farSeq: e.farSeq, life: life})
	l.follow(e, life)
	return l.windows[0].open == 0
}

// receiveCopy takes down a reply to a packet that was answered already (RFC 5560). A copy with a number of its own was
// duplicated on the way there, one without on the way back.
func (w *window) receiveCopy(r *record, x extra) {
	if x.farSeq == r.farSeq && x.life == r.life {
		w.copiesDown++
		return
	}
	w.copies = append(w.copies, x)
}

// receiveMissing takes down a reply to a packet whose window was taken out: it is recovered if it was given up, and a
// copy otherwise. Either counts in the oldest window at hand.
func (l *ledger) receiveMissing(seq uint64, e *echo) {
	w := l.windows[0]
	i, found := slices.BinarySearchFunc(l.missing, seq, func(m missing, seq uint64) int { return compare(m.seq, seq) })
	if !found {
		w.copiesDown++
		return
	}
	r := record{sent: l.missing[i].sent, received: e.received}
	if l.missing[i].way.has(lostUp) {
		w.recoveredUp++
	}
	if l.missing[i].way.has(lostDown) {
		w.recoveredDown++
	}
	l.missing = slices.Delete(l.missing, i, i+1)
	r.t2 = e.t2.unixNano(e.format, w.epoch+int64(e.received))
	r.t3 = e.t3.unixNano(e.format, r.t2)
	w.received++
	w.late++
	w.recovered++
	if seq < l.far.maxSeq {
		w.overtaken++
	}
	w.roundTrip(&r)
}

// follow brings in what a reply tells of the departure of an earlier one, and makes final what will not change any more.
func (l *ledger) follow(e *echo, life uint8) {
	tells := l.far.tells(e)
	done := 0
	for i, p := range l.waiting {
		newest := i == len(l.waiting)-1
		w, r := l.find(p.seq)
		switch {
		case r == nil:
		case e.told.ok && p.life == life && p.farSeq == e.told.seq:
			r.depart(e.told.at.unixNano(e.format, r.t3))
			w.finish(r)
		case !tells || !newest && (p.life != life || e.farSeq-p.farSeq < 1<<31):
			// Follow-Up Telemetry tells of the reply before; of those before that it will tell no more.
			w.finish(r)
		default:
			l.waiting[done] = p
			done++
		}
	}
	l.waiting = l.waiting[:done]
}

// depart replaces T3 by the moment when the reply really left, which lies after T3 and before the reply arrived.
func (r *record) depart(t3 int64) {
	if later := time.Duration(t3 - r.t3); later >= 0 && later <= r.received-r.sent {
		r.t3 = t3
		r.fate |= departed
	}
}

// finish makes a record of this window final and adds its round trip to the tally, once.
func (w *window) finish(r *record) {
	if r.fate.has(final) {
		return
	}
	r.fate |= final
	w.open--
	w.roundTrip(r)
}

func (t *tally) roundTrip(r *record) {
	rtt, residence, ok := r.roundTrip()
	if r.fate.has(cold) {
		t.wakeUp.Add(rtt.Seconds())
	} else {
		t.rtt.Add(rtt.Seconds())
	}
	if ok {
		t.residence.Add(residence.Seconds())
	}
	if r.fate.has(departed) {
		t.departures++
	}
}
