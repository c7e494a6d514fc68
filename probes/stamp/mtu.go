package stamp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// The search for the path MTU is Datagram Packetization Layer PMTU Discovery (RFC 8899): packets of chosen sizes are sent
// with Don't Fragment set, and the sizes that are answered pass. Messages of routers say where to look, and are never taken
// at their word; where they are dropped on the way, a black hole, the search takes a few packets more.
//
// A short reply (RFC 10052) proves that the request passed, whatever the size that the way back carries. A reply as long as
// its request proves both, unless it came in fragments.
const (
	// baseMTU and baseMTU6 are sizes that pass nearly everywhere (RFC 8899 section 5.1.2, RFC 8200 section 5).
	baseMTU  = 1200
	baseMTU6 = 1280
	// mtuTries is how often a size is tried before it counts as too large: MAX_PROBES of RFC 8899 section 5.1.2. Where a tenth
	// of round trips is lost, one size in a thousand is taken for too large by chance.
	mtuTries = 3
	// mtuWait is the least time for an answer: the least PROBE_TIMER of RFC 8899 section 5.1.1.
	mtuWait = time.Second
	// mtuRound is how many sizes are tried at once: each round leaves a fifth of the range.
	mtuRound = 4
	// mtuBudget bounds the packets of one direction's search: twice as many as where none is lost.
	mtuBudget = 48
	// mtuPayload is the longest packet of a search, that of the key size.
	mtuPayload = 9000
	// mtuTimeout is what a search may take: with an answer after at most a second, all rounds of both directions.
	mtuTimeout = 2 * (mtuBudget/mtuRound + mtuTries) * 2 * mtuWait
)

// mtuNote is the note that says how many packets a search took.
const mtuNote = "path_mtu_packets"

// mtuSocket is a socket that sends with Don't Fragment set, whatever the kernel believes of the path. One goroutine uses it.
type mtuSocket interface {
	// send hands a packet over. false says that it is longer than the interface takes.
	send(packet []byte) (taken bool, err error)
	// receive returns the next reply, valid until the next call; none when the deadline passes.
	receive(deadline time.Time) (packet []byte, whole bool, err error)
	// heard is what came to be known besides.
	heard() mtuNews
	close() error
}

// mtuNews is what others said of the path MTU, in bytes of the IP packet; 0 where they said nothing.
type mtuNews struct {
	local    int   // the own interface's
	router   int   // the latest ICMP message's
	messages int   // ICMP messages
	cached   int   // what the own kernel believes of the path
	failure  error // that there is no way to the far end, or nobody there, as it was last said; nil when it was not
}

// mtuSearch is one search.
type mtuSearch struct {
	config  *Config
	socket  mtuSocket
	sign    *signer
	random  *rand.Rand
	ssid    uint16
	trouble *trouble
	headers int // of IP and UDP
	seq     uint32
	sizes   map[uint32]int // of the packets of the present round, by sequence number
	sent    int
	rtt     time.Duration

	shortens  bool // the far end makes short replies
	symmetric bool // its replies are else as long as requests

	unfinished string // what is known of a direction whose search took too many packets
}

