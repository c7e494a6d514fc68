package stamp

import (
	"encoding/binary"
	"net/netip"
)

// What is used of the capture format pcapng (draft-ietf-opsawg-pcapng): little-endian blocks of a type, a length, a body
// that is a multiple of four long, and the length again.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d
	linkTypeRaw    = 101 // packets begin with their IPv4 or IPv6 header

	optionEnd         = 0
	optionComment     = 1
	optionApplication = 4 // of a section
	optionResolution  = 9 // of an interface: time stamps in 10^-n seconds
	optionFlags       = 2 // of a packet
	flagsInbound      = 1
	flagsOutbound     = 2
)

// captureHeader is what a file begins with: a section of unknown length with one interface, stamped in nanoseconds.
func captureHeader() []byte {
	b := appendBlock(nil, blockSection, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
		b = append(b, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // version 1.0
		b = appendOption(b, optionComment, []byte("IP and UDP headers are made up of what the socket tells."))
		b = appendOption(b, optionApplication, []byte("nrprobe"))
		return appendOption(b, optionEnd, nil)
	})
	return appendBlock(b, blockInterface, func(b []byte) []byte {
		b = append(b, linkTypeRaw, 0, 0, 0, 0, 0, 0, 0) // no limit on the length of packets
		b = appendOption(b, optionResolution, []byte{9})
		return appendOption(b, optionEnd, nil)
	})
}

// appendPacketBlock appends an Enhanced Packet Block.
func appendPacketBlock(b []byte, c *captured) []byte {
	return appendBlock(b, blockPacket, func(b []byte) []byte {
		at, size := uint64(c.at), uint32(len(c.packet)+headerSize(c.from.Addr()))
		for _, v := range []uint32{0, uint32(at >> 32), uint32(at), size, size} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = pad(appendDatagram(b, c), int(size))
		flags := uint32(flagsInbound)
		if c.sent {
			flags = flagsOutbound
		}
		b = appendOption(b, optionFlags, binary.LittleEndian.AppendUint32(nil, flags))
		if c.process {
			b = appendOption(b, optionComment, []byte("stamped by the process, not by the kernel"))
		}
		return appendOption(b, optionEnd, nil)
	})
}

func appendBlock(b []byte, kind uint32, body func([]byte) []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = body(append(b, 0, 0, 0, 0))
	length := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+4:], length)
	return binary.LittleEndian.AppendUint32(b, length)
}

func appendOption(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

// pad fills up to a multiple of four what was so long.
func pad(b []byte, length int) []byte {
	for ; length%4 != 0; length++ {
		b = append(b, 0)
	}
	return b
}

// Sizes of headers (RFC 791, RFC 8200, RFC 768).
const (
	headerIPv4  = 20
	headerIPv6  = 40
	headerUDP   = 8
	protocolUDP = 17
)

func headerSize(a netip.Addr) int {
	if a.Is4() {
		return headerIPv4 + headerUDP
	}
	return headerIPv6 + headerUDP
}

// appendDatagram appends a packet with IP and UDP header.
func appendDatagram(b []byte, c *captured) []byte {
	start, length := len(b), headerUDP+len(c.packet)
	from, to := c.from.Addr().AsSlice(), c.to.Addr().AsSlice()
	if c.from.Addr().Is4() {
		b = append(b, 0x45, c.tos)
		b = binary.BigEndian.AppendUint16(b, uint16(headerIPv4+length))
		b = append(b, 0, 0, 0x40, 0, c.ttl, protocolUDP, 0, 0) // not to be fragmented
	} else {
		b = binary.BigEndian.AppendUint32(b, 6<<28|uint32(c.tos)<<20)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, protocolUDP, c.ttl)
	}
	b = append(append(b, from...), to...)
	if c.from.Addr().Is4() {
		binary.BigEndian.PutUint16(b[start+10:], ^fold(sum(0, b[start:])))
	}
	udp := len(b)
	for _, v := range []int{int(c.from.Port()), int(c.to.Port()), length, 0} {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	b = append(b, c.packet...)
	check := ^fold(sum(sum(sum(protocolUDP+uint32(length), from), to), b[udp:]))
	if check == 0 {
		check = 0xffff // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(b[udp+6:], check)
	return b
}

// sum adds up 16-bit words (RFC 1071). What it is used for is not long enough to overflow.
func sum(total uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		total += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	return total
}

func fold(total uint32) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
