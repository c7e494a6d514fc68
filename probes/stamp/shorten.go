package stamp

import "encoding/binary"

// Replies shorter than their requests (RFC 10052, Reflected Test Packet Control). Of what that TLV can ask for, our
// reflector does no more than shorten its one reply: more packets than came in, or longer ones, would help whoever forges
// source addresses. The value, of which we send the first field alone, its count being 1:
//
//	| length of the reply (2) | number of replies (2) | interval, ns (4) | sub-TLVs (4 or more) |
const (
	controlLength = 12 // of the value, and the least that is valid
	// flagNotConformant says that the reflector did not do all that the TLV asks for.
	flagNotConformant tlvFlags = 0x10
)

// putControl asks for one reply of that length. What cannot be left out of a reply makes it longer.
func putControl(value []byte, length int) {
	clear(value)
	binary.BigEndian.PutUint16(value, uint16(length))
	binary.BigEndian.PutUint16(value[2:], 1)
}

// answerControl takes the wish up. size is the length of the request.
func answerControl(t tlv, x *exchange, size int) tlvFlags {
	length, count := int(binary.BigEndian.Uint16(t.value())), binary.BigEndian.Uint16(t.value()[2:])
	x.length = min(length, size)
	if length > size || count != 1 {
		return flagNotConformant
	}
	return 0
}

// shorten is the length of a reply to a request that wished for another one: padding behind all other TLVs is cut, and
// nothing else. It changes no octet that an authentication code covers.
func (r *responder) shorten(packet []byte, x *exchange) int {
	if x.length == 0 || x.length >= len(packet) {
		return len(packet)
	}
	at := r.sign.mode().base()
	for rest := packet[at:]; len(rest) > 0; {
		t, next, ok := cutTLV(rest)
		if !ok {
			return len(packet)
		}
		if len(next) > 0 || t.kind() != tlvExtraPadding {
			at += len(t)
			rest = next
			continue
		}
		keep := (x.length + 3) / 4 * 4
		if keep-at < tlvHeader {
			return at // no padding is left
		}
		keep = min(keep, len(packet))
		binary.BigEndian.PutUint16(t[2:], uint16(keep-at-tlvHeader))
		return keep
	}
	return len(packet)
}
