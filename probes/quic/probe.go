package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
	"github.com/nrprobe/nrprobe/probes/farend"
)

type probe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// run is what the connections of one run share: the socket, and the session that the second one resumes.
type run struct {
	*probe
	r         *probes.Recorder
	transport *quicgo.Transport
	second    *quicgo.Transport // what the connection migrates to; nil when it shall not
	to        netip.AddrPort
	tls       *tls.Config
}

// Measure implements probes.Probe.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) (err error) {
	r.Flag(probes.UserStamps)
	for _, m := range []*probes.Metric{probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsDuplicated, probes.PacketsReordered} {
		r.Add(m, probes.Both, 0)
	}
	to, err := client.Resolve(ctx, p.env.Net, r, p.target)
	if err != nil {
		return err
	}
	pc, err := p.env.Net.ListenPacket(ctx, "udp", "")
	if err != nil {
		return fmt.Errorf("opening a UDP socket: %w", err)
	}
	conf := p.env.TLS(p.target)
	conf.NextProtos = []string{farend.ALPNEcho}
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1) // of this run: the first handshake is always a full one
	m := &run{probe: p, r: r, transport: &quicgo.Transport{Conn: pc}, to: to, tls: conf}
	defer func() { err = errors.Join(err, m.transport.Close(), pc.Close()) }()
	if p.config.MigrateTo != "" {
		shut, err := m.openSecond(ctx)
		if err != nil {
			return err
		}
		defer shut()
	}
	if err := m.first(ctx); err != nil {
		return err
	}
	if p.config.Resume {
		return m.resume(ctx)
	}
	return nil
}

// quicConfig leaves packets of its own accord away: a search for the path's MTU would be traffic beside the datagrams.
// Handshakes end by the context that they are dialed with; quic-go's own limit lies beyond, or both would fire at once.
func (p *probe) quicConfig() *quicgo.Config {
	return &quicgo.Config{
		HandshakeIdleTimeout:    2 * p.config.HandshakeTimeout,
		MaxIdleTimeout:          p.config.HandshakeTimeout + p.config.DatagramTimeout + 2*p.config.Interval,
		DisablePathMTUDiscovery: true,
		EnableDatagrams:         true,
	}
}

// first makes the full handshake and sends the datagrams.
func (m *run) first(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, m.config.HandshakeTimeout)
	defer cancel()
	listening, stop := client.Listening(dialing, m.env.Net, m.to)
	start := time.Now()
	c, err := m.transport.Dial(listening, net.UDPAddrFromAddrPort(m.to), m.tls, m.quicConfig())
	stop()
	if err != nil {
		return m.explain(ctx, err)
	}
	m.r.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	defer func() { _ = c.CloseWithError(0, "") }() // returns when the connection has ended
	m.describe(c)
	if !c.ConnectionState().SupportsDatagrams.Remote {
		return probes.Fail(probes.Refused, "%s speaks QUIC without datagrams (RFC 9221)", m.target.Address())
	}
	err = m.datagrams(ctx, c)
	m.statistics(c)
	return err
}

// describe notes what the numbers depend on.
func (m *run) describe(c *quicgo.Conn) {
	state := c.ConnectionState()
	m.r.Note("quic_version", state.Version.String())
	m.r.Note("quic_implementation", implementation())
	m.r.Note("congestion_control", "newreno") // the only one that quic-go has
	m.r.Note("gso", strconv.FormatBool(state.GSO))
}

// implementation is "quic-go" and its version, as the build tells it. Test binaries are built without.
func implementation() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/quic-go/quic-go" {
				return "quic-go " + module.Version
			}
		}
	}
	return "quic-go"
}

func (m *run) statistics(c *quicgo.Conn) {
	s := c.ConnectionStats()
	m.r.Set(probes.TransportRTT, probes.Both, s.SmoothedRTT.Seconds())
	m.r.Set(probes.TransportMinRTT, probes.Both, s.MinRTT.Seconds())
	m.r.Add(probes.TransportLost, probes.Both, float64(s.PacketsLost))
	m.r.Set(probes.CongestionWindow, probes.Both, float64(s.CongestionWindow))
}
