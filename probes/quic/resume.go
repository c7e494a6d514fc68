package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// zeroRTT is what is sent before the handshake is complete. The far end sends it back, and an attacker who replays it
// gets nothing else out of it.
const zeroRTT = "nrprobe0"

// resume connects with the session of the first connection and takes down when the reply to 0-RTT data is there. A far
// end that does not take 0-RTT data is noted and is no failure.
func (m *run) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.config.HandshakeTimeout,
		probes.Fail(probes.Timeout, "%s did not answer the resumed connection within %v", m.target.Address(), m.config.HandshakeTimeout))
	defer cancel()
	start := time.Now()
	c, err := m.transport.DialEarly(ctx, net.UDPAddrFromAddrPort(m.to), m.tls, m.quicConfig())
	if err != nil {
		return m.explain(ctx, err)
	}
	defer func() { _ = c.CloseWithError(0, "") }() // returns when the connection has ended
	took, err := m.early(ctx, c, start)
	if errors.Is(err, quicgo.Err0RTTRejected) {
		m.r.Note("used_0rtt", "rejected")
		if _, err := c.NextConnection(ctx); err != nil {
			return m.explain(ctx, err)
		}
		return nil
	}
	if err != nil {
		return m.explain(ctx, err)
	}
	used := c.ConnectionState().Used0RTT
	m.r.Note("used_0rtt", strconv.FormatBool(used))
	if used {
		m.r.ObserveDuration(probes.ResumedTime, probes.Both, took)
	}
	return nil
}

// early sends the 0-RTT data, returns how long its reply took, and waits for the handshake: only then is it known
// whether the far end took the data early.
func (m *run) early(ctx context.Context, c *quicgo.Conn, start time.Time) (time.Duration, error) {
	s, err := c.OpenStream()
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(s, zeroRTT); err != nil {
		return 0, err
	}
	if err := s.Close(); err != nil {
		return 0, err
	}
	reply := make([]byte, len(zeroRTT))
	if _, err := io.ReadFull(s, reply); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if string(reply) != zeroRTT {
		return 0, probes.Fail(probes.Invalid, "%s sent back %q for the 0-RTT data %q", m.target.Address(), reply, zeroRTT)
	}
	select {
	case <-c.HandshakeComplete():
		return took, nil
	case <-c.Context().Done():
		return 0, context.Cause(c.Context()) // the connection's own context says why it ended
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
