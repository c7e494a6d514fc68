package netsim

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamWindow is how many bytes a stream has under way or waiting for the far end's reader before Write blocks: Linux's
// default limit of a send buffer (tcp_wmem, 4 MiB). It bounds the goodput to 4 MiB per one-way delay.
const streamWindow = 4 << 20

// stream is one end of a TCP-like connection: ordered and reliable bytes that take the link's delay, jitter, rate, queue,
// stalls and outages. Lost segments come late, by the retransmission time-out, and hold up what follows. It has a window
// and no congestion control: it fills its share of the queue and stays there. Acknowledgements cost nothing and the reader
// frees the sender's window at once. Slow start, fast retransmission, keep-alive and Nagle's algorithm do not exist.
type stream struct {
	host          *Host
	link          *Link // towards the peer; nil when it is on the same host
	local, remote netip.AddrPort
	peer          *stream

	read, write *deadline
	closed      chan struct{} // by Close
	closing     sync.Once
	broken      chan struct{} // by a reset
	breaking    sync.Once
	writing     chan struct{} // held while one goroutine is in Write
	readable    chan struct{} // holds a token while there may be something to read
	writable    chan struct{} // holds a token when the window may have opened

	mu       sync.Mutex
	inbox    [][]byte
	finished bool          // the peer has sent FIN
	shut     bool          // this end has sent FIN
	stuck    bool          // a segment never gets through, so that nothing behind it does
	inflight int           // bytes sent that the peer has not read
	last     time.Duration // arrival of the last segment sent
}

func newStream(h *Host, link *Link, local, remote netip.AddrPort) *stream {
	return &stream{
		host: h, link: link, local: local, remote: remote, read: newDeadline(), write: newDeadline(),
		closed: make(chan struct{}), broken: make(chan struct{}), writing: make(chan struct{}, 1),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
	}
}

// track has the host close the stream when the network closes, and break it when the host's address changes.
func (h *Host) track(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams[s] = true
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	for {
		switch {
		case isClosed(s.closed):
			return 0, s.fail("read", net.ErrClosed)
		case s.read.expired():
			return 0, s.fail("read", os.ErrDeadlineExceeded)
		}
		n, finished := s.take(b)
		switch {
		case n > 0 || len(b) == 0:
			s.peer.release(n)
			return n, nil
		case finished:
			return 0, io.EOF
		case isClosed(s.broken):
			return 0, s.fail("read", syscall.ECONNRESET)
		}
		select {
		case <-s.readable:
		case <-s.read.wait():
		case <-s.closed:
		case <-s.broken:
		}
	}
}

// take copies what has arrived.
func (s *stream) take(b []byte) (n int, finished bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(b) && len(s.inbox) > 0 {
		part := copy(b[n:], s.inbox[0])
		n += part
		if s.inbox[0] = s.inbox[0][part:]; len(s.inbox[0]) == 0 {
			s.inbox[0] = nil
			s.inbox = s.inbox[1:]
		}
	}
	if len(s.inbox) > 0 || s.finished {
		poke(s.readable)
	}
	return n, s.finished
}

// release opens the window for n bytes.
func (s *stream) release(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight -= n
	poke(s.writable)
}

// Write implements net.Conn. It blocks while the link's queue or the window is full.
func (s *stream) Write(b []byte) (int, error) {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-s.closed:
		return 0, s.fail("write", net.ErrClosed)
	}
	written := 0
	for {
		if err := s.writeError(); err != nil {
			return written, s.fail("write", err)
		}
		if written == len(b) {
			return written, nil
		}
		n, wait := s.push(b[written:])
		written += n
		if n == 0 {
			s.pause(wait)
		}
	}
}

