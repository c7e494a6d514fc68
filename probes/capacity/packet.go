package capacity

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Every datagram begins alike, numbers big endian:
//
//	0       4      5      6       8                       24              32              40
//	+-------+------+------+-------+-----------------------+---------------+---------------+------
//	| magic | type | zero | train | token                 | number        | time in ns    | ...
//	+-------+------+------+-------+-----------------------+---------------+---------------+------
//
// Hello and confirm are padded to helloSize, load to the session's size; cookie and feedback fields follow at 40. In load,
// the number is the sequence number, the time the sender's clock, and at 40 and 44 follow the place in the train and the
// train's length.
const (
	magic      = 0x6e724331 // "nrC1"
	headerSize = 40
	loadHeader = 48
	// helloSize is more than challengeSize: what is answered is never smaller than the answer.
	helloSize     = 96
	challengeSize = headerSize + tokenSize
	feedbackSize  = headerSize + 56
	tokenSize     = 16
	// minSize has room for the header; maxSize is what RFC 9097 section 8.1 takes for a path without fragmentation.
	minSize = 64
	maxSize = 1222
)

// kindOf is what a datagram is for.
type kindOf uint8

// The kinds of datagrams.
const (
	helloPacket kindOf = 1 + iota
	challengePacket
	confirmPacket
	loadPacket
	feedbackPacket
)

// token is what a session's datagrams show to belong to it; drawn by the far end.
type token [tokenSize]byte

// MarshalText implements encoding.TextMarshaler.
func (t token) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, t[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *token) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != tokenSize {
		return fmt.Errorf("token %q is not %d bytes in hexadecimal", text, tokenSize)
	}
	copy(t[:], b)
	return nil
}

// datagram is a header, read.
type datagram struct {
	kind   kindOf
	train  uint16
	number uint64
	time   time.Duration
	rest   []byte // behind the header
}

// putHeader writes a header into b.
func putHeader(b []byte, kind kindOf, t token) {
	binary.BigEndian.PutUint32(b, magic)
	b[4], b[5] = byte(kind), 0
	binary.BigEndian.PutUint16(b[6:], 0)
	copy(b[8:], t[:])
	clear(b[24:headerSize])
}

// putLoad completes the header of a load datagram.
func putLoad(b []byte, number uint64, at time.Duration) {
	binary.BigEndian.PutUint64(b[24:], number)
	binary.BigEndian.PutUint64(b[32:], uint64(at))
}

// putTrain says where in which train a load datagram is.
func putTrain(b []byte, train uint16, place, length uint32) {
	binary.BigEndian.PutUint16(b[6:], train)
	binary.BigEndian.PutUint32(b[40:], place)
	binary.BigEndian.PutUint32(b[44:], length)
}

var errDatagram = errors.New("not a datagram of this session")

// parseDatagram reads a header and holds its token against the session's.
func parseDatagram(b []byte, t token) (datagram, error) {
	if len(b) < headerSize || binary.BigEndian.Uint32(b) != magic || b[5] != 0 {
		return datagram{}, errDatagram
	}
	if subtle.ConstantTimeCompare(b[8:24], t[:]) != 1 {
		return datagram{}, errDatagram
	}
	d := datagram{
		kind: kindOf(b[4]), train: binary.BigEndian.Uint16(b[6:]), number: binary.BigEndian.Uint64(b[24:]),
		time: time.Duration(binary.BigEndian.Uint64(b[32:])), rest: b[headerSize:],
	}
	if len(b) < d.kind.least() || d.time < 0 {
		return datagram{}, errDatagram
	}
	return d, nil
}

// least is how long a datagram of the kind is at least; more than any is, for a kind that does not exist.
func (k kindOf) least() int {
	switch k {
	case helloPacket, confirmPacket:
		return helloSize
	case challengePacket:
		return challengeSize
	case loadPacket:
		return minSize
	case feedbackPacket:
		return feedbackSize
	default:
		return 1 << 16
	}
}

// feedback is the receiver's word on what arrived since the feedback before (RFC 9097 section 8.1). Times are by the
// receiver's clock.
type feedback struct {
	number uint64 // from 1
	// received, lost, reordered and duplicated are datagrams; delayRange is the largest delay above the smallest of the test.
	received, lost, reordered, duplicated uint32
	delayRange                            time.Duration
	// train is the last train that is complete, spread the time from its first to its last datagram, and arrived how many
	// of it came.
	train   uint16
	arrived uint32
	spread  time.Duration
}

// anomalies are the sequence errors that the search judges.
func (f feedback) anomalies() int64 {
	return int64(f.lost) + int64(f.reordered) + int64(f.duplicated)
}

// encode writes a feedback datagram.
func (f feedback) encode(t token) []byte {
	whole := make([]byte, feedbackSize)
	b := whole
	putHeader(b, feedbackPacket, t)
	putLoad(b, f.number, 0)
	binary.BigEndian.PutUint16(b[6:], f.train)
	b = b[headerSize:]
	for i, v := range []uint32{f.received, f.lost, f.reordered, f.duplicated, f.arrived, 0} {
		binary.BigEndian.PutUint32(b[4*i:], v)
	}
	binary.BigEndian.PutUint64(b[24:], uint64(f.delayRange))
	binary.BigEndian.PutUint64(b[32:], uint64(f.spread))
	return whole
}

// parseFeedback reads what encode wrote.
func parseFeedback(b []byte, t token) (feedback, error) {
	d, err := parseDatagram(b, t)
	if err != nil {
		return feedback{}, err
	}
	if d.kind != feedbackPacket {
		return feedback{}, errDatagram
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(d.rest[4*i:]) }
	f := feedback{
		number: d.number, train: d.train, received: word(0), lost: word(1), reordered: word(2), duplicated: word(3), arrived: word(4),
		delayRange: time.Duration(binary.BigEndian.Uint64(d.rest[24:])), spread: time.Duration(binary.BigEndian.Uint64(d.rest[32:])),
	}
	if f.delayRange < 0 || f.spread < 0 {
		return feedback{}, errDatagram
	}
	return f, nil
}
