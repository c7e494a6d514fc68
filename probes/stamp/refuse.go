package stamp

import (
	"encoding/binary"
	"time"
)

// turnDownAfter is how often at most a reflector says that a code does not fit its key: often enough for a sender to
// learn of it at once, and no work for who floods it with wrong codes.
const turnDownAfter = 10 * time.Millisecond

// turnDown makes the request in buffer[:n], whose code does not fit the key, the reply that says so, and returns its
// length, or 0 for silence. Without it a sender with another key could not tell that from a far end that is not there.
//
// RFC 8762 leaves open what becomes of such a request. The reply repeats the numbers of the sender, has no time stamps,
// no number of its own and no code: it is worth nothing to who would like to have something signed, opens no session and
// is as long as the request. A request that is not of the authenticated layout gets none, because its sender would take it
// for a reply. One without a time stamp gets none either, which is what another reflector says here, nor one with anything
// where zeros belong, which is a reply: two reflectors that a forged source address brought together would turn each other
// down for ever.
func (r *responder) turnDown(buffer []byte, n int, q *request, x *exchange) int {
	const tooSoon = int64(turnDownAfter)
	if r.turned && r.now-r.turnedDown < tooSoon || q.t1 == 0 {
		return 0
	}
	if [12]byte(buffer[4:16]) != [12]byte{} || [68]byte(buffer[28:96]) != [68]byte{} {
		return 0
	}
	r.turned, r.turnedDown = true, r.now
	p := reply{err: r.estimate, ssid: q.ssid, senderSeq: q.seq, t1: q.t1, senderErr: q.err, ttl: x.ttl}
	p.put(buffer, authenticated)
	if tail := buffer[baseSizeAuth:n]; !plainPadding(tail) {
		markIntegrity(tail)
	}
	return n
}

// turnedDown says whether an authenticated reply is one of turnDown's: no other lacks T2.
func turnedDown(packet []byte) bool {
	return binary.BigEndian.Uint64(packet[authenticated.replyLayout().t2:]) == 0
}

// reflected says whether a packet is no request but a reply, from whatever port: it repeats a T1, and its T2 lies within a
// second of its T3. To answer it would make two reflectors, whom a forged source address brought together, answer each other
// for ever. A request written over a reply looks like one too, see wrote.
//
// Requests have zeros where T2 is, or the padding of a TWAMP-Light sender. Random padding is taken for a reply once in 2^31
// packets, because 2^33 of 2^64 values lie so near; a pattern that repeats in two seconds at most of the 136 years that T1 can
// tell; that of a sender without a clock, whose T1 is 0, never. T2 and T3 are of one clock and in one format, whose upper half
// counts seconds in either, so that the difference need not know which it is.
func reflected(packet []byte, m mode) bool {
	if len(packet) < m.leastReply() {
		return false
	}
	const second = 1 << 32
	l := m.replyLayout()
	t1, t2, t3 := binary.BigEndian.Uint64(packet[l.t1:]), binary.BigEndian.Uint64(packet[l.t2:]), binary.BigEndian.Uint64(packet[m.t1Offset():])
	return t1 != 0 && min(t2, t3) >= second && max(t2, t3)-min(t2, t3) <= second
}

// wrote says whether a request that looks like a reply was written over one of ours: TWAMP-Light senders that send from the
// buffer that they receive into leave all behind their 14 octets as it was. The T2 in it is known to us and to whom we sent it;
// that in a reply of another reflector is a time of its own, and a reply of ours that comes back as it was has its number still.
func (r *responder) wrote(packet []byte, q *request, x *exchange) bool {
	if r.table == nil {
		return false
	}
	s := r.table.sessions[sessionKey{x.from, q.ssid}]
	t2 := binary.BigEndian.Uint64(packet[r.sign.mode().replyLayout().t2:])
	return s != nil && s.wrote(q.seq, timestamp(t2))
}

// replies is what a reflector remembers of the replies that it was sent.
type replies struct {
	left   int   // unanswered since the log was told
	logged bool  // the log was told before, at
	at     int64 // nanoseconds since began
}

// leaveReply takes down a packet that is not answered because it is a reply, and tells the log once a minute at most.
func (r *responder) leaveReply(x *exchange) {
	const often = int64(time.Minute)
	l := &r.replies
	l.left++
	if l.logged && r.now-l.at < often {
		return
	}
	r.log.Warn("STAMP packets not answered, because they look like replies of another reflector",
		"latest_from", x.from.String(), "packets", l.left,
		"remedy", "a sender there has to zero octets 16 to 43 of its requests (with a key 28 to 95); if there is none, somebody forges that address")
	*l = replies{logged: true, at: r.now}
}
