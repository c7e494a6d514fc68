package stamp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// line is the link in use. A session outlives its socket: a device that moves gets other addresses, and interfaces
// come and go. The sequence goes on; the reflector, which sees another source, counts anew.
type line struct {
	mu    sync.Mutex
	link  link
	local netip.Addr // of the link's socket
	ended bool

	// Session times in nanoseconds, 0 for none: since when the kernel refuses all packets, and when the first one left
	// that no reply has followed.
	refusing, silent atomic.Int64
}

// sent takes down that a packet left, or that the kernel refused it.
func (n *line) sent(at time.Duration, refused bool) {
	if refused {
		n.refusing.CompareAndSwap(0, int64(at))
		return
	}
	n.refusing.Store(0)
	n.silent.CompareAndSwap(0, int64(at))
}

// since is how long ago a moment was; 0 when there was none.
func since(moment *atomic.Int64, now time.Duration) time.Duration {
	at := time.Duration(moment.Load())
	if at == 0 {
		return 0
	}
	return now - at
}

func (n *line) current() link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link
}

// replace puts another link in the place of the present one, which makes its reader come for the new one. After stop
// the new link is closed instead.
func (n *line) replace(l link, local netip.Addr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return l.close()
	}
	old := n.link
	n.link, n.local = l, local
	if old == nil {
		return nil
	}
	old.stop()
	return old.close()
}

// stop ends all receiving, for good.
func (n *line) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	n.link.stop()
}

// reader returns the link to receive from after one has failed; ok is false when that was no replacement.
func (n *line) reader(failed link) (next link, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link, n.link != failed && !n.ended
}

// When the line is looked at, and when it is given up.
const (
	lookEvery = time.Second
	// refusedLimit: a kernel that takes no packet for so long has lost the route or the interface of the socket.
	refusedLimit = 2 * time.Second
	// silentLimit: when no reply came for so long, the socket's address may not be ours any more. A new socket is
	// opened to see; if its address is the same, the outage is the network's and the old socket is kept, because a
	// new one would lose the reflector's count, and with it the direction of what is lost now.
	silentLimit = 15 * time.Second
	// blockedLimit: something on the way may have forgotten this very flow, or blocks it.
	blockedLimit = 5 * time.Minute
	dialLimit    = 5 * time.Second
)

// keep replaces the link when it leads nowhere any more, until ctx ends.
func (m *measurement) keep(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last := time.Duration(0) // when a socket was opened last
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		now := m.clock.now()
		refused := since(&m.line.refusing, now) > refusedLimit
		silence := since(&m.line.silent, now)
		switch tried := now - last; {
		case refused && tried > refusedLimit, silence > blockedLimit && tried > blockedLimit:
			last = now
			m.redial(ctx, true)
		case silence > silentLimit && tried > silentLimit:
			last = now
			m.redial(ctx, false)
		}
	}
}

// redial opens a new socket and uses it if it must, or if its address is another than that of the present one.
func (m *measurement) redial(ctx context.Context, must bool) {
	dialing, done := context.WithTimeout(ctx, dialLimit)
	defer done()
	conn, err := m.dial(dialing)
	if err != nil {
		m.log.Debug("no new socket towards the reflector", "error", err.Error())
		return
	}
	local := addrPort(conn.LocalAddr()).Addr()
	if m.line.address() == local && !must {
		_ = conn.Close() // nothing was sent on it
		return
	}
	m.log.Info("new socket towards the reflector", "local", local.String())
	if err := m.connect(conn); err != nil {
		m.log.Info("closing the old socket", "error", err.Error())
	}
}

// connect takes a connection into use. A kernel stamps departures behind its own queue, where a link that is full keeps
// packets waiting: whoever wants that wait in the round trip asks for stamps from user space.
func (m *measurement) connect(conn net.Conn) error {
	local := addrPort(conn.LocalAddr()).Addr()
	m.watch.over(local)
	m.capture.ends(addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))
	if m.config.Stamps == stampsUser {
		return m.line.replace(newPlainLink(conn, m.clock), local)
	}
	return m.line.replace(openLink(conn, m.clock, m.ledger, m.log), local)
}

func (n *line) address() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.local
}
