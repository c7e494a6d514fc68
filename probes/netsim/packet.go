package netsim

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// receiveBuffer is how many bytes of datagrams wait for a reader before further ones are dropped: a generous
	// SO_RCVBUF, so that losses come from the link, which is what tests are about.
	receiveBuffer = 8 << 20
	// maxDatagram is the largest UDP payload over IPv4 (65535 less IP and UDP headers).
	maxDatagram = 65507
)

// datagram is one that arrived.
type datagram struct {
	from    netip.AddrPort
	payload []byte
}

// packetConn is a UDP socket. It is a net.PacketConn, and a net.Conn once connected.
type packetConn struct {
	host    *Host
	network string
	local   netip.AddrPort // unspecified address: bound to all of the host's
	remote  netip.AddrPort // valid when connected

	read, write *deadline
	closed      chan struct{}
	closing     sync.Once
	ready       chan struct{} // holds a token while inbox may have something

	mu    sync.Mutex
	inbox []datagram
	bytes int
}

// ListenPacket implements probes.Network. Errors are those of the kernel: EADDRINUSE, EADDRNOTAVAIL.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if !strings.HasPrefix(network, "udp") {
		return nil, opError("listen", network, nil, nil, errNetwork(network))
	}
	local, err := h.local(network, address)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := h.openPacket(network, local, netip.AddrPort{})
	if err != nil {
		return nil, opError("listen", network, nil, net.UDPAddrFromAddrPort(local), err)
	}
	return c, nil
}

func (h *Host) dialPacket(network, address string) (net.Conn, error) {
	local, remote, err := h.remote(network, address)
	if err == nil {
		_, _, err = h.net.route(h, remote.Addr())
	}
	if err != nil {
		return nil, opError("dial", network, nil, udpAddr(remote), err)
	}
	c, err := h.openPacket(network, netip.AddrPortFrom(local, 0), remote)
	if err != nil {
		return nil, opError("dial", network, nil, udpAddr(remote), err)
	}
	return c, nil
}

func (h *Host) openPacket(network string, local, remote netip.AddrPort) (*packetConn, error) {
	h.net.mu.Lock()
	closed := h.net.closed
	h.net.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	local, err := h.bindLocked(local, func(a netip.AddrPort) bool { return h.packetAtLocked(a) != nil })
	if err != nil {
		return nil, err
	}
	c := &packetConn{
		host: h, network: network, local: local, remote: remote,
		read: newDeadline(), write: newDeadline(), closed: make(chan struct{}), ready: make(chan struct{}, 1),
	}
	h.packets[local] = c
	return c, nil
}

// packetAtLocked finds the socket that gets what is sent to an address.
func (h *Host) packetAtLocked(a netip.AddrPort) *packetConn {
	if c := h.packets[a]; c != nil {
		return c
	}
	if a.Addr().Is4() {
		if c := h.packets[netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())]; c != nil {
			return c
		}
	}
	c := h.packets[netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())]
	if c != nil && a.Addr().Is4() && strings.HasSuffix(c.network, "6") {
		return nil
	}
	return c
}

// arrive hands a datagram to the socket that it is for. Where there is none, it is gone, as with a firewall that drops.
func (h *Host) arrive(to netip.AddrPort, d datagram) {
	h.mu.Lock()
	to, ok := h.nat.inward(to)
	c := h.packetAtLocked(to)
	h.mu.Unlock()
	if !ok || c == nil || c.remote.IsValid() && c.remote != d.from {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes+len(d.payload) > receiveBuffer {
		return
	}
	c.inbox = append(c.inbox, d)
	c.bytes += len(d.payload)
	c.signal()
}

func (c *packetConn) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

func (c *packetConn) take() (datagram, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inbox) == 0 {
		return datagram{}, false
	}
	d := c.inbox[0]
	c.inbox = c.inbox[1:]
	c.bytes -= len(d.payload)
	if len(c.inbox) > 0 {
		c.signal()
	} else {
		c.inbox = nil
	}
	return d, true
}

