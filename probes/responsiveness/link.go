package responsiveness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// link is one connection of HTTP/2 or HTTP/3. It is safe for concurrent use.
type link struct {
	http.RoundTripper
	close func() error
}

// site is where connections go: an address, and what is written in requests and expected in the certificate.
type site struct {
	address string        // IP and port
	target  probes.Target // whose certificate it is
	host    string        // host and port as URLs have them
}

// dialer opens links.
type dialer struct {
	env     probes.Env
	version string // of HTTP: "2" or "3"
}

// dial opens a link and says what its phases took.
func (d *dialer) dial(ctx context.Context, s site) (*link, timing, error) {
	if d.version == "3" {
		return d.dialQUIC(ctx, s)
	}
	return d.dialTLS(ctx, s)
}

// http2Window is the largest flow-control window that net/http accepts for one stream.
const http2Window = 4<<20 - 1

func (d *dialer) dialTLS(ctx context.Context, s site) (*link, timing, error) {
	begun := time.Now()
	c, err := d.env.Net.Dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, timing{}, fmt.Errorf("connecting to %s: %w", s.address, err)
	}
	t := timing{tcp: time.Since(begun)}
	load.KeepShort(c)
	conf := d.env.TLS(s.target)
	conf.NextProtos = []string{"h2"}
	secured := tls.Client(c, conf)
	begun = time.Now()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, t, errors.Join(fmt.Errorf("TLS handshake with %s: %w", s.address, err), c.Close())
	}
	t.tls = time.Since(begun)
	if secured.ConnectionState().Version < tls.VersionTLS13 {
		t.tls /= 2 // two round trips (RFC 5246 section 7.3)
	}
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, t, errors.Join(probes.Fail(probes.Refused, "%s does not offer HTTP/2", s.address), secured.Close())
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return secured, nil },
		HTTP2:          &http.HTTP2Config{MaxReceiveBufferPerStream: http2Window},
	}
	conn, err := transport.NewClientConn(ctx, "https", s.host)
	if err != nil {
		return nil, t, errors.Join(fmt.Errorf("HTTP/2 with %s: %w", s.address, err), secured.Close())
	}
	return &link{RoundTripper: conn, close: func() error {
		// The socket goes first and takes with it what is still to be sent: TLS would wait for room to say goodbye, for five
		// seconds on a link that is full or dead.
		load.Abort(c)
		return errors.Join(c.Close(), ignoreClosed(conn.Close()))
	}}, t, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// quicWindow keeps QUIC's flow control out of what is measured.
const quicWindow = 64 << 20

func (d *dialer) dialQUIC(ctx context.Context, s site) (*link, timing, error) {
	address, err := netip.ParseAddrPort(s.address)
	if err != nil {
		return nil, timing{}, fmt.Errorf("connecting to %s: %w", s.address, err)
	}
	network := "udp4"
	if address.Addr().Is6() {
		network = "udp6"
	}
	// Connecting a UDP socket sends nothing, and says better than quic-go why there is no way to the far end.
	c, err := d.env.Net.Dial(ctx, network, s.address)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return nil, timing{}, fmt.Errorf("connecting to %s: %w", s.address, err)
	}
	pc, err := d.env.Net.ListenPacket(ctx, network, "")
	if err != nil {
		return nil, timing{}, fmt.Errorf("opening a socket for QUIC: %w", err)
	}
	transport := &quic.Transport{Conn: pc}
	conf := d.env.TLS(s.target)
	conf.NextProtos = []string{http3.NextProtoH3}
	begun := time.Now()
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(address), conf, &quic.Config{
		HandshakeIdleTimeout: stepLimit, MaxIdleTimeout: 2 * stepLimit,
		InitialStreamReceiveWindow: quicWindow, MaxStreamReceiveWindow: quicWindow,
		InitialConnectionReceiveWindow: quicWindow, MaxConnectionReceiveWindow: quicWindow,
	})
	if err != nil {
		return nil, timing{}, errors.Join(fmt.Errorf("QUIC handshake with %s: %w", s.address, err), transport.Close(), pc.Close())
	}
	t := timing{tls: time.Since(begun)}
	client := (&http3.Transport{DisableCompression: true}).NewClientConn(conn)
	return &link{RoundTripper: client, close: func() error {
		return errors.Join(conn.CloseWithError(0, ""), transport.Close(), pc.Close())
	}}, t, nil
}
