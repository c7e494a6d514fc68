package stamp

import (
	"net/netip"
	"time"
)

// sessionKey tells sessions apart (RFC 8972 section 3). The reflector's own address and port are those of its socket.
type sessionKey struct {
	from netip.AddrPort
	ssid uint16
}

// session is what a stateful reflector knows of one sender.
type session struct {
	key      sessionKey
	lastSeen int64 // nanoseconds of a monotonic clock

	received uint32 // packets, as the Direct Measurement TLV tells them
	sent     uint32 // packets; the next reply has this sequence number
	// credit is how many octets came in more than went out. A reply is sent only when it does not become negative,
	// so that a forged source address can never be made to receive more than the forger sent.
	credit int64

	departed       int64 // when the last stamped reply left, nanoseconds since 1970; 0 when none was stamped
	departedSeq    uint32
	departedMethod stampMethod

	arrivals [keptArrivals]uint32 // lower halves of T2 of the latest replies, each where its number modulo keptArrivals says
	shown    uint32               // the latest of them that a request came back with; 0 when none did

	older, newer *session // in the order of lastSeen
}

// keptArrivals is how many replies a session remembers the T2 of: as many as requests are on their way at once.
const keptArrivals = 16

// reply takes down a reply with that T2 and returns its sequence number.
func (s *session) reply(t2 timestamp) (seq uint32) {
	seq = s.sent
	s.arrivals[seq%keptArrivals] = uint32(t2)
	s.sent++
	return seq
}

// wrote says whether a packet with that number and what is in place of T2 was written over a reply of this session. One that
// still has the number of that reply is the reply itself.
func (s *session) wrote(seq uint32, t2 timestamp) bool {
	lower, found := uint32(t2), false
	if lower != 0 && lower == s.shown {
		return true
	}
	for back := range min(s.sent, keptArrivals) {
		number := s.sent - 1 - back
		if s.arrivals[number%keptArrivals] != lower {
			continue
		}
		if number == seq {
			return false
		}
		found = true
	}
	if found {
		s.shown = lower
	}
	return found
}

// table holds the sessions of one socket, at most limit of them: the one that was silent longest gives way. It
// allocates only while it grows. It is not safe for concurrent use.
type table struct {
	limit    int
	idle     time.Duration
	sessions map[sessionKey]*session
	free     *session // linked by newer
	order    session  // ring: order.newer is the oldest, order.older the newest
}

func newTable(limit int, idle time.Duration) *table {
	t := &table{limit: limit, idle: idle, sessions: map[sessionKey]*session{}}
	t.order.older, t.order.newer = &t.order, &t.order
	return t
}

// visit returns the session with that key, a new one if need be, after having dropped those that have been idle too
// long. now is in nanoseconds of a monotonic clock.
func (t *table) visit(key sessionKey, now int64) *session {
	t.expire(now)
	s, known := t.order.older, true
	if s == &t.order || s.key != key { // not the one that sent last
		s, known = t.sessions[key]
	}
	if known {
		s.older.newer, s.newer.older = s.newer, s.older
	} else {
		s = t.admit(key)
	}
	s.lastSeen = now
	s.older, s.newer = t.order.older, &t.order
	s.older.newer, s.newer.older = s, s
	return s
}

// admit makes a session that is not in the order yet.
func (t *table) admit(key sessionKey) *session {
	if len(t.sessions) >= t.limit {
		t.drop(t.order.newer)
	}
	s := t.free
	if s == nil {
		s = &session{}
	} else {
		t.free = s.newer
	}
	*s = session{key: key}
	t.sessions[key] = s
	return s
}

func (t *table) expire(now int64) {
	for oldest := t.order.newer; oldest != &t.order && now-oldest.lastSeen > int64(t.idle); oldest = t.order.newer {
		t.drop(oldest)
	}
}

func (t *table) drop(s *session) {
	delete(t.sessions, s.key)
	s.older.newer, s.newer.older = s.newer, s.older
	s.key, s.older, s.newer = sessionKey{}, nil, t.free
	t.free = s
}
