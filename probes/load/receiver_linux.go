package load

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inflow is one stream of a Receiver.
type inflow struct {
	raw       syscall.RawConn
	threshold int   // SO_RCVLOWAT
	err       error // that Sweep met in place of Receive
}

// Receive counts what arrives on c until it ends or fails.
func (r *Receiver) Receive(c net.Conn) error {
	raw := rawOf(c)
	if raw == nil {
		return Drain(c, make([]byte, BlockSize), r.Received)
	}
	s := &inflow{raw: raw, threshold: 1}
	r.enter(s)
	defer r.leave(s)
	var p pace
	for {
		n, err := discard(raw)
		if err != nil {
			return err
		}
		if n == 0 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return s.err
		}
		r.Received.Add(int64(n))
		if bytes, ok := p.threshold(n, time.Now()); ok || r.nearLimit() {
			r.adapt(s, bytes)
		}
	}
}

func (r *Receiver) enter(s *inflow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams == nil {
		r.streams = map[*inflow]struct{}{}
	}
	r.streams[s] = struct{}{}
	r.waiting.Add(1)
}

func (r *Receiver) leave(s *inflow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, s)
	r.waiting.Add(-int64(s.threshold))
}

// adapt gives a stream its threshold, if it has a new one, or has all of them woken at once when the limit is near.
func (r *Receiver) adapt(s *inflow, threshold int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.nearLimit():
		r.relax()
	case threshold > 0 && !r.relaxed.Load() && (threshold > s.threshold*3/2 || threshold < s.threshold*2/3):
		r.set(s, threshold)
	}
}

// relax has every segment of every stream wake it from now on. The caller holds mu.
func (r *Receiver) relax() {
	r.relaxed.Store(true)
	for s := range r.streams {
		r.set(s, 1)
	}
}

// set tells the kernel. A stream that has more than that already is woken by it. The caller holds mu.
func (r *Receiver) set(s *inflow, threshold int) {
	_ = s.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, threshold) == nil { // without it, it only costs more
			r.waiting.Add(int64(threshold - s.threshold))
			s.threshold = threshold
		}
	})
}

// Sweep counts what has arrived and not been worth a wake-up yet. It does not block.
func (r *Receiver) Sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.streams {
		_ = s.raw.Control(func(fd uintptr) { // it fails on a closed connection only, on which nothing waits
			n, errno := truncate(fd)
			switch {
			case errno == 0:
				r.Received.Add(int64(n))
			case errno != unix.EAGAIN && errno != unix.EINTR:
				s.err = errno // the kernel tells it once, and then that the stream has ended
			}
		})
	}
}
