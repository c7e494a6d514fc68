package icmp

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The payload of an echo request, which replies bring back as it was (RFC 792, RFC 4443 section 4.2):
//
//	0        8        16       24           size
//	| token  | number | stamp  | zero bytes |
//
// The token is random and the same for one run, the number counts from 0, and the stamp is when the packet was planned to
// leave, since the start of the run and in nanoseconds: the time at which it did is not known when it is made. All are big endian.
const (
	numberAt   = 8
	stampAt    = 16
	leastBytes = 24
)

// protocols as golang.org/x/net/icmp wants them: the numbers of the IP header.
const (
	protocolICMPv4 = 1
	protocolICMPv6 = 58
)

// session is what the packets of one run have in common.
type session struct {
	v4    bool
	id    int // of the messages; on datagram sockets the kernel writes another one over it
	raw   bool
	token [numberAt]byte
	size  int
}

// request makes the message of a number. Its sequence number is the lower half of it.
func (s *session) request(number uint64, stamp time.Duration) ([]byte, error) {
	payload := make([]byte, s.size)
	copy(payload, s.token[:])
	binary.BigEndian.PutUint64(payload[numberAt:], number)
	binary.BigEndian.PutUint64(payload[stampAt:], uint64(stamp))
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: s.id, Seq: int(uint16(number)), Data: payload}}
	if s.v4 {
		m.Type = ipv4.ICMPTypeEcho
	}
	return m.Marshal(nil)
}

// verdict is what a message turned out to be.
type verdict uint8

const (
	others  verdict = iota // not a reply to us: raw sockets see all there is
	ours                   // the reply to one of our packets
	strange                // it should be one, and is not what was sent
)

// reply reads a message that came in.
func (s *session) reply(message []byte) (number uint64, stamp time.Duration, v verdict) {
	protocol, want := protocolICMPv6, icmp.Type(ipv6.ICMPTypeEchoReply)
	if s.v4 {
		protocol, want = protocolICMPv4, ipv4.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, message)
	if err != nil || m.Type != want {
		return 0, 0, others
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok || s.raw && echo.ID != s.id {
		return 0, 0, others
	}
	if len(echo.Data) != s.size || len(echo.Data) < leastBytes || !bytes.Equal(echo.Data[:numberAt], s.token[:]) {
		return 0, 0, strange
	}
	number = binary.BigEndian.Uint64(echo.Data[numberAt:])
	if uint16(number) != uint16(echo.Seq) {
		return 0, 0, strange
	}
	return number, time.Duration(binary.BigEndian.Uint64(echo.Data[stampAt:])), ours
}