func (s *stream) writeError() error {
	s.mu.Lock()
	shut := s.shut
	s.mu.Unlock()
	switch {
	case isClosed(s.closed):
		return net.ErrClosed
	case isClosed(s.broken):
		return syscall.ECONNRESET
	case shut:
		return syscall.EPIPE
	case s.write.expired():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// pause waits until the queue has room, or, with wait 0, until the window has opened.
func (s *stream) pause(wait time.Duration) {
	var room <-chan time.Time
	opened := s.writable
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		room, opened = timer.C, nil
	}
	select {
	case <-room:
	case <-opened:
	case <-s.write.wait():
	case <-s.closed:
	case <-s.broken:
	}
}

// push puts the next segment into the link. When it could not, n is 0, and wait says how long the queue is full; it is 0
// when the window is.
func (s *stream) push(b []byte) (n int, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(len(b), streamWindow-s.inflight)
	if s.link != nil {
		n = min(n, s.link.segmentSize(s.host.net.Elapsed()))
	}
	if n <= 0 {
		return 0, 0
	}
	payload := append([]byte(nil), b[:n]...)
	wait = s.carryLocked(n, func() { s.peer.arrive(payload) })
	if wait > 0 {
		return 0, wait
	}
	s.inflight += n
	return n, 0
}

// carryLocked has fn called when a segment of that size, sent now, arrives in its order, unless it never gets through.
func (s *stream) carryLocked(size int, fn func()) (wait time.Duration) {
	network := s.host.net
	arrival := network.Elapsed()
	if s.link != nil {
		var err error
		arrival, wait, err = s.link.segment(arrival, size, attempt{tries: maxTries})
		if wait > 0 {
			return wait
		}
		s.stuck = s.stuck || err != nil
	}
	if s.stuck {
		return 0
	}
	s.last = max(s.last, arrival)
	network.at(s.last, fn)
	return 0
}

// arrive takes in a segment. A closed end answers it with a reset (RFC 9293 section 3.10.7.1).
func (s *stream) arrive(payload []byte) {
	if isClosed(s.closed) {
		s.sendReset()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox = append(s.inbox, payload)
	poke(s.readable)
}

// finish takes in the peer's FIN.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	poke(s.readable)
}

// sendReset breaks the peer's end one delay from now.
func (s *stream) sendReset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carryLocked(0, s.peer.reset)
}

// reset breaks this end: what has arrived can still be read, then comes ECONNRESET.
func (s *stream) reset() {
	s.breaking.Do(func() { close(s.broken) })
}

// CloseWrite sends FIN: the peer reads io.EOF behind everything written so far.
func (s *stream) CloseWrite() error {
	if isClosed(s.closed) {
		return s.fail("close", net.ErrClosed)
	}
	s.shutdown()
	return nil
}

func (s *stream) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return
	}
	s.shut = true
	s.carryLocked(0, s.peer.finish)
}

// Close implements net.Conn. What was written still arrives, followed by FIN; when something was left unread, by a reset
// instead, as in Linux. Readers and writers of this end return with net.ErrClosed.
func (s *stream) Close() error {
	err := s.fail("close", net.ErrClosed)
	s.closing.Do(func() {
		err = nil
		s.host.mu.Lock()
		delete(s.host.streams, s)
		s.host.mu.Unlock()
		close(s.closed)
		s.read.set(time.Time{})
		s.write.set(time.Time{})
		s.mu.Lock()
		unread := len(s.inbox) > 0
		s.inbox = nil
		s.mu.Unlock()
		if unread {
			s.sendReset()
			return
		}
		s.shutdown()
	})
	return err
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.setDeadline(s.read, t) }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(s.write, t) }

func (s *stream) setDeadline(d *deadline, t time.Time) error {
	if isClosed(s.closed) {
		return s.fail("set", net.ErrClosed)
	}
	d.set(t)
	return nil
}

func (s *stream) fail(op string, err error) error {
	return opError(op, "tcp", s.LocalAddr(), s.RemoteAddr(), err)
}

// isClosed says whether a channel that only ever gets closed is.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// poke puts a token into a channel that holds at most one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
