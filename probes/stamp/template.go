package stamp

import (
	"encoding/binary"
	"math/rand/v2"
)

// template is the test packet of a session, of which only a few fields change from one packet to the next.
type template struct {
	packet   []byte
	sign     *signer
	estimate errorEstimate
	ssid     uint16
	direct   tlv    // Direct Measurement; nil when left out
	code     tlv    // HMAC; nil when left out
	covered  []byte // what the HMAC TLV covers besides the sequence number
	omitted  []string
}

// newTemplate lays out a packet of the configured size: as many of the wanted TLVs as fit, in the order of their importance,
// the HMAC TLV behind them where there is a key, and Extra Padding (RFC 8972 section 4.1) to the end.
func newTemplate(c *Config, sign *signer, ssid uint16, random *rand.Rand) *template {
	return newShape(c, shape{size: c.Size, reply: c.Size, ssid: ssid}, sign, random)
}

// shape is what tells the packets of one flow from those of another: the length of requests and replies.
type shape struct {
	size, reply int
	ssid        uint16
}

// newShape lays out a packet that may ask for a shorter reply.
func newShape(c *Config, s shape, sign *signer, random *rand.Rand) *template {
	t := &template{packet: make([]byte, s.size), sign: sign, ssid: s.ssid, estimate: newErrorEstimate(0, false, formatNTP)}
	rest := t.packet[sign.mode().base():]
	if c.TLVs {
		rest = t.extend(rest, c, s)
	}
	if len(rest) >= tlvHeader {
		padding, _ := putTLV(rest, tlvExtraPadding, len(rest)-tlvHeader)
		for i := range padding.value() {
			padding.value()[i] = byte(random.Uint32())
		}
	}
	return t
}

// extend puts the wanted TLVs behind the base packet and returns the room that is left: none, or enough for padding.
func (t *template) extend(tail []byte, c *Config, s shape) (rest []byte) {
	rest, reserved := tail, 0
	if t.sign != nil {
		reserved = tlvHeader + hmacSize
	}
	for _, want := range []struct {
		name   string
		kind   tlvType
		length int
		wanted bool
	}{
		{"reflected test packet control", tlvControl, controlLength, s.reply < s.size},
		{"follow-up telemetry", tlvFollowUp, followUpLength, c.Stamps != stampsUser},
		{"class of service", tlvClassOfService, classOfServiceLength, c.tos() != 0},
		{"direct measurement", tlvDirectMeasurement, directLength, true},
		{"location", tlvLocation, locationLength, true},
		{"timestamp information", tlvTimestampInfo, minTimestampInfoLength, true},
		{"condition of the far end", tlvCondition, conditionLength, true},
	} {
		if !want.wanted {
			continue
		}
		left := len(rest) - reserved - tlvHeader - want.length
		if left < 0 || left > 0 && left < tlvHeader {
			t.omitted = append(t.omitted, want.name)
			continue
		}
		var put tlv
		put, rest = putTLV(rest, want.kind, want.length)
		switch want.kind {
		case tlvDirectMeasurement:
			t.direct = put
		case tlvControl:
			putControl(put.value(), s.reply)
		case tlvLocation:
			putLocationQuery(put)
		case tlvCondition:
			putConditionQuery(put.value())
		case tlvClassOfService:
			classOfService{wanted: uint8(c.DSCP)}.put(put.value())
		default: // leaves as zero what the reflector is to fill in
		}
	}
	if t.sign != nil && len(rest) < len(tail) {
		t.covered = tail[:len(tail)-len(rest)]
		t.code, rest = putTLV(rest, tlvHMAC, hmacSize)
	}
	return rest
}

// prepare writes all but the time: what can be done before the packet is due.
func (t *template) prepare(seq uint32) {
	q := request{seq: seq, err: t.estimate, ssid: t.ssid}
	q.put(t.packet, t.sign.mode())
	if t.direct != nil {
		binary.BigEndian.PutUint32(t.direct.value(), seq+1)
	}
	if t.code != nil {
		t.sign.signTLVs(t.packet, t.covered, t.code)
	}
}

// depart writes T1, in nanoseconds since 1970, and signs the base packet.
func (t *template) depart(t1 int64) []byte {
	putDeparture(t.packet, t.sign.mode(), newTimestamp(t1, t.estimate.format()))
	if t.sign != nil {
		t.sign.signBase(t.packet)
	}
	return t.packet
}
