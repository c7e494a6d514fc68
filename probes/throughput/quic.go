package throughput

import (
	"crypto/tls"
	"errors"
	"math"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// ALPNLoad is the ALPN protocol of QUIC sessions with a control stream: see the package comment.
const ALPNLoad = "nrprobe-load/1"

// perfHeader is how many bytes begin each stream of draft-banks-quic-performance, and endless the count that asks for
// bytes until the client has enough.
const (
	perfHeader = 8
	endless    = math.MaxUint64
)

// The stream error codes of draft-banks-quic-performance.
const (
	perfDone     quic.StreamErrorCode = 0
	perfRejected quic.StreamErrorCode = 2
)

// flowWindow is how much each side lets the other send ahead, by stream and by connection: more than the largest window of
// quic-go's congestion control (10,000 packets, 14 MB) several times over, so that flow control never limits a measurement.
const flowWindow = 64 << 20

// quicReadSize is how much is read at once: some packets' worth. The bytes are thrown away; larger reads gain nothing.
const quicReadSize = 64 << 10

// QUICConfig is the transport configuration that load needs, at both ends: flow-control windows that never limit, and
// streams enough for every test that a configuration may ask for.
func QUICConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:       idleLimit,
		MaxIdleTimeout:             2 * idleLimit, // the sessions' own limit comes first and has the better error
		InitialStreamReceiveWindow: flowWindow, MaxStreamReceiveWindow: flowWindow,
		InitialConnectionReceiveWindow: flowWindow, MaxConnectionReceiveWindow: flowWindow,
		MaxIncomingStreams: 2*maxStreams + 1, MaxIncomingUniStreams: 2 * maxStreams,
	}
}

// stateOfQUIC is what quic-go says about one connection. Its congestion control is New Reno (RFC 9002 section 7).
func stateOfQUIC(c *quic.Conn) load.State {
	stats := c.ConnectionStats()
	return load.State{
		Transport: "quic", Sockets: 1, CongestionControl: "newreno",
		RTT: stats.SmoothedRTT, MinRTT: stats.MinRTT,
		CongestionWindow: int64(stats.CongestionWindow), PacketsLost: int64(stats.PacketsLost),
	}
}

// noSuchProtocol says whether a handshake failed because the far end does not speak the ALPN protocol (RFC 7301, alert
// 120, as RFC 9001 section 4.8 carries it).
func noSuchProtocol(err error) bool {
	const noApplicationProtocol = 0x100 + 120
	t, ok := errors.AsType[*quic.TransportError](err)
	return ok && t.ErrorCode == noApplicationProtocol
}

// withProtocol returns the configuration for one ALPN protocol.
func withProtocol(env probes.Env, t probes.Target, protocol string) *tls.Config {
	c := env.TLS(t)
	c.NextProtos = []string{protocol}
	return c
}
