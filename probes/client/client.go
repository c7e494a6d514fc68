// Package client is what the kinds of probes that connect to servers share: the name resolved, the connection and the
// handshake made, each phase taken down by itself, and errors put into words.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// MaxHeader is what a server may send before the body, in bytes.
const MaxHeader = 256 << 10

// Resolve finds the address to measure at, which is the preferred one of a name, and notes it. The time that a name took
// is taken down; an address literal takes none. The port is the target's own.
func Resolve(ctx context.Context, network probes.Network, r *probes.Recorder, t probes.Target) (netip.AddrPort, error) {
	start := time.Now()
	addrs, err := network.Resolve(ctx, t.Host)
	switch {
	case err != nil && ctx.Err() != nil:
		return netip.AddrPort{}, context.Cause(ctx)
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("resolving %s: %w", t.Host, err)
	case len(addrs) == 0:
		return netip.AddrPort{}, probes.Fail(probes.Unreachable, "name %s has no address", t.Host)
	}
	if _, err := netip.ParseAddr(t.Host); err != nil {
		r.ObserveDuration(probes.ResolveTime, probes.Both, time.Since(start))
	}
	to := netip.AddrPortFrom(addrs[0], t.Port)
	if t.Port == 0 { // a kind without ports
		r.Note("address", to.Addr().String())
	} else {
		r.Note("address", to.String())
	}
	return to, nil
}

// WaitUntil waits for a moment of the schedule, not at all for one that has passed. The error is the cause of ctx's end.
func WaitUntil(ctx context.Context, when time.Time) error {
	wait := time.Until(when)
	if wait <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Server is one server while it is measured. Its fields are set before first use. Errors of its methods are explained
// already.
type Server struct {
	Env      probes.Env
	Target   probes.Target
	Recorder *probes.Recorder
}

// Connect makes a TCP connection and takes down how long that took.
func (s *Server) Connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	start := time.Now()
	c, err := s.Env.Net.Dial(ctx, "tcp", to.String())
	if err != nil {
		return nil, s.Explain(ctx, "connecting to "+to.String(), err)
	}
	s.Recorder.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(start))
	return c, nil
}

// Handshake makes TLS of a connection and takes down how long that took; when it fails, the connection is closed. Any
// version that is still in use will do: servers of others may not speak 1.3 yet. The protocols are those of ALPN.
func (s *Server) Handshake(ctx context.Context, plain net.Conn, protocols ...string) (*tls.Conn, error) {
	conf := s.Env.TLS(s.Target)
	conf.MinVersion = tls.VersionTLS12
	conf.NextProtos = protocols
	c := tls.Client(plain, conf)
	start := time.Now()
	if err := c.HandshakeContext(ctx); err != nil {
		_ = plain.Close() // the handshake has said why
		return nil, s.Explain(ctx, "TLS handshake with "+s.Target.Address(), err)
	}
	s.Recorder.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	s.Recorder.Note("tls_version", tls.VersionName(c.ConnectionState().Version))
	return c, nil
}

// HTTP sets net/http upon a connection that is there already, so that every phase before the request was measured by
// itself. shut closes both; when HTTP fails, it has closed the connection.
// Liveness: net/http keeps goroutines beside the connection, which end with shut.
func (s *Server) HTTP(ctx context.Context, c net.Conn, scheme string, protocols *http.Protocols) (stack *http.ClientConn, shut func(), err error) {
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	t := &http.Transport{
		DialContext: given, DialTLSContext: given, Protocols: protocols,
		DisableCompression: true, MaxResponseHeaderBytes: MaxHeader,
	}
	stack, err = t.NewClientConn(ctx, scheme, s.Target.Address())
	if err != nil {
		_ = c.Close() // the HTTP stack has said why
		return nil, nil, s.Explain(ctx, "connecting to "+s.Target.Address(), err)
	}
	return stack, func() {
		_ = stack.Close() // both: an HTTP/2 stack would wait for what is still open
		_ = c.Close()
	}, nil
}

