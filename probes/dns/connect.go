package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// connection carries queries to the server, one at a time.
type connection struct {
	exchange func(ctx context.Context, query []byte, q question) (response, error)
	usable   func() bool // whether it can carry another one
	close    func()
}

// connection returns the kept connection, or makes one.
func (m *run) connection(ctx context.Context) (*connection, error) {
	if m.kept != nil && m.kept.usable() {
		return m.kept, nil
	}
	m.drop()
	to, err := m.resolve(ctx)
	if err != nil {
		return nil, err
	}
	switch m.config.Transport {
	case overUDP:
		m.kept, err = m.connectUDP(ctx, to)
	case overQUIC:
		m.kept, err = m.connectQUIC(ctx, to)
	default:
		m.kept, err = m.connectTCP(ctx, to)
	}
	return m.kept, err
}

// drop closes the connection, if there is one.
func (m *run) drop() {
	if m.kept != nil {
		m.kept.close()
		m.kept = nil
	}
}

// resolve finds the address of the server itself, where it was given by name.
func (m *run) resolve(ctx context.Context) (netip.AddrPort, error) {
	start := time.Now()
	addrs, err := m.env.Net.Resolve(ctx, m.target.Host)
	if err != nil {
		return netip.AddrPort{}, m.explain(ctx, "name server "+m.target.Host, err)
	}
	if len(addrs) == 0 {
		return netip.AddrPort{}, probes.Fail(probes.Unreachable, "name %s has no address", m.target.Host)
	}
	if _, err := netip.ParseAddr(m.target.Host); err != nil {
		m.r.ObserveDuration(probes.ResolveTime, probes.Both, time.Since(start))
	}
	to := netip.AddrPortFrom(addrs[0], m.target.Port)
	m.r.Note("address", to.String())
	return to, nil
}

func (m *run) connectUDP(ctx context.Context, to netip.AddrPort) (*connection, error) {
	c, err := m.env.Net.Dial(ctx, "udp", to.String())
	if err != nil {
		return nil, m.explain(ctx, "opening a UDP socket to "+to.String(), err)
	}
	return &connection{exchange: overPackets(c), usable: always, close: func() { _ = c.Close() }}, nil
}

// connectTCP makes a connection for DNS over TCP, TLS or HTTPS.
func (m *run) connectTCP(ctx context.Context, to netip.AddrPort) (*connection, error) {
	start := time.Now()
	plain, err := m.env.Net.Dial(ctx, "tcp", to.String())
	if err != nil {
		return nil, m.explain(ctx, "connecting to "+to.String(), err)
	}
	m.r.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(start))
	if m.config.Transport == overTCP {
		return &connection{exchange: overStream(plain), usable: always, close: func() { _ = plain.Close() }}, nil
	}
	protocol := "dot"
	if m.config.Transport == overHTTPS {
		protocol = "h2"
	}
	c, err := m.handshake(ctx, plain, protocol)
	if err != nil {
		_ = plain.Close() // the handshake has said why
		return nil, err
	}
	if m.config.Transport == overTLS {
		return &connection{exchange: overStream(c), usable: always, close: func() { _ = c.Close() }}, nil
	}
	stack, err := m.stack(ctx, c)
	if err != nil {
		_ = c.Close() // the HTTP stack has said why
		return nil, m.explain(ctx, "connecting to "+m.target.Address(), err)
	}
	u := &url.URL{Scheme: "https", Host: m.target.Address(), Path: m.config.Path}
	return &connection{
		exchange: overHTTP(stack, u.String()),
		usable:   func() bool { return stack.Err() == nil },
		close: func() {
			_ = stack.Close() // both: an HTTP/2 stack would wait for what is still open
			_ = c.Close()
		},
	}, nil
}

func always() bool { return true }

// handshake is TLS of any version that is still in use: servers of others may not speak 1.3 yet.
func (m *run) handshake(ctx context.Context, plain net.Conn, protocol string) (net.Conn, error) {
	conf := m.env.TLS(m.target)
	conf.MinVersion = tls.VersionTLS12
	conf.NextProtos = []string{protocol}
	c := tls.Client(plain, conf)
	start := time.Now()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, m.explain(ctx, "TLS handshake with "+m.target.Address(), err)
	}
	m.r.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	state := c.ConnectionState()
	m.r.Note("tls_version", tls.VersionName(state.Version))
	if protocol == "h2" && state.NegotiatedProtocol != protocol {
		return nil, errors.Join(probes.Fail(probes.Refused, "%s does not speak HTTP/2, as DNS over HTTPS wants it (RFC 8484 section 5.2)", m.target.Address()), c.Close())
	}
	return c, nil
}

// stack sets net/http upon a connection that is there already.
func (m *run) stack(ctx context.Context, c net.Conn) (*http.ClientConn, error) {
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	t := &http.Transport{DialTLSContext: given, Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	return t.NewClientConn(ctx, "https", m.target.Address())
}

func (m *run) connectQUIC(ctx context.Context, to netip.AddrPort) (*connection, error) {
	pc, err := m.env.Net.ListenPacket(ctx, "udp", "")
	if err != nil {
		return nil, m.explain(ctx, "opening a UDP socket", err)
	}
	transport := &quicgo.Transport{Conn: pc}
	shut := func() {
		_ = transport.Close() // returns when its goroutines have ended
		_ = pc.Close()
	}
	conf := m.env.TLS(m.target)
	conf.NextProtos = []string{"doq"} // RFC 9250 section 4.1.1
	start := time.Now()
	c, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), conf, &quicgo.Config{
		HandshakeIdleTimeout:    2 * m.config.QueryTime, // ctx ends it before
		MaxIdleTimeout:          m.config.QueryTime + m.config.Interval,
		DisablePathMTUDiscovery: true, // it would be traffic beside the queries
	})
	if err != nil {
		err = m.explain(ctx, "QUIC handshake with "+m.target.Address(), m.route(ctx, to, err))
		shut()
		return nil, err
	}
	m.r.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	m.r.Note("tls_version", tls.VersionName(c.ConnectionState().TLS.Version))
	return &connection{
		exchange: overQUICStream(c),
		usable:   func() bool { return c.Context().Err() == nil },
		close: func() {
			_ = c.CloseWithError(0, "") // DOQ_NO_ERROR; returns when the connection has ended
			shut()
		},
	}, nil
}

// route says why nothing can be sent to the server, if so. quic-go gives a refusal of the kernel on as text alone; a
// connected UDP socket meets with the same refusal and sends nothing.
func (m *run) route(ctx context.Context, to netip.AddrPort, err error) error {
	transport, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok || transport.Remote || transport.ErrorCode != quicgo.InternalError {
		return err
	}
	c, routeErr := m.env.Net.Dial(ctx, "udp", to.String())
	if routeErr != nil {
		return routeErr
	}
	return errors.Join(err, c.Close())
}
