package netsim

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// backlog is how many connections wait to be accepted; a SYN that finds it full is not answered (Linux somaxconn).
const backlog = 4096

// Dial implements probes.Network. A TCP connection takes one round trip. A port that nobody listens on answers with
// ECONNREFUSED, an address that no link leads to with ENETUNREACH at once; a SYN that is lost is repeated after 1, 3, 7, …
// seconds. UDP connects at once and finds out nothing.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	switch strings.TrimRight(network, "46") {
	case "udp":
		return h.dialPacket(network, address)
	case "tcp":
		c, addr, err := h.dialStream(ctx, network, address)
		if err != nil {
			return nil, opError("dial", network, nil, addr, err)
		}
		return c, nil
	default:
		return nil, opError("dial", network, nil, nil, errNetwork(network))
	}
}

func (h *Host) dialStream(ctx context.Context, network, address string) (net.Conn, net.Addr, error) {
	local, to, err := h.remote(network, address)
	if err != nil {
		return nil, nil, err
	}
	addr := net.TCPAddrFromAddrPort(to)
	far, link, err := h.net.route(h, to.Addr())
	if err != nil {
		return nil, addr, os.NewSyscallError("connect", err)
	}
	h.mu.Lock()
	from, err := h.bindLocked(netip.AddrPortFrom(local, 0), func(a netip.AddrPort) bool { return h.listeners[a] != nil })
	h.mu.Unlock()
	if err != nil {
		return nil, addr, os.NewSyscallError("connect", err)
	}
	d := &dialing{client: newStream(h, link, from, to), far: far, result: make(chan error, 1)}
	if d.server, err = h.counterpart(d.client, far); err != nil {
		return nil, addr, os.NewSyscallError("connect", err)
	}
	h.track(d.client)
	d.send(d.client, d.arrive)
	select {
	case err = <-d.result:
	case <-ctx.Done():
		err = ctx.Err()
	case <-d.client.closed: // the network was closed
		err = net.ErrClosed
	case <-d.client.broken: // the address changed meanwhile
		err = syscall.ECONNRESET
	}
	if err != nil {
		d.abandon()
		return nil, addr, err
	}
	return d.client, addr, nil
}

// counterpart makes the far end of a stream, which nobody knows of before the SYN arrives.
func (h *Host) counterpart(client *stream, far *Host) (*stream, error) {
	back, err := h.net.back(far, h)
	if err != nil {
		return nil, err
	}
	seen := client.local
	if !client.remote.Addr().IsLoopback() {
		h.mu.Lock()
		seen = h.nat.outward(client.local)
		h.mu.Unlock()
	}
	server := newStream(far, back, client.remote, seen)
	server.peer, client.peer = client, server
	return server, nil
}

// dialing is a TCP handshake under way.
type dialing struct {
	client, server *stream
	far            *Host
	result         chan error

	mu          sync.Mutex
	abandoned   bool
	established bool
}

// abandon forgets a connection that did not come about, or just did when nobody wanted it any more.
func (d *dialing) abandon() {
	d.mu.Lock()
	d.abandoned = true
	established := d.established
	d.mu.Unlock()
	d.client.discard()
	if established {
		d.client.sendReset()
	}
}

// discard closes an end without telling the peer.
func (s *stream) discard() {
	s.closing.Do(func() {
		s.host.mu.Lock()
		delete(s.host.streams, s)
		s.host.mu.Unlock()
		close(s.closed)
	})
}

// send carries a segment of the handshake from one end, repeated until it gets through or the time for it is over.
func (d *dialing) send(from *stream, fn func()) {
	network := from.host.net
	arrival := network.Elapsed()
	if from.link != nil {
		var err error
		arrival, _, err = from.link.segment(arrival, 0, attempt{rto: synRTO, tries: maxSYNTries})
		if err != nil {
			network.at(network.Elapsed()+synRTO<<maxSYNTries-synRTO, func() { d.done(os.NewSyscallError("connect", syscall.ETIMEDOUT)) })
			return
		}
	}
	from.mu.Lock()
	from.last = max(from.last, arrival)
	arrival = from.last
	from.mu.Unlock()
	network.at(arrival, fn)
}

func (d *dialing) done(err error) {
	select {
	case d.result <- err:
	default:
	}
}