// DialQUIC makes a QUIC connection on a socket of its own and takes down how long its handshake took. shut closes the
// socket when the connection has been closed.
// Liveness: quic-go's goroutines have ended when shut returns.
func (s *Server) DialQUIC(ctx context.Context, to netip.AddrPort, protocol string, config *quicgo.Config) (c *quicgo.Conn, shut func(), err error) {
	pc, err := s.Env.Net.ListenPacket(ctx, "udp", "")
	if err != nil {
		return nil, nil, s.Explain(ctx, "opening a UDP socket", err)
	}
	transport := &quicgo.Transport{Conn: pc}
	shut = func() {
		_ = transport.Close() // returns when its goroutines have ended
		_ = pc.Close()
	}
	conf := s.Env.TLS(s.Target)
	conf.NextProtos = []string{protocol}
	start := time.Now()
	dialing, stop := Listening(ctx, s.Env.Net, to)
	c, err = transport.Dial(dialing, net.UDPAddrFromAddrPort(to), conf, config)
	stop()
	if err != nil {
		err = s.Explain(ctx, "QUIC handshake with "+s.Target.Address(), Route(ctx, s.Env.Net, to, err))
		shut()
		return nil, nil, err
	}
	s.Recorder.ObserveDuration(probes.HandshakeTime, probes.Both, time.Since(start))
	s.Recorder.Note("tls_version", tls.VersionName(c.ConnectionState().TLS.Version))
	return c, shut, nil
}

// Route says why nothing can be sent to an address, where that is what an error of quic-go means; other errors it returns
// as they are. quic-go gives a refusal of the kernel on as text alone; a connected UDP socket meets with the same refusal
// and sends nothing.
func Route(ctx context.Context, network probes.Network, to netip.AddrPort, err error) error {
	transport, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok || transport.Remote || transport.ErrorCode != quicgo.InternalError {
		return err
	}
	c, routeErr := network.Dial(ctx, "udp", to.String())
	if routeErr != nil {
		return routeErr
	}
	return errors.Join(err, c.Close())
}

// knockAfter is how long a handshake may take before it is asked whether anybody is there: longer than it takes to send a
// lost packet again (RFC 9002 section 6.2.2), and than most handshakes.
const knockAfter = 600 * time.Millisecond

// Listening is for a QUIC handshake: its context is ctx, ended early when the far host says that nobody listens on the
// port, with an error that says so. It asks once, by Knock, when the handshake takes long. The caller calls stop when the
// handshake is over, whatever became of it.
// Liveness: what asks ends with stop, which waits for it.
func Listening(ctx context.Context, network probes.Network, to netip.AddrPort) (handshake context.Context, stop func()) {
	ctx, end := context.WithCancelCause(ctx)
	asked := make(chan struct{})
	timer := time.AfterFunc(knockAfter, func() {
		defer close(asked)
		if err := Knock(ctx, network, to); probes.Classify(err) == probes.Refused {
			end(probes.Fail(probes.Refused, "%s turned packets away: nobody listens on UDP port %d there", to, to.Port()))
		}
	})
	return ctx, func() {
		end(nil)
		if !timer.Stop() {
			<-asked
		}
	}
}

// knockTime is how long Knock waits: long enough for a router far away to say that nobody is there.
const knockTime = time.Second

// Knock finds out why a UDP port is silent: its error is the kernel's ECONNREFUSED where the far host says that nobody
// listens there (ICMP port unreachable), or that of a route that does not lead there; nil when nothing is heard within a
// second. It sends one packet that belongs to no protocol. A socket that is not connected, such as those of QUIC, does not
// hear of either.
func Knock(ctx context.Context, network probes.Network, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, knockTime)
	defer cancel()
	c, err := network.Dial(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = c.Close() // all that it was for has been heard
	}()
	if _, err = c.Write([]byte{0}); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if outcome := probes.Classify(err); outcome == probes.Refused || outcome == probes.Unreachable {
		return err
	}
	return nil
}
