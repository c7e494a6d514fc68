// Package http measures what a request to any web server is made of: name, connection, handshake, first byte and
// transfer, over HTTP/1.1, HTTP/2 and HTTP/3.
package http

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// Config is what can be set of a run.
type Config struct {
	Count          int           `yaml:"count" help:"requests to make" min:"1" max:"100000"`
	Interval       time.Duration `yaml:"interval" help:"time between the starts of two requests; a slow one delays the next" min:"1ms" max:"1h"`
	Scheme         string        `yaml:"scheme" help:"https, or http for a server without TLS" oneof:"https,http"`
	Version        string        `yaml:"version" help:"version of HTTP to insist on; auto offers 2 and 1.1 and lets the server choose" oneof:"auto,1.1,2,3"`
	Method         string        `yaml:"method" help:"method of the request" oneof:"GET,HEAD"`
	Path           string        `yaml:"path" help:"path of the URL, with its query"`
	Status         int           `yaml:"status" help:"status that the answer must have; 0 for any below 400" max:"599"`
	MaxBody        unit.Bytes    `yaml:"max_body" help:"bytes of a body to read; the rest is left" max:"1GiB"`
	Keep           bool          `yaml:"keep" help:"send all requests over one connection; false makes a new one for each"`
	Redirects      int           `yaml:"redirects" help:"redirects to follow before an answer counts" min:"0" max:"10"`
	RequestTimeout time.Duration `yaml:"timeout" help:"how long one request may take, connection and redirects included" min:"10ms" max:"10m"`
}

func defaults() Config {
	return Config{
		Count: 5, Interval: time.Second, Scheme: "https", Version: "auto", Method: "GET", Path: "/", MaxBody: 1 << 20,
		RequestTimeout: 10 * time.Second, // room for two SYNs to be lost: they are repeated after 1 s and 3 s (RFC 6298)
	}
}

// Timeout implements probes.Config: every wait at its longest, and a second of slack.
func (c *Config) Timeout() time.Duration {
	return time.Duration(c.Count)*max(c.Interval, c.RequestTimeout) + time.Second
}

// ports are those of a target that names none.
const (
	portHTTPS = 443
	portHTTP  = 80
)

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "http",
		Summary: "HTTP request by phase, over HTTP/1.1, HTTP/2 or HTTP/3",
		Help: `Requests a page of any web server and measures each phase: resolving the name, connecting, the TLS handshake (QUIC's
over HTTP/3), the first byte of the answer counted from the request, and the transfer of its body. The target is the
server's host, and port where it is not 443 (80 with --scheme http); --path says which page. Each request has a
connection of its own, without a resumed session, unless --keep asks for one for all. A request counts as lost when no
complete answer comes in time. One attempt is made at the preferred address of the name: other addresses are not tried
beside it, other versions of HTTP neither, and redirects are answers unless --redirects says how many to follow. Bodies
are neither decompressed nor kept. The system's authorities verify the server, unless a pin or an authority is given.`,
		Example: "nrprobe probe http 127.0.0.1:8443 --insecure --version 2",
		Lane:    probes.Latency,
		Port:    portHTTPS,
		Foreign: true,
		Metrics: []*probes.Metric{
			probes.ResolveTime, probes.ConnectTime, probes.HandshakeTime, probes.FirstByteTime, probes.TransferTime, probes.Transferred,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.LossRatio,
		},
	}, defaults, build)
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if c.Scheme == "http" && c.Version == "3" {
		return nil, fmt.Errorf("version: HTTP/3 is always encrypted: leave scheme away")
	}
	if c.Scheme == "http" && target.Text == target.Host {
		target.Port = portHTTP // the user gave none
	}
	if !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path: %q does not begin with a slash", c.Path)
	}
	u, err := url.Parse(c.Scheme + "://" + host(c.Scheme, target) + c.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	return &probe{config: c, env: env, target: target, url: u}, nil
}

// host is the part of the URL that names the server, without the port that goes without saying (RFC 3986 section 6.2.3).
func host(scheme string, t probes.Target) string {
	if scheme == "https" && t.Port == portHTTPS || scheme == "http" && t.Port == portHTTP {
		if strings.Contains(t.Host, ":") {
			return "[" + t.Host + "]"
		}
		return t.Host
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// targetOf is the server that a URL names.
func targetOf(u *url.URL) (probes.Target, error) {
	port := uint16(portHTTPS)
	switch u.Scheme {
	case "https":
	case "http":
		port = portHTTP
	default:
		return probes.Target{}, probes.Fail(probes.Invalid, "redirect to %s: its scheme is neither https nor http", u.Redacted())
	}
	text := u.Hostname()
	if u.Port() != "" {
		text = u.Host
	}
	t, err := probes.ParseTarget(text, port)
	if err != nil {
		return t, &probes.Failure{Outcome: probes.Invalid, Err: fmt.Errorf("redirect: %w", err)}
	}
	return t, nil
}