// arrive is the SYN at the far host.
func (d *dialing) arrive() {
	l := d.far.listenerAt(d.client.remote)
	switch {
	case l == nil:
		d.send(d.server, func() { d.done(os.NewSyscallError("connect", syscall.ECONNREFUSED)) })
	case len(l.queue) == cap(l.queue):
		network := d.far.net
		network.at(network.Elapsed()+synRTO, d.arrive)
	default:
		d.far.track(d.server)
		d.send(d.server, func() { d.answer(l) })
	}
}

// answer is the SYN/ACK at the client. The server accepts when the ACK arrives.
func (d *dialing) answer(l *listener) {
	d.mu.Lock()
	abandoned := d.abandoned
	d.established = !abandoned
	d.mu.Unlock()
	if abandoned {
		d.server.discard()
		return
	}
	d.send(d.client, func() { l.offer(d.server) })
	d.done(nil)
}

// back is the link from the far host to the near one.
func (n *Network) back(far, near *Host) (*Link, error) {
	if far == near {
		return nil, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	link := n.links[[2]*Host{far, near}]
	if link == nil {
		return nil, syscall.ENETUNREACH
	}
	return link, nil
}

// listener implements net.Listener.
type listener struct {
	host    *Host
	local   netip.AddrPort
	network string
	queue   chan *stream
	read    *deadline
	closed  chan struct{}
	closing sync.Once
}

// Listen implements probes.Network. The listener has SetDeadline, as a *net.TCPListener does.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, opError("listen", network, nil, nil, errNetwork(network))
	}
	local, err := h.local(network, address)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	local, err = h.bindLocked(local, func(a netip.AddrPort) bool { return h.listenerAtLocked(a) != nil })
	if err != nil {
		return nil, opError("listen", network, nil, net.TCPAddrFromAddrPort(local), err)
	}
	l := &listener{
		host: h, local: local, network: network, queue: make(chan *stream, backlog), read: newDeadline(), closed: make(chan struct{}),
	}
	h.listeners[local] = l
	return l, nil
}

// listenerAt finds the listener that gets connections to an address as others see it.
func (h *Host) listenerAt(a netip.AddrPort) *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.nat.inward(a)
	if !ok {
		return nil
	}
	return h.listenerAtLocked(a)
}

func (h *Host) listenerAtLocked(a netip.AddrPort) *listener {
	candidates := []netip.AddrPort{a, netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())}
	if a.Addr().Is4() {
		candidates = append(candidates, netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()))
	}
	for _, c := range candidates {
		l := h.listeners[c]
		if l != nil && (!a.Addr().Is4() || !strings.HasSuffix(l.network, "6")) {
			return l
		}
	}
	return nil
}

// offer hands a connection to Accept; one that nobody will accept any more is reset.
func (l *listener) offer(s *stream) {
	if !isClosed(l.closed) {
		select {
		case l.queue <- s:
			return
		default:
		}
	}
	s.discard()
	s.sendReset()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if isClosed(l.closed) {
		return nil, l.fail("accept", net.ErrClosed)
	}
	if l.read.expired() {
		return nil, l.fail("accept", os.ErrDeadlineExceeded)
	}
	select {
	case s := <-l.queue:
		return s, nil
	case <-l.closed:
		return nil, l.fail("accept", net.ErrClosed)
	case <-l.read.wait():
		return nil, l.fail("accept", os.ErrDeadlineExceeded)
	}
}

// SetDeadline ends Accept at that time; the zero time means never.
func (l *listener) SetDeadline(t time.Time) error {
	if isClosed(l.closed) {
		return l.fail("set", net.ErrClosed)
	}
	l.read.set(t)
	return nil
}

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	err := l.fail("close", net.ErrClosed)
	l.closing.Do(func() {
		err = nil
		l.host.mu.Lock()
		delete(l.host.listeners, l.local)
		l.host.mu.Unlock()
		close(l.closed)
		l.read.set(time.Time{})
		for {
			select {
			case s := <-l.queue:
				s.discard()
				s.sendReset()
			default:
				return
			}
		}
	})
	return err
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

func (l *listener) fail(op string, err error) error {
	return opError(op, l.network, nil, l.Addr(), err)
}
