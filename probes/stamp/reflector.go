package stamp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/nrprobe/nrprobe/probes/farend"
)

// Reflector answers test packets. Its fields are set before first use.
type Reflector struct {
	// Key is the secret of the authenticated mode, 16 bytes or more; empty for the unauthenticated mode.
	Key []byte
	// Stateless makes replies carry the sender's own sequence numbers, so that only round-trip loss can be told. Senders that
	// leave the time stamps of a reply in their next request are not answered then.
	Stateless bool
	// Idle is how long a silent session is remembered; 0 for 5 minutes.
	Idle time.Duration
	// MaxSessions bounds the memory, about 300 bytes each; the session that was silent longest gives way. 0 for 16384.
	MaxSessions int
	// Leases is how many leases for load tests are active, which senders that ask are told; nil for none. It is called a
	// few times a second by each Serve and returns at once.
	Leases func() int
	// Log is told once when serving begins how packets are stamped, and once a minute at most what was taken for replies of
	// another reflector. Never nil.
	Log *slog.Logger

	clock clockState
	lost  func() uint64 // see lookout; nil to ask the socket
}

// FarEnd is the reflector as `nrprobe reflector` serves it, by default unauthenticated and stateful.
func FarEnd(log *slog.Logger) farend.Service { return (&Reflector{Log: log}).FarEnd() }

// FarEnd is this reflector as a service. What the reflector's configuration says of Key and Stateless stands above the
// fields.
func (r *Reflector) FarEnd() farend.Service {
	return farend.Service{Name: Name, Packets: r.Serve, PacketsAs: func(c farend.STAMP) func(context.Context, net.PacketConn) error {
		configured := *r
		configured.Key, configured.Stateless = c.Key, c.Stateless
		return configured.Serve
	}}
}

// Defaults of a Reflector. Five minutes outlive the idle time of common NAT mappings, after which a sender comes from
// another port anyway.
const (
	defaultIdle        = 5 * time.Minute
	defaultMaxSessions = 16384
)

// Serve answers on the socket until ctx ends, and then returns nil. It takes as many sockets at once as there are
// callers; sessions are not shared between them. On Linux a *net.UDPConn is served in batches with kernel timestamps.
func (r *Reflector) Serve(ctx context.Context, pc net.PacketConn) error {
	rs, err := r.responder()
	if err != nil {
		return err
	}
	unblocked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(unblocked)
		_ = pc.SetReadDeadline(time.Unix(1, 0)) // an error means that the socket is closed, which ends the reading too
	})
	defer func() {
		if !stop() {
			<-unblocked
		}
	}()
	err = serve(pc, rs, r.Log)
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (r *Reflector) responder() (*responder, error) {
	sign, err := newSigner(r.Key)
	if err != nil {
		return nil, err
	}
	rs := &responder{sign: sign, clock: r.clock, estimate: r.clock.estimate(), began: time.Now(), lookout: lookout{leases: r.Leases, lost: r.lost}, log: r.Log}
	if !r.Stateless {
		limit, idle := r.MaxSessions, r.Idle
		if limit == 0 {
			limit = defaultMaxSessions
		}
		if idle == 0 {
			idle = defaultIdle
		}
		rs.table = newTable(limit, idle)
	}
	return rs, nil
}

// responder turns requests into replies. It touches no socket and allocates nothing per packet. It is not safe for
// concurrent use.
type responder struct {
	sign     *signer // nil in the unauthenticated mode
	table    *table  // nil when stateless
	clock    clockState
	estimate errorEstimate
	asked    int64 // when clock was asked, nanoseconds since began
	began    time.Time
	now      int64 // when the request at hand is answered, nanoseconds since began
	lookout  lookout
	log      *slog.Logger
	replies  replies

	turned     bool  // a request was turned down before, at
	turnedDown int64 // nanoseconds since began
}

// askClock is how often the state of the clock is asked for.
const askClock = 10 * time.Second

// answer turns the request in buffer[:n] into the reply in place and returns the reply's length, or 0 when there is
// nothing to answer. All but T3 is in place then; depart completes it. The buffer holds at least a base packet.
//
// The reply is as long as the request, or shorter where the sender asks for that. Only a request shorter than a base
// packet, as TWAMP-Light senders may send, gets a longer reply (RFC 8762 section 4.3), and only out of credit: what the
// same session sent before and got no reply to.
func (r *responder) answer(buffer []byte, n int, x *exchange) int {
	m := r.sign.mode()
	var q request
	if !q.parse(buffer[:n], m) {
		return 0
	}
	x.mark, x.length, x.followUp, x.session = -1, 0, false, nil
	r.now = int64(time.Since(r.began))
	if reflected(buffer[:n], m) && !r.wrote(buffer, &q, x) {
		r.leaveReply(x)
		return 0
	}
	if r.sign != nil {
		if !r.sign.checkBase(buffer[:n]) {
			return r.turnDown(buffer, n, &q, x)
		}
		x.genuine = r.verifyTLVs(buffer[:n])
	}
	now := r.now
	r.lookout.saw(now, x.waited)
	if now-r.asked > int64(askClock) {
		r.asked, r.estimate = now, r.clock.estimate()
	}
	size := max(n, m.base())
	p := reply{
		seq: q.seq, err: r.estimate, ssid: q.ssid, t2: newTimestamp(x.t2, r.estimate.format()),
		senderSeq: q.seq, t1: q.t1, senderErr: q.err, ttl: x.ttl,
	}
	if r.table != nil {
		s := r.table.visit(sessionKey{x.from, q.ssid}, now)
		s.received++
		if s.credit += int64(n - size); s.credit < 0 {
			s.credit += int64(size) // no reply this time: what came in counts towards the next
			return 0
		}
		p.seq = s.reply(p.t2)
		x.session = s
	} else if size > n {
		return 0
	}
	p.put(buffer, m)
	r.answerTLVs(buffer[:size], x)
	return r.shorten(buffer[:size], x)
}

// depart writes T3, in nanoseconds since 1970, into a reply that answer made, and signs the base packet.
func (r *responder) depart(packet []byte, t3 int64) {
	if r.sign != nil && turnedDown(packet) {
		return
	}
	putDeparture(packet, r.sign.mode(), newTimestamp(t3, r.estimate.format()))
	if r.sign != nil {
		r.sign.signBase(packet)
	}
}
