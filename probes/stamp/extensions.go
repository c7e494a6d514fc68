package stamp

import (
	"encoding/binary"
	"net/netip"
)

// extensions is what the TLVs of a reply tell the sender.
type extensions struct {
	told      departure // of the reply before
	condition condition
	source    netip.AddrPort // ours as the far end sees it; not valid when it does not say
	methodT2  stampMethod
	methodT3  stampMethod // of the departure told by follow-up telemetry
	follows   bool        // the far end takes part in follow-up telemetry
	counts    bool        // the far end counts the packets of this session
	synced    bool        // the far end's clock follows a source of time
	shortens  bool        // the far end makes its replies as short as asked for
	tos       int16       // type of service of our packet when it arrived; -1 when the far end does not say
}

// read takes in the TLVs of a reply whose base packet was accepted (RFC 8972 section 4): those marked U are skipped, M
// ends the reading, and I or a wrong code makes all of them void.
func (x *extensions) read(packet []byte, sign *signer) {
	*x = extensions{tos: -1}
	base := sign.mode().base()
	if len(packet) <= base || plainPadding(packet[base:]) {
		return
	}
	tail := packet[base:]
	if sign != nil {
		code, preceding, found, placed, needed := findHMAC(tail)
		if needed && (!found || !placed || !sign.checkTLVs(packet, preceding, code)) {
			return
		}
	}
	for rest := tail; len(rest) > 0; {
		t, next, ok := cutTLV(rest)
		if !ok || t.flags()&flagMalformed != 0 || !t.validLength() {
			return
		}
		if t.flags()&flagIntegrity != 0 {
			*x = extensions{tos: -1}
			return
		}
		if t.flags()&flagUnrecognized == 0 {
			x.take(t)
		}
		rest = next
	}
}

func (x *extensions) take(t tlv) {
	value := t.value()
	switch t.kind() {
	case tlvLocation:
		x.source = readLocation(t)
	case tlvCondition:
		x.condition = readCondition(value)
	case tlvTimestampInfo:
		source := syncSource(value[0])
		x.synced = source > 0 && source < syncFreeRun
		x.methodT2 = stampMethod(value[1])
	case tlvClassOfService:
		c := parseClassOfService(value)
		x.tos = int16(c.received)<<2 | int16(c.ecn)
	case tlvControl:
		x.shortens = t.flags()&flagNotConformant == 0
	case tlvDirectMeasurement:
		x.counts = binary.BigEndian.Uint32(value[4:]) > 0
	case tlvFollowUp:
		at := timestamp(binary.BigEndian.Uint64(value[4:]))
		x.follows = true
		x.told = departure{seq: binary.BigEndian.Uint32(value), at: at, ok: at != 0}
		x.methodT3 = stampMethod(value[12])
	default: // says nothing that the sender has use for
	}
}
