package dns

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
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
	to, err := client.Resolve(ctx, m.env.Net, m.r, m.target)
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

func (m *run) connectUDP(ctx context.Context, to netip.AddrPort) (*connection, error) {
	c, err := m.env.Net.Dial(ctx, "udp", to.String())
	if err != nil {
		return nil, m.server.Explain(ctx, "opening a UDP socket to "+to.String(), err)
	}
	return &connection{exchange: overPackets(c), usable: always, close: func() { _ = c.Close() }}, nil
}

// connectTCP makes a connection for DNS over TCP, TLS or HTTPS.
func (m *run) connectTCP(ctx context.Context, to netip.AddrPort) (*connection, error) {
	plain, err := m.server.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	switch m.config.Transport {
	case overTCP:
		return &connection{exchange: overStream(plain), usable: always, close: func() { _ = plain.Close() }}, nil
	case overTLS:
		c, err := m.server.Handshake(ctx, plain, "dot")
		if err != nil {
			return nil, err
		}
		return &connection{exchange: overStream(c), usable: always, close: func() { _ = c.Close() }}, nil
	}
	c, err := m.server.Handshake(ctx, plain, "h2")
	if err != nil {
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.Join(probes.Fail(probes.Refused, "%s does not speak HTTP/2, as DNS over HTTPS wants it (RFC 8484 section 5.2)", m.target.Address()), c.Close())
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	stack, shut, err := m.server.HTTP(ctx, c, "https", protocols)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https", Host: m.target.Address(), Path: m.config.Path}
	return &connection{exchange: overHTTP(stack, u.String()), usable: func() bool { return stack.Err() == nil }, close: shut}, nil
}

func always() bool { return true }

func (m *run) connectQUIC(ctx context.Context, to netip.AddrPort) (*connection, error) {
	c, shut, err := m.server.DialQUIC(ctx, to, "doq", &quicgo.Config{ // RFC 9250 section 4.1.1
		HandshakeIdleTimeout:    2 * m.config.QueryTime, // ctx ends it before
		MaxIdleTimeout:          m.config.QueryTime + m.config.Interval,
		DisablePathMTUDiscovery: true, // it would be traffic beside the queries
	})
	if err != nil {
		return nil, err
	}
	return &connection{
		exchange: overQUICStream(c),
		usable:   func() bool { return c.Context().Err() == nil },
		close: func() {
			_ = c.CloseWithError(0, "") // DOQ_NO_ERROR; returns when the connection has ended
			shut()
		},
	}, nil
}
