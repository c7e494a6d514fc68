package iperf3

import (
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// The hellos of a UDP stream, as they stand on the wire: the client's, the server's, and those of versions up to 3.11.
const (
	helloSize   = 4
	clientHello = "9876"
	serverHello = "6789"
	oldHello    = "\x15\xcd\x5b\x07" // 123456789, little endian
	oldAnswer   = "\xb1\x68\xde\x3a" // 987654321, little endian
)

func isServerHello(b []byte) bool { return string(b) == serverHello || string(b) == oldAnswer }

// answerTo is what a server says to a hello.
func answerTo(hello []byte) string {
	if string(hello) == oldHello {
		return oldAnswer
	}
	return serverHello
}

// headerSize is the size of a datagram's header, which holds the time it was sent, as seconds and microseconds of the
// sender's monotonic clock, and its number from 1.
func headerSize(wide bool) int {
	if wide {
		return 16
	}
	return 12
}

// putHeader writes the header of a datagram.
func putHeader(b []byte, sent time.Duration, seq uint64, wide bool) {
	binary.BigEndian.PutUint32(b, uint32(sent/time.Second))
	binary.BigEndian.PutUint32(b[4:], uint32(sent%time.Second/time.Microsecond))
	if wide {
		binary.BigEndian.PutUint64(b[8:], seq)
	} else {
		binary.BigEndian.PutUint32(b[8:], uint32(seq))
	}
}

// parseHeader reads the header of a datagram.
func parseHeader(b []byte, wide bool) (sent time.Duration, seq uint64, ok bool) {
	if len(b) < headerSize(wide) {
		return 0, 0, false
	}
	sent = time.Duration(binary.BigEndian.Uint32(b))*time.Second + time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Microsecond
	if wide {
		seq = binary.BigEndian.Uint64(b[8:])
	} else {
		seq = uint64(binary.BigEndian.Uint32(b[8:]))
	}
	return sent, seq, seq > 0
}

// tally is what the receiver of a UDP stream counts, in iperf3's way: losses are gaps in the numbers, less what fills them
// later, so that a duplicate counts as out of order. It is safe for concurrent use.
type tally struct {
	wide bool

	mu       sync.Mutex
	bytes    int64
	received int64 // datagrams
	highest  uint64
	lost     int64
	reorder  int64
	jitter   float64 // seconds, RFC 3550 section 6.4.1
	transit  time.Duration

	omitted omitted
}

// omitted is what a tally held when the time to be left out was over.
type omitted struct {
	bytes, lost int64
	highest     uint64
}

// arrive counts one datagram that came at that time of the own clock. What is no datagram of the stream is left out.
func (t *tally) arrive(b []byte, now time.Duration) {
	sent, seq, ok := parseHeader(b, t.wide)
	if !ok || seq > math.MaxInt64 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(len(b))
	t.received++
	switch {
	case seq > t.highest:
		t.lost += int64(seq - t.highest - 1)
		t.highest = seq
	default:
		t.reorder++
		t.lost = max(0, t.lost-1)
	}
	transit := now - sent
	if t.received > 1 {
		t.jitter += (math.Abs((transit - t.transit).Seconds()) - t.jitter) / 16
	}
	t.transit = transit
}

// omit leaves out what has come so far.
func (t *tally) omit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.omitted = omitted{bytes: t.bytes, lost: t.lost, highest: t.highest}
	t.jitter = 0
}

// totals are the datagrams that have come and the jitter, with nothing left out of the counts.
func (t *tally) totals() (received, reordered int64, jitter float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.received, t.reorder, t.jitter
}

// arrived is how many bytes have come, with nothing left out.
func (t *tally) arrived() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// result puts the tally into the receiver's part of a stream's results.
func (t *tally) result(r *streamResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Bytes = number(t.bytes - t.omitted.bytes)
	r.Jitter = real(t.jitter)
	r.Errors, r.OmittedErrors = number(t.lost), number(t.omitted.lost)
	r.Packets, r.OmittedPackets = number(t.highest), number(t.omitted.highest)
}
