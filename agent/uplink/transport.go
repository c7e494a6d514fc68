package uplink

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// maxAnswer bounds what is read of an answer: an error of a write API is one line.
const maxAnswer = 64 << 10

// dialTimeout bounds one attempt at one address: three seconds and one retransmission of a SYN have passed by then.
const dialTimeout = 8 * time.Second

// newClient makes the HTTP client of the uplink. It follows no redirects: a POST that was turned into a GET would look
// delivered.
func newClient(network probes.Network, tlsConfig *tls.Config, timeout time.Duration) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   2,
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: timeout,
	}
	if network != nil {
		transport.DialContext = dialer{network}.dial
	} else {
		transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &http.Client{
		Transport:     strict{transport},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer connects over the agent's own network, so that names resolve and interfaces bind as they do for probes.
type dialer struct{ network probes.Network }

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.network.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("resolving %s: no addresses", host)
	for _, addr := range addrs {
		var c net.Conn
		if c, err = d.one(ctx, network, addr, port); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (d dialer) one(ctx context.Context, network string, addr netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return d.network.Dial(ctx, network, net.JoinHostPort(addr.String(), port))
}

// strangeAnswer is a success that no write API gives. The portals of mobile and hotel networks answer so.
type strangeAnswer struct{ status string }

func (e *strangeAnswer) Error() string {
	return fmt.Sprintf("something that is no write API answered %q in place of 204 (check uplink.url, and whether the network has a login page)", e.status)
}

// strict lets no answer pass as a success but 204, and bounds the rest.
type strict struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s strict) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 && resp.StatusCode != http.StatusNoContent {
		_ = resp.Body.Close()
		return nil, &strangeAnswer{resp.Status}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}