// searchMTU finds the path MTU and takes it down.
func (p *sender) searchMTU(ctx context.Context, rec *probes.Recorder) (err error) {
	sign, err := newSigner(p.secret)
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	socket, err := openMTUSocket(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { err = errors.Join(err, socket.close()) }()
	s := &mtuSearch{
		config: &p.config, socket: socket, sign: sign, headers: headersOf(conn), sizes: map[uint32]int{},
		random:  rand.New(rand.NewPCG(p.env.Rand.Uint64(), p.env.Rand.Uint64())),
		trouble: &trouble{target: p.target, config: &p.config, keyed: len(p.secret) > 0},
	}
	if p.config.TLVs {
		s.ssid = uint16(1 + s.random.IntN(1<<16-1))
	}
	up, down, err := s.run(ctx)
	s.report(rec, up, down)
	return err
}

// headersOf is what stands before the payload of the connection's packets.
func headersOf(conn net.Conn) int {
	if addrPort(conn.RemoteAddr()).Addr().Is4() {
		return 20 + 8
	}
	return 40 + 8
}

// run returns the largest packets that pass, in bytes with headers; 0 where it cannot be told, and both the same in up and
// down where they cannot be told apart.
func (s *mtuSearch) run(ctx context.Context) (up, down int, err error) {
	base := baseMTU
	if s.headers > 28 {
		base = baseMTU6
	}
	// The first kind of packet asks for a short reply, which tells whether the far end makes such; the second for one as long.
	answered := 0
	for _, short := range [...]bool{true, false} {
		for passed, try := 0, 0; passed == 0 && try < mtuTries; try++ {
			if passed, err = s.round(ctx, []int{base}, short); err != nil {
				return 0, 0, err
			}
			answered = max(answered, passed)
		}
	}
	if answered == 0 {
		return 0, 0, s.explain()
	}
	s.sent = 0
	top, err := s.top(ctx)
	if err != nil {
		return 0, 0, err
	}
	if up, err = s.find(ctx, base, top, s.shortens || !s.symmetric); err != nil || !s.symmetric {
		return up, 0, err
	}
	if down = up; s.shortens {
		s.sent = 0
		down, err = s.find(ctx, base, up, false)
	}
	return up, down, err
}

// explain says why nothing was answered.
func (s *mtuSearch) explain() error {
	err := s.socket.heard().failure
	if err != nil && !isTurnedAway(err) {
		return fmt.Errorf("searching for the path MTU: %w", err)
	}
	if err != nil {
		s.trouble.sawTurnedAway()
	}
	return s.trouble.explain(uint64(s.sent))
}

// top is the largest packet that the own interface takes, found by offering it one that is too long for most.
func (s *mtuSearch) top(ctx context.Context) (int, error) {
	largest := s.headers + mtuPayload
	answered, err := s.round(ctx, []int{largest}, true)
	if local := s.socket.heard().local; local > 0 && answered == 0 {
		largest = min(largest, local)
	}
	return largest, err
}

// find returns the largest size that passes, of those from low, which does, to high; 0 when it took too many packets to tell.
func (s *mtuSearch) find(ctx context.Context, low, high int, short bool) (int, error) {
	sizes := []int{high}   // most links carry what their interfaces take
	tries := map[int]int{} // of each size
	for low < high {
		if s.sent >= mtuBudget {
			s.unfinished = fmt.Sprintf("%d at least: too many packets were lost to tell how much more", low)
			return 0, nil
		}
		best, err := s.round(ctx, sizes, short)
		if err != nil {
			return 0, err
		}
		failed := high // the smallest size that was tried and may be too large
		low = max(low, best)
		for _, size := range sizes {
			tries[size]++
		}
		for size := range tries {
			if size > low {
				failed = min(failed, size)
			}
		}
		// A packet that was lost by chance looks like one that is too large, so it is tried again: as soon as all smaller ones
		// pass, and when nothing lies between.
		left, passed := mtuTries-tries[failed], best == sizes[len(sizes)-1]
		switch sizes = s.candidates(low, failed); {
		case len(sizes) == 0 && left <= 0:
			return low, nil
		case len(sizes) == 0:
			sizes = slices.Repeat([]int{failed}, left)
		case passed && left > 0:
			sizes = append(sizes, failed)
		}
	}
	return low, nil
}

// candidates are the sizes to try next between one that passes and one that does not: what a router said, or several that
// part the range equally. There are none when nothing lies between.
func (s *mtuSearch) candidates(low, failed int) (sizes []int) {
	if said := s.socket.heard().router; said >= low && said < failed && failed-low > 1 {
		if said > low {
			sizes = append(sizes, said)
		}
		if said+1 < failed {
			sizes = append(sizes, said+1)
		}
		return sizes
	}
	between := failed - low - 1
	n := min(mtuRound, between)
	for i := 1; i <= n; i++ {
		sizes = append(sizes, low+(between+1)*i/(n+1))
	}
	return sizes
}

// round sends a packet of each size, waits for the answers, and returns the largest size that passed; 0 for none. Short
// asks for short replies, and takes any reply for a proof; else a reply must be whole and as long as its request.
func (s *mtuSearch) round(ctx context.Context, sizes []int, short bool) (best int, err error) {
	clear(s.sizes)
	began := time.Now()
	for _, size := range sizes {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		payload := size - s.headers
		reply := payload
		if short {
			reply = s.sign.mode().base()
		}
		packet := newShape(s.config, shape{size: payload, reply: reply, ssid: s.ssid}, s.sign, s.random)
		packet.prepare(s.seq)
		taken, err := s.socket.send(packet.depart(time.Now().UnixNano()))
		if err != nil {
			s.trouble.sawRefusal(err)
			return 0, fmt.Errorf("searching for the path MTU: sending %d bytes: %w", size, err)
		}
		if !taken {
			break
		}
		s.sizes[s.seq] = size
		s.seq++
		s.sent++
	}
	deadline := began.Add(max(mtuWait, 4*s.rtt))
	for len(s.sizes) > 0 && ctx.Err() == nil {
		packet, whole, err := s.socket.receive(deadline)
		if err != nil {
			return best, fmt.Errorf("searching for the path MTU: %w", err)
		}
		if packet == nil {
			break
		}
		if size := s.take(packet, whole, short); size > 0 {
			best = max(best, size)
			s.rtt = max(s.rtt, time.Since(began))
		}
	}
	return best, ctx.Err()
}

// take returns the size that a reply proves to pass; 0 for none.
func (s *mtuSearch) take(packet []byte, whole, short bool) int {
	var r reply
	if !r.parse(packet, s.sign.mode()) {
		return 0
	}
	if s.sign != nil && !s.sign.checkBase(packet) {
		s.trouble.sawForged()
		return 0
	}
	size, asked := s.sizes[r.senderSeq]
	if !asked {
		return 0
	}
	delete(s.sizes, r.senderSeq)
	var x extensions
	x.read(packet, s.sign)
	s.shortens = s.shortens || short && x.shortens
	same := whole && len(packet) == size-s.headers
	s.symmetric = s.symmetric || same
	if short || same {
		return size
	}
	return 0
}

// report takes down what was found.
func (s *mtuSearch) report(rec *probes.Recorder, up, down int) {
	news := s.socket.heard()
	var said []string
	if news.messages > 0 {
		said = append(said, fmt.Sprintf("%d ICMP messages, the last one saying %d", news.messages, news.router))
	} else {
		said = append(said, "no ICMP message")
	}
	if news.local > 0 {
		said = append(said, fmt.Sprintf("own interface %d", news.local))
	}
	if news.cached > 0 {
		said = append(said, fmt.Sprintf("own kernel takes the path for %d", news.cached))
	}
	rec.Note("path_mtu", strings.Join(said, ", "))
	rec.Note(mtuNote, fmt.Sprint(s.seq))
	if s.unfinished != "" {
		way := "on the way up"
		if up > 0 {
			way = "on the way down"
		}
		rec.Note("path_mtu_missing", way+", which is "+s.unfinished)
	}
	if up == 0 {
		return
	}
	switch {
	case s.shortens:
		rec.Set(probes.PathMTU, probes.Up, float64(up))
		if down > 0 {
			rec.Set(probes.PathMTU, probes.Down, float64(down))
			rec.Set(probes.PathMTU, probes.Both, float64(min(up, down)))
		}
	case s.symmetric:
		rec.Set(probes.PathMTU, probes.Both, float64(down))
		rec.Note("path_mtu_missing", "per direction: the reflector does not shorten replies (RFC 10052)")
	default:
		rec.Set(probes.PathMTU, probes.Up, float64(up))
		rec.Note("path_mtu_missing", "on the way down: the reflector's replies are not as long as requests")
	}
	if down == up && s.shortens && up > 0 {
		rec.Note("path_mtu_missing", "more on the way down, if it has more: replies are never longer than requests")
	}
}

// plainMTUSocket is for networks that are not the kernel's and never fragment.
type plainMTUSocket struct {
	conn   net.Conn
	buffer []byte
}

func (l *plainMTUSocket) send(packet []byte) (bool, error) {
	_, err := l.conn.Write(packet)
	return true, err
}

func (l *plainMTUSocket) receive(deadline time.Time) ([]byte, bool, error) {
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return nil, false, err
	}
	n, err := l.conn.Read(l.buffer)
	if err != nil && isStopped(err) {
		return nil, false, nil
	}
	return l.buffer[:n], true, err
}

func (l *plainMTUSocket) heard() mtuNews { return mtuNews{} }
func (l *plainMTUSocket) close() error   { return l.conn.Close() }
