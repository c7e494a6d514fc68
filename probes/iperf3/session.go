package iperf3

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// session is one test at the server. It is safe for concurrent use.
type session struct {
	server *Server
	seed   uint64
	ready  chan struct{} // closed when all streams are there

	mu      sync.Mutex
	params  params
	traffic *traffic
	legs    []*leg
	udp     []*udpLeg
	missing int // streams that are still to come; 0 before createStreams
	arrived []arrival
	running sync.WaitGroup
}

// arrival is a TCP connection that waits until all of the test's are there.
type arrival struct {
	turn uint64 // in the order in which the server accepted connections
	conn net.Conn
}

// errGone is how a test ends whose client ends it without results.
var errGone = errors.New("the client has ended the test")

// run follows the states of a test, on its control connection, which it closes.
// Liveness: it waits for its streams and for the reader of the control connection. Streams end with flowing; the reader
// ends when the connection is closed.
func (s *session) run(ctx context.Context, control net.Conn) (err error) {
	defer func() { err = errors.Join(err, control.Close()) }()
	flowing, stop := context.WithCancel(ctx)
	defer s.closeStreams()
	defer stop()
	defer load.Interruptible(ctx, control)()
	keepAlive(control)
	if err := s.prepare(ctx, control); err != nil {
		return err
	}
	for _, next := range []state{testStart, testRunning} {
		if err := s.say(control, next); err != nil {
			return err
		}
	}
	s.begin(flowing)
	omit := time.Duration(s.params.Omit) * time.Second
	counting := time.Now().Add(omit)
	if omit > 0 { // a timer of no time comes late on a busy host, and would leave out what has flowed by then
		counts := time.AfterFunc(omit, s.omit)
		defer counts.Stop()
	}
	if err := s.awaitEnd(ctx, control); err != nil {
		return err
	}
	elapsed := time.Since(counting)
	stop()
	s.running.Wait()
	ours := s.results(elapsed)
	if err := s.hangUp(); err != nil {
		return err
	}
	return s.exchange(control, ours)
}

// keepAlive has the kernel ask whether the client is there, so that nobody sends datagrams for minutes to one that has
// vanished without a word: it is given up stepLimit and a little after its last one.
func keepAlive(control net.Conn) {
	if c, ok := control.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		// An effort: without it the end of the test's time is the end.
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 4})
	}
}

// hangUp closes the TCP streams in order: an iperf3 that receives reads on until its block is full or the stream ends.
func (s *session) hangUp() error {
	var err error
	for _, l := range s.legs {
		if l.conn != nil {
			err = errors.Join(err, l.conn.Close())
		}
	}
	return err
}

// say sends a state and gives the client stepLimit for what it makes of it.
func (s *session) say(control net.Conn, next state) error {
	if err := control.SetDeadline(time.Now().Add(stepLimit)); err != nil {
		return fmt.Errorf("sending state %d: %w", next, err)
	}
	if err := writeState(control, next); err != nil {
		return fmt.Errorf("sending state %d: %w", next, err)
	}
	return nil
}

// prepare takes the parameters and waits for the streams.
func (s *session) prepare(ctx context.Context, control net.Conn) error {
	if err := s.say(control, paramExchange); err != nil {
		return err
	}
	var p params
	if err := readJSON(control, maxParams, &p); err != nil {
		return fmt.Errorf("reading parameters: %w", err)
	}
	if number := p.refuse(int64(s.server.limits.Duration / time.Second)); number != 0 {
		refusal := binary.BigEndian.AppendUint32([]byte{byte(uint8(256 + int(serverError)))}, uint32(number))
		_, err := control.Write(binary.BigEndian.AppendUint32(refusal, 0))
		return errors.Join(fmt.Errorf("parameters deserve iperf3's error %d: %+v", number, p), err)
	}
	up, down := p.streams()
	if p.UDP {
		client := addrPort(control.RemoteAddr()).Addr()
		if err := s.server.turnToOpen(ctx, client, s); err != nil {
			return err
		}
		defer s.server.endTurn(client)
	}
	// A volume is for the client to watch: iperf3 counts no byte that comes before it has read testRunning, nor one that is
	// lost, so that a server which stopped by its own count would leave it waiting.
	s.mu.Lock()
	s.params, s.traffic, s.missing = p, newTraffic(&p, 0, s.seed), up+down
	s.mu.Unlock()
	if err := s.say(control, createStreams); err != nil {
		return err
	}
	patience := time.NewTimer(stepLimit)
	defer patience.Stop()
	select {
	case <-s.ready:
		return nil
	case <-patience.C:
		return probes.Fail(probes.Timeout, "the streams were not there within %v", stepLimit)
	case <-ctx.Done():
		_ = s.say(control, serverTerminate)
		return context.Cause(ctx)
	}
}

// take gives the session a TCP connection; it closes one that is not wanted. The client decides by the order in which it
// connected which streams it sends on, and cookies may be read in another one: streams are made when all are there.
func (s *session) take(c net.Conn, turn uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missing == 0 || bool(s.params.UDP) {
		return errors.Join(errors.New("a stream that the test does not have"), c.Close())
	}
	s.arrived = append(s.arrived, arrival{turn: turn, conn: c})
	if s.missing > 1 {
		s.missing--
		return nil
	}
	slices.SortFunc(s.arrived, func(a, b arrival) int { return cmp.Compare(a.turn, b.turn) })
	var err error
	for _, a := range s.arrived {
		l := s.nextLocked()
		l.conn = a.conn
		if l.sends && s.params.Congestion != "" {
			err = errors.Join(err, load.UseCongestionControl(a.conn, string(s.params.Congestion))) // as iperf3, go on with what the kernel has
		}
	}
	s.arrived = nil
	s.addedLocked()
	return err
}

