package stamp

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// controlSize holds all control messages that are asked for: stamps (three timespecs), packet info, TTL, TOS, and the
// extended error with its address.
const controlSize = 256

// message is one datagram of a batch and the room for what comes with it.
type message struct {
	payload []byte
	name    unix.RawSockaddrInet6 // large enough for IPv4 as well
	control [controlSize]byte
	iov     unix.Iovec
}

// batch receives and sends many datagrams with one system call and without allocating. Nothing in it may move while
// the kernel fills it, which holds for all memory of the Go heap. It is not safe for concurrent use.
type batch struct {
	headers  []mmsghdr
	messages []message
}

// newBatch has room for so many datagrams of at most size bytes.
func newBatch(count, size int) *batch {
	b := &batch{headers: make([]mmsghdr, count), messages: make([]message, count)}
	room := make([]byte, count*size)
	for i := range b.messages {
		b.messages[i].payload = room[i*size : (i+1)*size : (i+1)*size]
	}
	return b
}

// receive fills the batch from the socket, without waiting. The error is EAGAIN when there is nothing.
func (b *batch) receive(fd uintptr, flags int) (n int, err syscall.Errno) {
	for i := range b.headers {
		m, h := &b.messages[i], &b.headers[i].hdr
		m.iov.Base = unsafe.SliceData(m.payload)
		m.iov.SetLen(len(m.payload))
		h.Name = (*byte)(unsafe.Pointer(&m.name))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Iov = &m.iov
		h.SetIovlen(1)
		h.Control = &m.control[0]
		h.SetControllen(controlSize)
		h.Flags = 0
	}
	return callBatch(unix.SYS_RECVMMSG, fd, b.headers, flags|unix.MSG_DONTWAIT)
}

// reply makes message i ready to be sent back to where it came from: so many bytes of its payload. The control messages
// to go with it are written into what it returns, which setControl takes.
func (b *batch) reply(i, size int) control {
	b.messages[i].iov.SetLen(size)
	return control{room: b.messages[i].control[:0]}
}

func (b *batch) setControl(i int, c control) {
	h := &b.headers[i].hdr
	h.SetControllen(len(c.room))
	h.Control = nil
	if len(c.room) > 0 {
		h.Control = &b.messages[i].control[0]
	}
}

// outgoingControl is what setControl took for message i.
func (b *batch) outgoingControl(i int) []byte {
	return b.messages[i].control[:b.headers[i].hdr.Controllen]
}

// send hands the messages [from, to) to the kernel and returns how many it took, without waiting. The error is that of
// the first one that it did not take.
func (b *batch) send(fd uintptr, from, to int) (n int, err syscall.Errno) {
	return callBatch(unix.SYS_SENDMMSG, fd, b.headers[from:to], unix.MSG_DONTWAIT)
}

// callBatch makes a system call that never waits, behind the back of Go's scheduler: that a call which takes many packets
// takes long is no reason to give its processor to others.
func callBatch(trap, fd uintptr, headers []mmsghdr, flags int) (n int, err syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), uintptr(flags), 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR { // which Go's preemption signal causes
			return 0, errno
		}
	}
}

// swap exchanges two messages, so that those to be sent stand in a row.
func (b *batch) swap(i, j int) {
	if i != j {
		b.headers[i], b.headers[j] = b.headers[j], b.headers[i]
		b.messages[i], b.messages[j] = b.messages[j], b.messages[i]
		for _, k := range [...]int{i, j} {
			b.headers[k].hdr.Name = (*byte)(unsafe.Pointer(&b.messages[k].name))
			b.headers[k].hdr.Iov = &b.messages[k].iov
			if b.headers[k].hdr.Control != nil {
				b.headers[k].hdr.Control = &b.messages[k].control[0]
			}
		}
	}
}

// size is the length of a message that was received; 0 when it did not fit.
func (b *batch) size(i int) int {
	if b.headers[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return 0
	}
	return int(b.headers[i].len)
}

// from is where a message came from.
func (b *batch) from(i int) netip.AddrPort {
	name := &b.messages[i].name
	if name.Family == unix.AF_INET {
		name4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(name4.Addr), hostOrder(name4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), hostOrder(name.Port))
}

