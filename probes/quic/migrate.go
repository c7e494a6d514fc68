package quic

import (
	"context"
	"fmt"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// move is what the datagrams tell of a migration. The tally's lock guards it; took and err are the migrating goroutine's,
// which has ended before they are read.
type move struct {
	interval time.Duration
	last     time.Time // when the last datagram came back, or the run began
	at       time.Time // when the connection migrated; zero before
	first    int       // the number of the first datagram sent after that
	gap      time.Duration
	over     bool // whether one of those is back

	took time.Duration
	err  error
}

// openSecond opens the socket that the connection will migrate to, before the run begins, so that what is wrong with it
// shows at once. shut closes it.
func (m *run) openSecond(ctx context.Context) (shut func(), err error) {
	where := m.config.MigrateTo
	host, ok := m.env.Net.(probes.InterfaceNetwork)
	if !ok {
		return nil, probes.Fail(probes.Error, "migrate_to: this network has one interface only")
	}
	network, err := host.On(where)
	if err != nil {
		return nil, fmt.Errorf("migrating to %s: %w", where, err)
	}
	try, err := network.Dial(ctx, "udp", m.to.String()) // sends nothing, and tells whether there is a route
	if err == nil {
		err = try.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("migrating to %s: %w", where, err)
	}
	pc, err := network.ListenPacket(ctx, "udp", "")
	if err != nil {
		return nil, fmt.Errorf("migrating to %s: opening a UDP socket: %w", where, err)
	}
	m.second = &quicgo.Transport{Conn: pc}
	return func() {
		_ = m.second.Close() // returns when its goroutines have ended
		_ = pc.Close()
	}, nil
}

// migrate opens a new path after half of the datagrams, has it validated (RFC 9000 section 8.2) and switches to it, which
// the far end follows when the next packet arrives over it (section 9.3).
func (m *run) migrate(ctx context.Context, c *quicgo.Conn, t *tally, start time.Time) error {
	half := start.Add(time.Duration(m.config.Count/2) * m.config.Interval)
	if err := waitUntil(ctx, c, half.Add(m.config.Interval/4)); err != nil { // apart from datagrams and echoes
		return err
	}
	path, err := c.AddPath(m.second)
	if err != nil {
		return probes.Fail(probes.Refused, "%s does not let its connections migrate: %w", m.target.Address(), err)
	}
	probing, cancel := context.WithTimeoutCause(ctx, m.config.HandshakeTimeout, probes.Fail(probes.Timeout,
		"no answer of %s over %s within %v: does that interface lead there?", m.target.Address(), m.config.MigrateTo, m.config.HandshakeTimeout))
	defer cancel()
	defer context.AfterFunc(c.Context(), cancel)()
	begun := time.Now()
	if err := path.Probe(probing); err != nil {
		if c.Context().Err() != nil {
			return context.Cause(c.Context())
		}
		return err
	}
	t.move.took = time.Since(begun)
	m.r.Set(probes.PathValidation, probes.Both, t.move.took.Seconds())
	return t.leave(path)
}

// leave switches the path, and notes that what is sent from now on takes the new one.
func (t *tally) leave(path *quicgo.Path) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := path.Switch(); err != nil {
		return err
	}
	t.move.at, t.move.first = time.Now(), len(t.sent)
	return nil
}

// follow takes down to which side of the migration a datagram belongs that is back. The caller holds the lock.
func (t *tally) follow(i int, now time.Time) {
	v := t.move
	if v == nil {
		return
	}
	side := probes.RTTBefore
	if !v.at.IsZero() && i >= v.first {
		side = probes.RTTAfter
	}
	t.r.ObserveDuration(side, probes.Both, now.Sub(t.sent[i]))
	if !v.at.IsZero() && !v.over {
		v.gap = max(v.gap, now.Sub(v.last)-v.interval)
		v.over = i >= v.first
	}
	v.last = now
}

// moved takes down what the migration did, when the run is over.
func (m *run) moved(ctx context.Context, t *tally) error {
	v := t.move
	where := m.config.MigrateTo
	switch {
	case v.err != nil:
		return fmt.Errorf("migrating to %s: %w", where, m.explain(ctx, v.err))
	case v.first == len(t.sent):
		return probes.Fail(probes.Timeout, "migrating to %s: all datagrams had been sent when the new path was valid: raise count or interval", where)
	case !v.over:
		return probes.Fail(probes.Timeout, "migrating to %s: the new path was valid, and none of %d datagrams sent after that came back", where, len(t.sent)-v.first)
	}
	m.r.Set(probes.MigrationGap, probes.Both, v.gap.Seconds())
	m.r.Event(probes.Event{
		Time: v.at.Round(0), Type: probes.Migration, Duration: v.gap,
		Detail: fmt.Sprintf("to %s, path valid after %v", where, v.took.Round(time.Microsecond)),
	})
	return nil
}
