package stamp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// arrival is what is known of a request besides its octets.
type arrival struct {
	from, to netip.AddrPort // to may lack its address where the system does not tell it
	t2       int64          // nanoseconds since 1970, by the clock that T3 will be taken from
	method   stampMethod    // how t2 was obtained
	waited   time.Duration  // since t2, in the socket; 0 when unknown
	ttl      uint8          // 0 when unknown
	tos      int16          // DSCP and ECN as in the IP header; -1 when unknown
}

// dscp and ecn are the parts of the type-of-service octet. They are meaningful when tos is not negative.
func (a *arrival) dscp() uint8 { return uint8(a.tos) >> 2 }
func (a *arrival) ecn() uint8  { return uint8(a.tos) & 3 }

// exchange is one request on its way to becoming a reply.
type exchange struct {
	arrival
	session *session // nil when the reflector keeps no state
	genuine bool     // the request's HMAC TLV was verified
	mark    int16    // type-of-service octet of the reply; -1 for the default
	length  int      // that the sender wishes the reply to have; 0 for that of the request
	// followUp says that the sender wants to know when the reply really left, so its departure is to be stamped.
	followUp bool
}

// answerTLVs turns the TLVs of a request into those of the reply, in place (RFC 8972 section 4). packet is the reply
// with its base already written; its sequence number is covered by the HMAC TLV.
func (r *responder) answerTLVs(packet []byte, x *exchange) {
	tail := packet[r.sign.mode().base():]
	if plainPadding(tail) {
		return
	}
	code, preceding, found, placed, needed := findHMAC(tail)
	wrong := found && !placed
	if r.sign != nil {
		wrong = needed && (!found || !placed || !x.genuine)
	}
	if wrong {
		markIntegrity(tail)
		return
	}
	for rest := tail; len(rest) > 0; {
		t, next, ok := cutTLV(rest)
		if !ok {
			rest[0] = byte(flagMalformed)
			break
		}
		if t.kind() == tlvControl && t.validLength() {
			t.setFlags(answerControl(t, x, len(packet)))
		} else if !t.validLength() || !r.answerTLV(t, x) {
			malformed(t)
			break
		}
		rest = next
	}
	if found && r.sign != nil {
		r.sign.signTLVs(packet, preceding, code)
	}
}

// verifyTLVs checks the HMAC TLV of a request while its octets are still what the sender sent.
// The packet is no shorter than a base packet.
func (r *responder) verifyTLVs(packet []byte) bool {
	if r.sign == nil {
		return false
	}
	code, preceding, found, _, _ := findHMAC(packet[r.sign.mode().base():])
	return found && r.sign.checkTLVs(packet, preceding, code)
}

// markIntegrity says in each TLV that the extensions failed verification.
func markIntegrity(tail []byte) {
	for len(tail) > 0 {
		t, rest, ok := cutTLV(tail)
		if !ok {
			tail[0] |= byte(flagIntegrity)
			return
		}
		t.setFlags(t.flags() | flagIntegrity)
		tail = rest
	}
}

// malformed marks a TLV whose length does not fit its type. Follow-Up Telemetry is cleared besides (section 4.7).
func malformed(t tlv) {
	if t.kind() == tlvFollowUp {
		clear(t.value()[:min(len(t.value()), 12)])
	}
	t.setFlags(flagMalformed)
}

// answerTLV fills in one TLV whose length is right. It returns false when the TLV turns out to be malformed inside.
func (r *responder) answerTLV(t tlv, x *exchange) bool {
	value := t.value()
	understood := true
	switch t.kind() {
	case tlvExtraPadding:
	case tlvLocation:
		if !answerLocation(t, x.from, x.to) {
			return false
		}
	case tlvTimestampInfo:
		source := syncFreeRun
		if r.estimate.synced() {
			source = syncNTP
		}
		value[0], value[1], value[2], value[3] = byte(source), byte(x.method), byte(source), byte(methodLocal)
	case tlvClassOfService:
		understood = answerClassOfService(value, x)
	case tlvDirectMeasurement:
		if understood = x.session != nil; understood {
			binary.BigEndian.PutUint32(value[4:], x.session.received)
			binary.BigEndian.PutUint32(value[8:], x.session.sent)
		}
	case tlvAccessReport:
		access := value[0] >> 4
		understood = access == 1 || access == 2
		value[0], value[2], value[3] = access<<4, 0, 0
	case tlvFollowUp:
		clear(value)
		if x.session != nil {
			x.followUp = true
			r.putLastDeparture(value, x.session)
		}
	case tlvHMAC:
		understood = r.sign != nil
	case tlvCondition:
		if understood = isCondition(value); understood {
			r.lookout.condition(r.now).put(value)
		}
	default:
		understood = false
	}
	if understood {
		t.setFlags(0)
	} else {
		t.setFlags(flagUnrecognized)
	}
	return true
}

// answerClassOfService says how the request was marked and takes up the marking that the reply should have. It returns
// false where the system does not show the marking: then the TLV was not processed.
func answerClassOfService(value []byte, x *exchange) bool {
	if x.tos < 0 {
		return false
	}
	c := parseClassOfService(value)
	c.received, c.ecn, c.reverse = x.dscp(), x.ecn(), 0
	c.put(value)
	// The request's ECN goes back as well, so that the way back can be told apart: a mark of congestion on the request
	// becomes ECT(0) on the reply, where a new mark can show.
	ecn := x.ecn()
	if ecn == ecnCE {
		ecn = ecnECT0
	}
	x.mark = int16(c.wanted)<<2 | int16(ecn)
	return true
}

// putLastDeparture tells when the last reply of the session left, if that was stamped.
func (r *responder) putLastDeparture(value []byte, s *session) {
	if s.departed != 0 {
		putFollowUp(value, s.departedSeq, newTimestamp(s.departed, r.estimate.format()), s.departedMethod)
	}
}