// receive waits for a datagram, the read deadline or Close.
func (c *packetConn) receive() (datagram, error) {
	for {
		select {
		case <-c.closed:
			return datagram{}, c.fail("read", net.ErrClosed)
		default:
		}
		if c.read.expired() {
			return datagram{}, c.fail("read", os.ErrDeadlineExceeded)
		}
		if d, ok := c.take(); ok {
			return d, nil
		}
		select {
		case <-c.ready:
		case <-c.read.wait():
		case <-c.closed:
		}
	}
}

// ReadFromUDPAddrPort is as in *net.UDPConn. A datagram longer than b is cut off.
func (c *packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	d, err := c.receive()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return copy(b, d.payload), d.from, nil
}

// ReadFrom implements net.PacketConn. The address is a *net.UDPAddr.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read implements net.Conn.
func (c *packetConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

// WriteToUDPAddrPort is as in *net.UDPConn. It never blocks.
func (c *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, c.fail("write", net.ErrWriteToConnected)
	}
	return c.send(b, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
}

// WriteTo implements net.PacketConn. It never blocks.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.fail("write", syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, to.AddrPort())
}

// Write implements net.Conn.
func (c *packetConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.fail("write", syscall.EDESTADDRREQ)
	}
	return c.send(b, c.remote)
}

func (c *packetConn) send(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, c.fail("write", net.ErrClosed)
	default:
	}
	if c.write.expired() {
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	}
	if len(b) > maxDatagram {
		return 0, c.fail("write", syscall.EMSGSIZE)
	}
	from, err := c.from(to.Addr())
	if err != nil {
		return 0, c.fail("write", err)
	}
	network := c.host.net
	host, link, err := network.route(c.host, to.Addr())
	if err != nil {
		return 0, c.fail("write", err)
	}
	d := datagram{from: from, payload: append([]byte(nil), b...)}
	deliver := func() { host.arrive(to, d) }
	if link == nil {
		network.sched.at(time.Now(), deliver)
		return len(b), nil
	}
	a := link.datagram(network.Elapsed(), len(b))
	for i := range a.count {
		network.at(a.at[i], deliver)
	}
	return len(b), nil
}

// from is the source address that the receiver will see.
func (c *packetConn) from(to netip.Addr) (netip.AddrPort, error) {
	local := c.local
	if local.Addr().IsUnspecified() {
		source, err := c.host.source(to)
		if err != nil {
			return local, err
		}
		local = netip.AddrPortFrom(source, local.Port())
	}
	if local.Addr().Is4() != to.Is4() {
		return local, syscall.EAFNOSUPPORT
	}
	if to.IsLoopback() {
		return local, nil
	}
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.host.nat.outward(local), nil
}

// Close implements net.Conn and net.PacketConn. Whoever reads returns with net.ErrClosed.
func (c *packetConn) Close() error {
	err := c.fail("close", net.ErrClosed)
	c.closing.Do(func() {
		err = nil
		c.host.mu.Lock()
		delete(c.host.packets, c.local)
		c.host.mu.Unlock()
		close(c.closed)
		c.read.set(time.Time{})
		c.write.set(time.Time{})
	})
	return err
}

// LocalAddr implements net.Conn and net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn; nil unless connected.
func (c *packetConn) RemoteAddr() net.Addr { return udpAddr(c.remote) }

// SetDeadline implements net.Conn.
func (c *packetConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.read, t) }

// SetWriteDeadline implements net.Conn.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.write, t) }

// SetReadBuffer is as in *net.UDPConn. The buffer of an emulated socket is always large enough.
func (c *packetConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer is as in *net.UDPConn. An emulated socket hands on at once.
func (c *packetConn) SetWriteBuffer(int) error { return nil }

func (c *packetConn) setDeadline(d *deadline, t time.Time) error {
	select {
	case <-c.closed:
		return c.fail("set", net.ErrClosed)
	default:
		d.set(t)
		return nil
	}
}

func (c *packetConn) fail(op string, err error) error {
	return opError(op, c.network, c.LocalAddr(), c.RemoteAddr(), err)
}

// udpAddr is nil, without a type, for an address that is none.
func udpAddr(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(a)
}

var (
	_ net.PacketConn = (*packetConn)(nil)
	_ io.ReadWriter  = (*packetConn)(nil)
)
