package stamp

import "encoding/binary"

// mode says which of the two layouts of RFC 8762 a session uses. It is agreed upon outside the protocol.
type mode uint8

const (
	unauthenticated mode = iota
	authenticated
)

// Sizes of base packets, the same both ways (RFC 8762 section 4), and the least that can be made sense of: a
// TWAMP-Light sender may send its 14 octets without padding, and a TWAMP-Light reflector may end before the TTL.
const (
	baseSize     = 44
	baseSizeAuth = 112
	leastRequest = 14
	leastReply   = 36 // unauthenticated
)

// maxPacketSize is room for any packet that fits into a jumbo frame. Nobody measures a link with longer ones, which
// would travel in fragments; they are dropped.
const maxPacketSize = 9216

// base is the size of a base packet, behind which TLVs begin.
func (m mode) base() int {
	if m == authenticated {
		return baseSizeAuth
	}
	return baseSize
}

// leastReply is the size of the shortest reply.
func (m mode) leastReply() int {
	if m == authenticated {
		return baseSizeAuth
	}
	return leastReply
}

// request is what a Session-Sender puts into a base packet.
//
//	         0      4          16/4      24/12  26/14   28/16        96/44
//	auth.    | Seq  | MBZ (12) | T1 (8)  | Err  | SSID | MBZ (68)   | HMAC (16) | TLVs
//	unauth.  | Seq  |          | T1 (8)  | Err  | SSID | MBZ (28)   |           | TLVs
type request struct {
	seq  uint32
	t1   timestamp
	err  errorEstimate
	ssid uint16
}

// t1Offset is where T1 stands in a request and T3 in a reply.
func (m mode) t1Offset() int {
	if m == authenticated {
		return 16
	}
	return 4
}

// put writes the base packet without its HMAC. b holds at least base() bytes.
func (r *request) put(b []byte, m mode) {
	clear(b[:m.base()])
	binary.BigEndian.PutUint32(b, r.seq)
	at := m.t1Offset()
	binary.BigEndian.PutUint64(b[at:], uint64(r.t1))
	binary.BigEndian.PutUint16(b[at+8:], uint16(r.err))
	binary.BigEndian.PutUint16(b[at+10:], r.ssid)
}

// parse reads a request, leniently: of an unauthenticated one the first 14 octets are enough. What must be zero is
// ignored. ok is false when the packet is too short to be one.
func (r *request) parse(b []byte, m mode) (ok bool) {
	if len(b) < leastRequest || m == authenticated && len(b) < baseSizeAuth {
		return false
	}
	at := m.t1Offset()
	*r = request{
		seq: binary.BigEndian.Uint32(b),
		t1:  timestamp(binary.BigEndian.Uint64(b[at:])),
		err: errorEstimate(binary.BigEndian.Uint16(b[at+8:])),
	}
	if len(b) >= at+12 {
		r.ssid = binary.BigEndian.Uint16(b[at+10:])
	}
	return true
}

// reply is what a Session-Reflector puts into a base packet. The second block repeats what the sender had sent.
//
//	0     16/4     24/12 26/14  32/16    48/24        64/28    72/36        80/40  96/44
//	| Seq | T3 (8) | Err | SSID | T2 (8) | Sender Seq | T1 (8) | Sender Err | TTL  | (HMAC) TLVs
type reply struct {
	seq       uint32
	t3        timestamp
	err       errorEstimate
	ssid      uint16
	t2        timestamp
	senderSeq uint32
	t1        timestamp
	senderErr errorEstimate
	ttl       uint8
}

// replyLayout is where the fields of a reply stand behind T3.
type replyLayout struct{ t2, senderSeq, t1, senderErr, ttl int }

func (m mode) replyLayout() replyLayout {
	if m == authenticated {
		return replyLayout{t2: 32, senderSeq: 48, t1: 64, senderErr: 72, ttl: 80}
	}
	return replyLayout{t2: 16, senderSeq: 24, t1: 28, senderErr: 36, ttl: 40}
}

// put writes the base packet without its HMAC. b holds at least base() bytes.
func (r *reply) put(b []byte, m mode) {
	clear(b[:m.base()])
	binary.BigEndian.PutUint32(b, r.seq)
	at, l := m.t1Offset(), m.replyLayout()
	binary.BigEndian.PutUint64(b[at:], uint64(r.t3))
	binary.BigEndian.PutUint16(b[at+8:], uint16(r.err))
	binary.BigEndian.PutUint16(b[at+10:], r.ssid)
	binary.BigEndian.PutUint64(b[l.t2:], uint64(r.t2))
	binary.BigEndian.PutUint32(b[l.senderSeq:], r.senderSeq)
	binary.BigEndian.PutUint64(b[l.t1:], uint64(r.t1))
	binary.BigEndian.PutUint16(b[l.senderErr:], uint16(r.senderErr))
	b[l.ttl] = r.ttl
}

// parse reads a reply, leniently: an unauthenticated one may end behind T1, as those of some TWAMP-Light reflectors
// do. ok is false when the packet is too short to be one.
func (r *reply) parse(b []byte, m mode) (ok bool) {
	if len(b) < m.leastReply() {
		return false
	}
	at, l := m.t1Offset(), m.replyLayout()
	*r = reply{
		seq:       binary.BigEndian.Uint32(b),
		t3:        timestamp(binary.BigEndian.Uint64(b[at:])),
		err:       errorEstimate(binary.BigEndian.Uint16(b[at+8:])),
		ssid:      binary.BigEndian.Uint16(b[at+10:]),
		t2:        timestamp(binary.BigEndian.Uint64(b[l.t2:])),
		senderSeq: binary.BigEndian.Uint32(b[l.senderSeq:]),
		t1:        timestamp(binary.BigEndian.Uint64(b[l.t1:])),
	}
	if len(b) > l.senderErr+1 {
		r.senderErr = errorEstimate(binary.BigEndian.Uint16(b[l.senderErr:]))
	}
	if len(b) > l.ttl {
		r.ttl = b[l.ttl]
	}
	return true
}

// putDeparture writes T3 into a reply, or T1 into a request, when all else is in place.
func putDeparture(b []byte, m mode, t timestamp) {
	binary.BigEndian.PutUint64(b[m.t1Offset():], uint64(t))
}
