package http

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
	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
)

// maxHeader is what a server may send before the body.
const maxHeader = 256 << 10

// h3NoError ends an HTTP/3 connection in peace, RFC 9114 section 8.1.
const h3NoError = 0x100

// connection carries requests to one server, one at a time.
type connection struct {
	origin    string // scheme, host and port of the URLs that it is good for
	address   string // for errors
	roundTrip func(*http.Request) (*http.Response, error)
	usable    func() bool
	close     func()
}

// connection returns the kept connection where it leads to the server of the URL, or makes one.
func (m *run) connection(ctx context.Context, u *url.URL) (*connection, error) {
	origin := u.Scheme + "://" + u.Host
	if m.kept != nil && m.kept.origin == origin && m.kept.usable() {
		return m.kept, nil
	}
	m.drop()
	target, err := targetOf(u)
	if err != nil {
		return nil, err
	}
	to, err := m.resolve(ctx, target)
	if err != nil {
		return nil, err
	}
	var c *connection
	if m.config.Version == "3" && u.Scheme == "https" {
		c, err = m.connectQUIC(ctx, target, to)
	} else {
		c, err = m.connectTCP(ctx, target, to, u.Scheme)
	}
	if err != nil {
		return nil, err
	}
	c.origin, c.address = origin, target.Address()
	m.kept = c
	return c, nil
}

// drop closes the connection, if there is one.
func (m *run) drop() {
	if m.kept != nil {
		m.kept.close()
		m.kept = nil
	}
}

func (m *run) resolve(ctx context.Context, t probes.Target) (netip.AddrPort, error) {
	start := time.Now()
	addrs, err := m.env.Net.Resolve(ctx, t.Host)
	if err != nil {
		return netip.AddrPort{}, m.explain(ctx, "name "+t.Host, err)
	}
	if len(addrs) == 0 {
		return netip.AddrPort{}, probes.Fail(probes.Unreachable, "name %s has no address", t.Host)
	}
	if _, err := netip.ParseAddr(t.Host); err != nil {
		m.r.ObserveDuration(probes.ResolveTime, probes.Both, time.Since(start))
	}
	to := netip.AddrPortFrom(addrs[0], t.Port)
	m.r.Note("address", to.String())
	return to, nil
}

// connectTCP makes a connection for HTTP/1.1 or HTTP/2, with TLS where the scheme wants it.
func (m *run) connectTCP(ctx context.Context, t probes.Target, to netip.AddrPort, scheme string) (*connection, error) {
	start := time.Now()
	plain, err := m.env.Net.Dial(ctx, "tcp", to.String())
	if err != nil {
		return nil, m.explain(ctx, "connecting to "+to.String(), err)
	}
	m.r.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(start))
	c := plain
	if scheme == "https" {
		if c, err = m.handshake(ctx, t, plain); err != nil {
			_ = plain.Close() // the handshake has said why
			return nil, err
		}
	}
	stack, err := m.stack(ctx, c, scheme, t.Address())
	if err != nil {
		_ = c.Close() // the HTTP stack has said why
		return nil, m.explain(ctx, "connecting to "+t.Address(), err)
	}
	return &connection{
		roundTrip: stack.RoundTrip,
		usable:    func() bool { return stack.Err() == nil },
		close: func() {
			_ = stack.Close() // both: an HTTP/2 stack would wait for what is still open
			_ = c.Close()
		},
	}, nil
}

// handshake is TLS of any version that is still in use: servers of others may not speak 1.3 yet.
func (m *run) handshake(ctx context.Context, t probes.Target, plain net.Conn) (net.Conn, error) {
	conf := m.env.TLS(t)
	conf.MinVersion = tls.VersionTLS12
	conf.NextProtos = map[string][]string{"1.1": {"http/1.1"}, "2": {"h2"}}[m.config.Version]
	if conf.NextProtos == nil {
		conf.NextProtos = []string{"h2", "http/1.1"}
	}
	c := tls.Client(plain, conf)
	start := time.Now()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, m.explain(ctx, "TLS handshake with "+t.Address(), err)
	}
	m.r.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	state := c.ConnectionState()
	m.r.Note("tls_version", tls.VersionName(state.Version))
	if m.config.Version == "2" && state.NegotiatedProtocol != "h2" {
		return nil, errors.Join(probes.Fail(probes.Refused, "%s does not speak HTTP/2: leave version away to take what it speaks", t.Address()), c.Close())
	}
	return c, nil
}

// stack sets net/http upon a connection that is there already, so that every phase before the request is measured here.
func (m *run) stack(ctx context.Context, c net.Conn, scheme, address string) (*http.ClientConn, error) {
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	protocols := &http.Protocols{}
	protocols.SetHTTP1(m.config.Version != "2")
	protocols.SetHTTP2(m.config.Version != "1.1")
	protocols.SetUnencryptedHTTP2(m.config.Version == "2" && scheme == "http") // with prior knowledge, RFC 9113 section 3.3
	t := &http.Transport{
		DialContext: given, DialTLSContext: given, Protocols: protocols,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	return t.NewClientConn(ctx, scheme, address)
}

// connectQUIC makes a connection for HTTP/3.
func (m *run) connectQUIC(ctx context.Context, t probes.Target, to netip.AddrPort) (*connection, error) {
	pc, err := m.env.Net.ListenPacket(ctx, "udp", "")
	if err != nil {
		return nil, m.explain(ctx, "opening a UDP socket", err)
	}
	transport := &quicgo.Transport{Conn: pc}
	shut := func() {
		_ = transport.Close() // returns when its goroutines have ended
		_ = pc.Close()
	}
	conf := m.env.TLS(t)
	conf.NextProtos = []string{http3.NextProtoH3}
	start := time.Now()
	c, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), conf, &quicgo.Config{
		HandshakeIdleTimeout: 2 * m.config.RequestTimeout, // ctx ends it before
		MaxIdleTimeout:       m.config.RequestTimeout + m.config.Interval,
	})
	if err != nil {
		err = m.explain(ctx, "QUIC handshake with "+t.Address(), m.route(ctx, to, err))
		shut()
		return nil, err
	}
	m.r.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	m.r.Note("tls_version", tls.VersionName(c.ConnectionState().TLS.Version))
	stack := (&http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader}).NewClientConn(c)
	return &connection{
		roundTrip: stack.RoundTrip,
		usable:    func() bool { return c.Context().Err() == nil },
		close: func() {
			_ = c.CloseWithError(h3NoError, "") // returns when the connection has ended
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
