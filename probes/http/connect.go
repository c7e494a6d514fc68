package http

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

// h3NoError ends an HTTP/3 connection in peace, RFC 9114 section 8.1.
const h3NoError = 0x100

// connection carries requests to one server, one at a time.
type connection struct {
	origin    string // scheme, host and port of the URLs that it is good for
	server    *client.Server
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
	to, err := client.Resolve(ctx, m.env.Net, m.r, target)
	if err != nil {
		return nil, err
	}
	server := &client.Server{Env: m.env, Target: target, Recorder: m.r}
	var c *connection
	if m.config.Version == "3" && u.Scheme == "https" {
		c, err = m.connectQUIC(ctx, server, to)
	} else {
		c, err = m.connectTCP(ctx, server, to, u.Scheme)
	}
	if err != nil {
		return nil, err
	}
	c.origin, c.server = origin, server
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

// connectTCP makes a connection for HTTP/1.1 or HTTP/2, with TLS where the scheme wants it.
func (m *run) connectTCP(ctx context.Context, server *client.Server, to netip.AddrPort, scheme string) (*connection, error) {
	c, err := server.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	if scheme == "https" {
		if c, err = m.handshake(ctx, server, c); err != nil {
			return nil, err
		}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(m.config.Version != "2")
	protocols.SetHTTP2(m.config.Version != "1.1")
	protocols.SetUnencryptedHTTP2(m.config.Version == "2" && scheme == "http") // with prior knowledge, RFC 9113 section 3.3
	stack, shut, err := server.HTTP(ctx, c, scheme, protocols)
	if err != nil {
		return nil, err
	}
	return &connection{roundTrip: stack.RoundTrip, usable: func() bool { return stack.Err() == nil }, close: shut}, nil
}

func (m *run) handshake(ctx context.Context, server *client.Server, plain net.Conn) (net.Conn, error) {
	protocols := map[string][]string{"1.1": {"http/1.1"}, "2": {"h2"}}[m.config.Version]
	if protocols == nil {
		protocols = []string{"h2", "http/1.1"}
	}
	c, err := server.Handshake(ctx, plain, protocols...)
	if err != nil {
		return nil, err
	}
	if m.config.Version == "2" && c.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.Join(probes.Fail(probes.Refused, "%s does not speak HTTP/2: leave version away to take what it speaks", server.Target.Address()), c.Close())
	}
	return c, nil
}

// connectQUIC makes a connection for HTTP/3.
func (m *run) connectQUIC(ctx context.Context, server *client.Server, to netip.AddrPort) (*connection, error) {
	c, shut, err := server.DialQUIC(ctx, to, http3.NextProtoH3, &quicgo.Config{
		HandshakeIdleTimeout: 2 * m.config.RequestTimeout, // ctx ends it before
		MaxIdleTimeout:       m.config.RequestTimeout + m.config.Interval,
	})
	if err != nil {
		return nil, err
	}
	stack := (&http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: client.MaxHeader}).NewClientConn(c)
	return &connection{
		roundTrip: stack.RoundTrip,
		usable:    func() bool { return c.Context().Err() == nil },
		close: func() {
			_ = c.CloseWithError(h3NoError, "") // returns when the connection has ended
			shut()
		},
	}, nil
}
