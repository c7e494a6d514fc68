package stamp

import "encoding/binary"

// tlv is one extension as it stands in a packet (RFC 8972 section 4):
//
//	| Flags (1) | Type (1) | Length of the value (2) | Value |
type tlv []byte

const tlvHeader = 4

// tlvType says what the value of a TLV means (RFC 8972 section 5.1).
type tlvType uint8

const (
	tlvReserved          tlvType = 0
	tlvExtraPadding      tlvType = 1
	tlvLocation          tlvType = 2
	tlvTimestampInfo     tlvType = 3
	tlvClassOfService    tlvType = 4
	tlvDirectMeasurement tlvType = 5
	tlvAccessReport      tlvType = 6
	tlvFollowUp          tlvType = 7
	tlvHMAC              tlvType = 8
	tlvControl           tlvType = 12 // RFC 10052
)

// firstPrivateType begins the range for private use, whose values start with an enterprise number of four octets.
const (
	firstPrivateType tlvType = 252
	lastPrivateType  tlvType = 254
)

// Lengths of values.
const (
	minLocationLength      = 4
	minTimestampInfoLength = 4
	classOfServiceLength   = 4
	directLength           = 12
	accessReportLength     = 4
	followUpLength         = 16
)

// tlvFlags are set to U by the sender; the reflector says with them what became of the TLV (RFC 8972 section 4).
type tlvFlags uint8

const (
	flagUnrecognized tlvFlags = 0x80 // U: not understood, so copied
	flagMalformed    tlvFlags = 0x40 // M: the length is wrong; nothing behind it was looked at
	flagIntegrity    tlvFlags = 0x20 // I: the authentication code was wrong; no TLV was looked at
)

func (t tlv) flags() tlvFlags     { return tlvFlags(t[0]) }
func (t tlv) setFlags(f tlvFlags) { t[0] = byte(f) }
func (t tlv) kind() tlvType       { return tlvType(t[1]) }
func (t tlv) value() []byte       { return t[tlvHeader:] }

// cutTLV takes the first TLV off. ok is false when what is left is too short for the header, or for the length that
// the header tells; the TLV is then malformed.
func cutTLV(b []byte) (t tlv, rest []byte, ok bool) {
	if len(b) < tlvHeader {
		return nil, b, false
	}
	end := tlvHeader + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return nil, b, false
	}
	return tlv(b[:end:end]), b[end:], true
}

// putTLV writes a TLV as a sender does, its U flag set and its value zero, and returns it with what is left of b.
// b holds at least tlvHeader+length bytes.
func putTLV(b []byte, kind tlvType, length int) (t tlv, rest []byte) {
	end := tlvHeader + length
	t = tlv(b[:end:end])
	clear(t)
	t.setFlags(flagUnrecognized)
	t[1] = byte(kind)
	binary.BigEndian.PutUint16(t[2:], uint16(length))
	return t, b[end:]
}

// validLength says whether the length of the value fits the type. Types that are not known may have any length.
func (t tlv) validLength() bool {
	n := len(t.value())
	switch k := t.kind(); k {
	case tlvLocation:
		return n >= minLocationLength
	case tlvTimestampInfo:
		return n >= minTimestampInfoLength
	case tlvClassOfService:
		return n == classOfServiceLength
	case tlvDirectMeasurement:
		return n == directLength
	case tlvAccessReport:
		return n == accessReportLength
	case tlvFollowUp:
		return n == followUpLength
	case tlvHMAC:
		return n == hmacSize
	case tlvControl:
		return n >= controlLength
	default:
		return k < firstPrivateType || k > lastPrivateType || n >= 4
	}
}

// plainPadding says whether the octets behind a base packet are no TLVs but the padding of a TWAMP-Light sender. Such
// padding is zero or, seldom, random; a TLV never begins with four zero octets, because type 0 is reserved.
func plainPadding(tail []byte) bool {
	return len(tail) < tlvHeader || [tlvHeader]byte(tail) == [tlvHeader]byte{}
}

// findHMAC looks for the HMAC TLV among the TLVs of a packet.
//
// preceding is what its code covers besides the sequence number. found is false when there is none. placed says that
// it stands where it must: behind all others but Extra Padding. needed says that there is a TLV that an authenticated
// session must protect: any but a lone Extra Padding. Parsing ends at a malformed TLV.
func findHMAC(tail []byte) (code tlv, preceding []byte, found, placed, needed bool) {
	placed = true
	count := 0
	for rest := tail; len(rest) > 0; {
		t, next, ok := cutTLV(rest)
		if !ok || !t.validLength() {
			break
		}
		switch {
		case t.kind() == tlvHMAC && found:
			placed = false
		case t.kind() == tlvHMAC:
			code, preceding, found = t, tail[:len(tail)-len(rest)], true
		case t.kind() != tlvExtraPadding:
			needed = true
			placed = placed && !found
		}
		count++
		rest = next
	}
	return code, preceding, found, placed, needed || count > 1
}

// classOfService is the value of the TLV of that name (RFC 8972 section 4.4):
//
//	| DSCP1 (6 bits) | DSCP2 (6) | ECN (2) | RP (2) | reserved (16) |
type classOfService struct {
	wanted   uint8 // DSCP1: what the sender wants to see on the reply
	received uint8 // DSCP2: what the reflector saw on the request
	ecn      uint8 // what the reflector saw on the request
	reverse  uint8 // RP: 1 when the reflector may not use DSCP1
}

func (c classOfService) put(value []byte) {
	bits := uint16(c.wanted)<<10 | uint16(c.received&0x3f)<<4 | uint16(c.ecn&3)<<2 | uint16(c.reverse&3)
	binary.BigEndian.PutUint16(value, bits)
	binary.BigEndian.PutUint16(value[2:], 0)
}

func parseClassOfService(value []byte) classOfService {
	bits := binary.BigEndian.Uint16(value)
	return classOfService{wanted: uint8(bits >> 10), received: uint8(bits>>4) & 0x3f, ecn: uint8(bits>>2) & 3, reverse: uint8(bits) & 3}
}

// ECN codepoints (RFC 3168 section 5).
const (
	ecnECT1 uint8 = 1
	ecnECT0 uint8 = 2
	ecnCE   uint8 = 3
)

// stampMethod says how a timestamp was obtained (RFC 8972 section 5.8).
type stampMethod uint8

const (
	methodUnknown  stampMethod = 0
	methodHardware stampMethod = 1 // with assistance of the hardware
	methodLocal    stampMethod = 2 // by software, from the local clock
)

// String names the method for notes.
func (m stampMethod) String() string {
	switch m {
	case methodHardware:
		return "hardware"
	case methodLocal:
		return "software"
	default:
		return "unknown"
	}
}

// syncSource says what a clock follows (RFC 8972 section 5.4).
type syncSource uint8

const (
	syncNTP     syncSource = 1
	syncFreeRun syncSource = 5
)

// putFollowUp writes the value of the Follow-Up Telemetry TLV (RFC 8972 section 4.7): when the reply before this one
// really left.
func putFollowUp(value []byte, seq uint32, at timestamp, m stampMethod) {
	clear(value[:followUpLength])
	binary.BigEndian.PutUint32(value, seq)
	binary.BigEndian.PutUint64(value[4:], uint64(at))
	value[12] = byte(m)
}
