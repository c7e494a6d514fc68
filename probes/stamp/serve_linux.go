package stamp

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serve answers on the socket until reading fails.
func serve(pc net.PacketConn, r *responder, log *slog.Logger) error {
	raw, err := rawConn(pc)
	if err == nil {
		err = setStamps(raw, stampArrivals|nameDepartures)
	}
	if err != nil {
		log.Info("STAMP reflector stamps packets in user space", "address", pc.LocalAddr().String(), "reason", err.Error())
		return servePlain(pc, r)
	}
	if err := askForHeader(raw); err != nil {
		return fmt.Errorf("setting options of %s: %w", pc.LocalAddr(), err)
	}
	// A burst that arrives while the process does not run is kept by the kernel; it grants what its limit allows.
	if u, ok := pc.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(socketBuffer)
	}
	if r.clock == nil {
		r.clock = hostClock
		r.estimate = r.clock.estimate()
	}
	if r.lookout.lost == nil {
		r.lookout.lost = dropsOf(raw)
	}
	log.Info("STAMP reflector stamps packets in the kernel", "address", pc.LocalAddr().String())
	return newServer(raw, addrPort(pc.LocalAddr()).Port(), r).run()
}

const (
	serveBatch   = 64
	socketBuffer = 4 << 20
	// departureNames is how many departures may be on their way from the kernel; a power of two.
	departureNames = 1024
	// calmBatch is up to how many packets at once the server answers one by one, so that the departure of each reply is
	// known before the next one leaves. Under load it saves the effort.
	calmBatch = 32
	// pressedTurns is how many times in a row the server may find requests waiting until it takes that for load: a burst
	// that it answers one by one is over by then.
	pressedTurns = 4
)

// server answers on a kernel socket, in batches. Its methods run one after the other.
type server struct {
	raw      syscall.RawConn
	port     uint16
	respond  *responder
	requests *batch
	events   *batch // from the error queue
	received int
	pressed  int // turns in a row that found requests without having to wait for any
	failed   error
	restart  bool // a send failed, so that names of departures are in doubt

	named [departureNames]named
	asked uint32 // departures asked for so far: the name of the next one

	sent, end int                      // the replies [sent, end) are to be sent
	bundles   *bundles                 // of the same
	try       [2]func(fd uintptr) bool // receive and send, bound once so that calling them allocates nothing
}

// named is the reply whose departure was asked for.
type named struct {
	session *session
	key     sessionKey // the session may have been given to another sender since
	seq     uint32
}

func newServer(raw syscall.RawConn, port uint16, r *responder) *server {
	s := &server{raw: raw, port: port, respond: r, requests: newBatch(serveBatch, maxPacketSize), events: newBatch(serveBatch, 1), bundles: newBundles(raw, serveBatch)}
	s.try = [2]func(uintptr) bool{s.tryReceive, s.trySend}
	return s
}

func (s *server) run() error {
	for failures := 0; ; {
		if err := s.turn(); err != nil {
			return err
		}
		if s.failed == nil {
			failures = 0
			continue
		}
		if failures++; failures == maxReadErrors {
			return fmt.Errorf("reading STAMP packets: %w", s.failed)
		}
	}
}

// turn waits for requests and answers them. failed says that this reading failed.
func (s *server) turn() error {
	s.failed, s.received = nil, 0
	s.pressed++
	if err := s.raw.Read(s.try[0]); err != nil {
		return fmt.Errorf("reading STAMP packets: %w", err)
	}
	step := s.received
	if s.calm() {
		step = 1
	}
	for from := 0; from < s.received; from += step {
		if err := s.reply(from, from+step); err != nil {
			return err
		}
	}
	return nil
}

// calm says whether few enough requests came at once to be answered one by one, after a time without any.
func (s *server) calm() bool { return s.received <= calmBatch && s.pressed < pressedTurns }

// reply answers the requests [from, to).
func (s *server) reply(from, to int) error {
	if s.answer(from, to); s.sent == s.end {
		return nil
	}
	if err := s.raw.Write(s.try[1]); err != nil {
		return fmt.Errorf("sending STAMP packets: %w", err)
	}
	if s.restart {
		return s.renameDepartures()
	}
	return nil
}

