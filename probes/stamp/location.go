package stamp

import (
	"encoding/binary"
	"net/netip"
)

// Types of the TLVs inside a Location TLV (RFC 8972 section 4.2.1). The sender asks with a general type; the reflector
// answers with the specific one.
const (
	locationSourceMAC       = 1
	locationSourceEUI64     = 3
	locationDestination     = 4
	locationDestinationIPv4 = 5
	locationDestinationIPv6 = 6
	locationSource          = 7
	locationSourceIPv4      = 8
	locationSourceIPv6      = 9
)

const (
	locationMACLength     = 8
	locationAddressLength = 16
	// locationLength is the value of the Location TLV that the sender asks with: ports and the source address.
	locationLength = minLocationLength + tlvHeader + locationAddressLength
)

// putLocationQuery turns a fresh Location TLV of locationLength into the question for the source address.
func putLocationQuery(t tlv) {
	putTLV(t.value()[minLocationLength:], locationSource, locationAddressLength)
}

// answerLocation fills in from where to where a packet came. What is not known stays zero. It returns false, and marks
// what is wrong, when the TLV is malformed.
func answerLocation(t tlv, from, to netip.AddrPort) bool {
	value := t.value()
	binary.BigEndian.PutUint16(value, to.Port())
	binary.BigEndian.PutUint16(value[2:], from.Port())
	for rest := value[minLocationLength:]; len(rest) > 0; {
		sub, next, ok := cutTLV(rest)
		if !ok {
			rest[0] = byte(flagMalformed)
			return false
		}
		if !answerLocationPart(sub, from.Addr(), to.Addr()) {
			sub.setFlags(flagMalformed)
			return false
		}
		rest = next
	}
	return true
}

// answerLocationPart answers one question. It returns false when its length is wrong.
func answerLocationPart(sub tlv, from, to netip.Addr) bool {
	switch sub.kind() {
	case locationSourceMAC:
		if len(sub.value()) != locationMACLength {
			return false
		}
		// A UDP socket does not see the frame that a packet came in, which calls for a zero EUI-64.
		sub[1] = locationSourceEUI64
		clear(sub.value())
	case locationDestination:
		return answerAddress(sub, to, locationDestinationIPv4, locationDestinationIPv6)
	case locationSource:
		return answerAddress(sub, from, locationSourceIPv4, locationSourceIPv6)
	default:
		sub.setFlags(flagUnrecognized)
		return true
	}
	sub.setFlags(0)
	return true
}

func answerAddress(sub tlv, a netip.Addr, v4, v6 byte) bool {
	if len(sub.value()) != locationAddressLength {
		return false
	}
	clear(sub.value())
	sub.setFlags(0)
	if a = a.Unmap(); a.Is4() {
		sub[1] = v4
		b := a.As4()
		copy(sub.value(), b[:])
		return true
	}
	sub[1] = v6
	if a.IsValid() {
		b := a.As16()
		copy(sub.value(), b[:])
	}
	return true
}

// readLocation reads the source that the reflector saw. The result is not valid when it did not say.
func readLocation(t tlv) netip.AddrPort {
	value := t.value()
	if len(value) < minLocationLength {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(value[2:])
	for rest := value[minLocationLength:]; len(rest) > 0; {
		sub, next, ok := cutTLV(rest)
		if !ok || sub.flags()&flagMalformed != 0 {
			break
		}
		if len(sub.value()) == locationAddressLength && sub.flags()&flagUnrecognized == 0 {
			switch sub.kind() {
			case locationSourceIPv4:
				return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sub.value())), port)
			case locationSourceIPv6:
				return netip.AddrPortFrom(netip.AddrFrom16([16]byte(sub.value())), port)
			default: // of something else
			}
		}
		rest = next
	}
	return netip.AddrPort{}
}