// hostOrder reads a port as the kernel keeps it.
func hostOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// ancillary is what control messages say of a datagram.
type ancillary struct {
	stamp int64      // when the kernel got it or let it go, nanoseconds since 1970; 0 when it does not say
	to    netip.Addr // its destination
	ttl   uint8
	tos   int16  // -1 when unknown
	id    uint32 // of the datagram that a departure belongs to
	isID  bool
}

// ancillary reads the control messages of message i.
func (b *batch) ancillary(i int) ancillary {
	a := ancillary{tos: -1}
	rest := b.messages[i].control[:b.headers[i].hdr.Controllen]
	for len(rest) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		length := int(h.Len)
		if length < unix.SizeofCmsghdr || length > len(rest) {
			break
		}
		a.read(h, rest[unix.CmsgLen(0):length])
		rest = rest[min(len(rest), unix.CmsgSpace(length-unix.CmsgLen(0))):]
	}
	return a
}

func (a *ancillary) read(h *unix.Cmsghdr, data []byte) {
	switch [2]int32{h.Level, h.Type} {
	case [2]int32{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}:
		if len(data) >= int(unsafe.Sizeof(unix.ScmTimestamping{})) {
			a.stamp = (*unix.ScmTimestamping)(unsafe.Pointer(&data[0])).Ts[0].Nano()
		}
	case [2]int32{unix.IPPROTO_IP, unix.IP_TTL}, [2]int32{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		a.ttl = uint8(readInt(data))
	case [2]int32{unix.IPPROTO_IP, unix.IP_TOS}, [2]int32{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		a.tos = int16(uint8(readInt(data)))
	case [2]int32{unix.IPPROTO_IP, unix.IP_PKTINFO}:
		if len(data) >= unix.SizeofInet4Pktinfo {
			a.to = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Addr)
		}
	case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		if len(data) >= unix.SizeofInet6Pktinfo {
			a.to = netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr).Unmap()
		}
	case [2]int32{unix.IPPROTO_IP, unix.IP_RECVERR}, [2]int32{unix.IPPROTO_IPV6, unix.IPV6_RECVERR}:
		if len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
			a.id, a.isID = e.Data, e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING
		}
	}
}

// readInt reads an int, or the one octet that IPv4 has for the type of service.
func readInt(data []byte) int32 {
	switch {
	case len(data) >= 4:
		return *(*int32)(unsafe.Pointer(&data[0]))
	case len(data) > 0:
		return int32(data[0])
	default:
		return 0
	}
}

// control writes control messages.
type control struct{ room []byte }

// add appends a message with room for a value of so many bytes, and returns that room.
func (c *control) add(level, kind int32, size int) unsafe.Pointer {
	at := len(c.room)
	c.room = c.room[:at+unix.CmsgSpace(size)]
	clear(c.room[at:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c.room[at]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return unsafe.Pointer(&c.room[at+unix.CmsgLen(0)])
}

// source sets the address that the reply comes from.
func (c *control) source(a netip.Addr) {
	if a = a.Unmap(); a.Is4() {
		info := (*unix.Inet4Pktinfo)(c.add(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo))
		info.Spec_dst = a.As4()
		return
	}
	info := (*unix.Inet6Pktinfo)(c.add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo))
	info.Addr = a.As16()
}

// mark sets the type of service.
func (c *control) mark(tos int16, v4 bool) {
	level, kind := int32(unix.IPPROTO_IPV6), int32(unix.IPV6_TCLASS)
	if v4 {
		level, kind = unix.IPPROTO_IP, unix.IP_TOS
	}
	*(*int32)(c.add(level, kind, 4)) = int32(tos)
}

// stampDeparture asks for the departure of this one datagram.
func (c *control) stampDeparture() {
	*(*uint32)(c.add(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 4)) = unix.SOF_TIMESTAMPING_TX_SOFTWARE
}

// segment makes the kernel cut what is sent into packets of that size.
func (c *control) segment(size int) {
	*(*uint16)(c.add(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)) = uint16(size)
}
