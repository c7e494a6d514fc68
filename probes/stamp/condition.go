package stamp

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// condition is what our reflector tells of itself where a sender asks for it, in a TLV of a type for experiments (RFC 8972
// section 5.1), until nrprobe has an enterprise number for one of its own. What tells ours from the experiments of others
// is how the value begins. Another reflector does not know it and says so with the U flag; the result then lacks it.
//
//	| "nrp" (3) | version, 1 (1) | flags (1) | reserved (1) | leases (2) |
type condition struct {
	late   bool   // flag 0x80: within the last second it kept a request waiting for long
	lost   bool   // flag 0x40: within the last second it lost requests that had arrived
	leases uint16 // for load tests that were active
}

const tlvCondition tlvType = 248

const (
	conditionLength = 8
	conditionLate   = 0x80
	conditionLost   = 0x40
)

// conditionMark is how the value begins.
func conditionMark() [4]byte { return [4]byte{'n', 'r', 'p', 1} }

// putConditionQuery makes a fresh TLV of conditionLength the question.
func putConditionQuery(value []byte) {
	mark := conditionMark()
	copy(value, mark[:])
}

func isCondition(value []byte) bool {
	return len(value) == conditionLength && [4]byte(value) == conditionMark()
}

// put answers the question.
func (c condition) put(value []byte) {
	value[4], value[5] = 0, 0
	if c.late {
		value[4] |= conditionLate
	}
	if c.lost {
		value[4] |= conditionLost
	}
	binary.BigEndian.PutUint16(value[6:], c.leases)
}

// readCondition reads the answer; it is the zero condition when it is none of ours.
func readCondition(value []byte) condition {
	if !isCondition(value) {
		return condition{}
	}
	return condition{late: value[4]&conditionLate != 0, lost: value[4]&conditionLost != 0, leases: binary.BigEndian.Uint16(value[6:])}
}

// add takes in what a later reply said.
func (c *condition) add(o condition) {
	c.late = c.late || o.late
	c.lost = c.lost || o.lost
	c.leases = max(c.leases, o.leases)
}

const (
	// lookAfter is how often a reflector looks at itself. It adds nothing to the cost of a packet, and a load test lasts
	// for longer.
	lookAfter = 100 * time.Millisecond
	// lateAfter is how long a request may wait in the reflector's socket. An idle host takes less than a millisecond; a
	// process that takes longer than the usual interval of a probe does not keep up.
	lateAfter = 10 * time.Millisecond
	// lateFor is for how long it tells, so that each session with a packet a second hears of it.
	lateFor = time.Second
)

// lookout keeps the condition of a reflector. Times are in nanoseconds of a monotonic clock. The zero lookout knows of
// nothing that could happen to it but waiting. It is not safe for concurrent use.
type lookout struct {
	leases func() int    // how many are active; nil for none
	lost   func() uint64 // how many requests the socket dropped so far; nil when that is not known

	begun     bool
	looked    int64
	dropped   uint64
	lateUntil int64
	lostUntil int64
	told      condition
}

// saw takes down that a request was taken from the socket so long after it had arrived.
func (w *lookout) saw(now int64, waited time.Duration) {
	if waited > lateAfter {
		w.lateUntil = now + int64(lateFor)
	}
}

// condition is the present one.
func (w *lookout) condition(now int64) condition {
	if !w.begun || now-w.looked >= int64(lookAfter) {
		w.begun, w.looked = true, now
		w.look(now)
	}
	w.told.late, w.told.lost = now < w.lateUntil, now < w.lostUntil
	return w.told
}

func (w *lookout) look(now int64) {
	if w.leases != nil {
		w.told.leases = uint16(min(max(w.leases(), 0), math.MaxUint16))
	}
	if w.lost == nil {
		return
	}
	if dropped := w.lost(); dropped != w.dropped {
		w.dropped = dropped
		w.lostUntil = now + int64(lateFor)
	}
}

// judgeFarEnd takes down what the far end told of itself in the replies to a window's packets.
//
// Requests that it lost would count as losses of the network. One that it kept waiting does no harm where its kernel stamps
// arrival and departure: the wait is then known and is no part of the round trip. A kernel that tells true departures stamps
// arrivals too. Load tests at the same site are no fault of the instrument: they are said and not doubted, because they may
// be on other links.
func (k *clerk) judgeFarEnd(w *window, c *counts) {
	kernel := (c.received-min(c.departures, c.received))*100 <= c.received
	if w.condition.lost || w.condition.late && !kernel {
		k.rec.Flag(probes.FarEndLate)
	}
	if w.condition.leases > 0 {
		k.rec.Flag(probes.LoadConcurrent)
		k.rec.Note("leases", strconv.Itoa(int(w.condition.leases)))
	}
}