// tryReceive is false when there is nothing to read yet.
func (s *server) tryReceive(fd uintptr) bool {
	n, errno := s.requests.receive(fd, 0)
	s.takeDepartures(fd)
	switch errno {
	case 0:
		s.received = n
	case unix.EAGAIN:
		s.pressed = 0
		return false
	default:
		s.failed = os.NewSyscallError("recvmmsg", errno)
	}
	return true
}

// takeDepartures empties the error queue.
func (s *server) takeDepartures(fd uintptr) {
	for {
		n, errno := s.events.receive(fd, unix.MSG_ERRQUEUE)
		if errno != 0 {
			return
		}
		for i := range n {
			a := s.events.ancillary(i)
			if !a.isID || a.stamp == 0 || s.asked-a.id-1 >= departureNames {
				continue
			}
			d := s.named[a.id%departureNames]
			if d.session != nil && d.session.key == d.key {
				d.session.departed, d.session.departedSeq, d.session.departedMethod = a.stamp, d.seq, methodLocal
			}
		}
		if n < serveBatch {
			return
		}
	}
}

// answer turns the requests [from, to) into replies, in place and in a row.
func (s *server) answer(from, to int) {
	s.sent, s.end = from, from
	s.bundles.clear()
	now := time.Now().UnixNano()
	for i := from; i < to; i++ {
		a := s.requests.ancillary(i)
		x := exchange{arrival: arrival{from: s.requests.from(i), to: netip.AddrPortFrom(a.to, s.port), t2: a.stamp, method: methodLocal, ttl: a.ttl, tos: a.tos}}
		if x.t2 == 0 {
			x.t2 = now
		}
		x.waited = time.Duration(now - x.t2)
		size := s.respond.answer(s.requests.messages[i].payload, s.requests.size(i), &x)
		if size == 0 {
			continue
		}
		s.prepare(i, size, &x)
	}
	now = time.Now().UnixNano()
	for i := s.sent; i < s.end; i++ {
		m := &s.requests.messages[i]
		s.respond.depart(m.payload[:m.iov.Len], now)
	}
	s.bundles.seal(s.requests)
}

// prepare readies one reply and moves it to the end of the row.
func (s *server) prepare(i, size int, x *exchange) {
	c := s.requests.reply(i, size)
	if x.to.Addr().IsValid() {
		c.source(x.to.Addr())
	}
	if x.mark >= 0 {
		c.mark(x.mark, x.from.Addr().Is4())
	}
	if x.followUp && s.calm() {
		c.stampDeparture()
		s.named[s.asked%departureNames] = named{session: x.session, key: x.session.key, seq: x.session.sent - 1}
		s.asked++
	}
	s.requests.setControl(i, c)
	s.requests.swap(s.end, i)
	if s.bundling() {
		s.bundles.add(s.requests, s.end, x.from)
	}
	s.end++
}

// bundling says whether replies leave in bundles. Those sent one by one have no company.
func (s *server) bundling() bool { return s.bundles.longest > 0 && !s.calm() }

// trySend is false when the socket takes no more for now.
func (s *server) trySend(fd uintptr) bool {
	for s.sent < s.end {
		n, errno := 0, syscall.Errno(0)
		if s.bundling() {
			n, errno = s.bundles.send(fd, s.requests, s.sent)
		} else {
			n, errno = s.requests.send(fd, s.sent, s.end)
		}
		s.sent += n
		switch errno {
		case 0:
		case unix.EAGAIN:
			return false
		default:
			// This reply cannot be sent, which its receiver sees as a packet lost. The kernel may or may not have
			// counted it among those to be stamped.
			s.sent++
			s.restart = s.calm()
		}
	}
	if s.calm() {
		s.takeDepartures(fd)
	}
	return true
}

// renameDepartures begins the names of departures anew.
func (s *server) renameDepartures() error {
	s.restart, s.asked = false, 0
	clear(s.named[:])
	if err := setStamps(s.raw, stampArrivals); err != nil {
		return err
	}
	return setStamps(s.raw, stampArrivals|nameDepartures)
}