// nextLocked makes the next stream, in iperf3's order: those that the client sends on come first. nil when all are there.
func (s *session) nextLocked() *leg {
	if s.missing == 0 {
		return nil
	}
	up, _ := s.params.streams()
	i := len(s.legs)
	l := &leg{id: streamID(i), sends: i >= up, bytes: load.NewCounter(0)}
	s.legs = append(s.legs, l)
	return l
}

func (s *session) addedLocked() {
	if s.missing--; s.missing == 0 {
		close(s.ready)
	}
}

// begin sets the streams going; the UDP ones that are received are fed by the server's socket.
func (s *session) begin(ctx context.Context) {
	log := s.server.log
	for _, l := range s.legs {
		if l.conn != nil {
			s.running.Go(func() {
				if err := l.run(ctx, s.traffic); err != nil {
					log.Debug("iperf3 stream", "id", l.id, "err", err)
				}
			})
		}
	}
	for _, u := range s.udp {
		if u.sends {
			s.running.Go(func() {
				err := u.sendDatagrams(ctx, s.traffic, func(b []byte) (int, error) { return s.server.packets.WriteTo(b, u.peer) })
				if err != nil && ctx.Err() == nil {
					log.Debug("iperf3 stream", "id", u.id, "err", err)
				}
			})
		}
	}
}

func (s *session) omit() {
	for _, l := range s.legs {
		l.omit()
	}
}

// overtime is how much longer than it said a test may take before the server ends it. iperf3 itself grants more.
const overtime = 2 * stepLimit

// awaitEnd waits for the client to end the test. A client whose connection is silent and whose data has stopped is gone
// when the time is up at the latest; one whose connection breaks is gone at once.
func (s *session) awaitEnd(ctx context.Context, control net.Conn) error {
	limit := time.Duration(s.params.Time+s.params.Omit)*time.Second + overtime
	if s.params.Time == 0 {
		limit = s.server.limits.Duration
	}
	read := make(chan error, 1)
	if err := control.SetDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("waiting for the end: %w", err)
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() { read <- s.readEnd(control) })
	idle := time.NewTicker(time.Second)
	defer idle.Stop()
	moved, movedAt := int64(0), time.Now()
	for {
		select {
		case err := <-read:
			return err
		case <-idle.C:
		}
		if now := s.moved(); now != moved {
			moved, movedAt = now, time.Now()
		} else if time.Since(movedAt) >= stepLimit {
			_ = control.SetDeadline(load.Past()) // ends the reader
			return probes.Fail(probes.Timeout, "nothing has moved for %v", stepLimit)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (s *session) readEnd(control net.Conn) error {
	got, err := readState(control)
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the end: %w", err)
	case got == clientTerminate:
		return errGone
	case got != testEnd:
		return fmt.Errorf("%w: state %d while data flows", errProtocol, got)
	}
	return nil
}

// moved is how many bytes have passed on all streams.
func (s *session) moved() (n int64) {
	for _, l := range s.legs {
		n += l.bytes.Total()
		if l.tally != nil {
			received, _, _ := l.tally.totals()
			n += received
		}
	}
	return n
}

// results is what the server has counted, after so long behind what is left out.
func (s *session) results(elapsed time.Duration) results {
	ours := results{HasRetransmits: -1}
	for _, l := range s.legs {
		if l.sends {
			ours.HasRetransmits = max(ours.HasRetransmits, 0)
		}
		if state, ok := l.state(); ok {
			ours.HasRetransmits, ours.Congestion = 1, word(state.CongestionControl)
		}
		ours.Streams = append(ours.Streams, l.result(elapsed))
	}
	if s.params.GetServerOutput != 0 {
		ours.Output = "answered by nrprobe\n"
	}
	return ours
}

// exchange takes the client's results, which are of no interest here, and sends the server's.
func (s *session) exchange(control net.Conn, ours results) error {
	if err := s.say(control, exchangeResults); err != nil {
		return err
	}
	var theirs results
	if err := readJSON(control, maxResults, &theirs); err != nil {
		return fmt.Errorf("reading results: %w", err)
	}
	if err := writeJSON(control, ours); err != nil {
		return fmt.Errorf("sending results: %w", err)
	}
	if err := s.say(control, displayResults); err != nil {
		return err
	}
	if got, err := readState(control); err == nil && got != iperfDone {
		return fmt.Errorf("%w: state %d instead of the end", errProtocol, got)
	}
	return nil
}

// closeStreams ends and closes what the session has.
func (s *session) closeStreams() {
	s.running.Wait()
	s.mu.Lock()
	s.missing = 0
	udp, arrived := s.udp, s.arrived
	s.mu.Unlock()
	for _, a := range arrived {
		_ = a.conn.Close() // it carried nothing yet
	}
	s.server.forgetUDP(udp) // not under the lock: the server's comes first
	for _, l := range s.legs {
		if l.conn != nil {
			load.Abort(l.conn)
			_ = l.conn.Close() // nothing is left to be known from it
		}
	}
}
