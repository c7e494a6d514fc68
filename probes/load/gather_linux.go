package load

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Gather has the kernel hand over the datagrams that arrived together in one piece (UDP_GRO, udp(7)), where it can. What it
// returns is pc to all users but quic-go, which asks it for several datagrams at a time: one system call then serves up to 64 of
// them. A socket that is no kernel's comes back as it is.
func Gather(pc net.PacketConn) net.PacketConn {
	c, ok := pc.(*net.UDPConn)
	if !ok {
		return pc
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return pc
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	if controlErr != nil || err != nil {
		return pc // a kernel before 5.0
	}
	return &gathered{UDPConn: c, buffer: make([]byte, 1<<16), control: make([]byte, gatheredControl)}
}

// gatheredControl has room for what quic-go asks the kernel to tell of each datagram, and for the size of the pieces.
const gatheredControl = 256

// gathered is a socket whose ReadBatch one goroutine calls.
type gathered struct {
	*net.UDPConn
	buffer, control []byte

	rest    []byte // of the buffer, not yet handed out
	segment int    // of the datagrams in it, but for the last, which may be shorter
	told    []byte // the control messages of all of them
	from    *net.UDPAddr
}

// ReadBatch blocks until a datagram is there, and hands out as many as ms has places for and the kernel put together.
func (g *gathered) ReadBatch(ms []ipv4.Message, _ int) (n int, err error) {
	for len(g.rest) == 0 { // an empty datagram is none of QUIC
		if err := g.read(); err != nil {
			return 0, err
		}
	}
	for ; n < len(ms) && len(g.rest) > 0; n++ {
		one := g.rest[:min(g.segment, len(g.rest))]
		g.rest = g.rest[len(one):]
		m := &ms[n]
		m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], one), copy(m.OOB, g.told), 0, g.from
	}
	return n, nil
}

func (g *gathered) read() error {
	n, controlled, _, from, err := g.ReadMsgUDP(g.buffer, g.control)
	if err != nil {
		return err
	}
	g.rest, g.segment, g.from = g.buffer[:n], n, from
	g.told = g.told[:0]
	for rest := g.control[:controlled]; len(rest) >= unix.SizeofCmsghdr; {
		header, data, more, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break // what is known by then will do
		}
		if header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(data) >= 4 {
			if size := int(binary.NativeEndian.Uint32(data)); size > 0 {
				g.segment = size
			}
		} else {
			g.told = append(g.told, rest[:len(rest)-len(more)]...)
		}
		rest = more
	}
	return nil
}
