package quic

import (
	"context"
	"errors"
	"fmt"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// Alerts of TLS as QUIC error codes, RFC 9001 section 4.8 and RFC 8446 section 6.
const (
	cryptoError         = 0x100
	alertBadCertificate = cryptoError + 42
	alertAccessDenied   = cryptoError + 49
	alertCertRequired   = cryptoError + 116
	alertNoALPN         = cryptoError + 120
)

// explain says what an error of the QUIC stack means to whoever measures. ctx is the run's own.
func (m *run) explain(ctx context.Context, err error) error {
	where := m.target.Address()
	if failure, ok := errors.AsType[*probes.Failure](err); ok {
		return failure // of the certificate's verification, which says it all
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if versions, ok := errors.AsType[*quicgo.VersionNegotiationError](err); ok {
		return probes.Fail(probes.Invalid, "%s speaks no version of QUIC that is known here (it offers %v): %w", where, versions.Theirs, err)
	}
	_, handshake := errors.AsType[*quicgo.HandshakeTimeoutError](err)
	_, idle := errors.AsType[*quicgo.IdleTimeoutError](err)
	switch {
	case handshake || errors.Is(err, context.DeadlineExceeded):
		return probes.Fail(probes.Timeout, "no QUIC handshake with %s within %v: is that the reflector's UDP port, and does every firewall on the way let it through?", where, m.config.HandshakeTimeout)
	case idle:
		return probes.Fail(probes.Timeout, "%s went silent: %w", where, err)
	}
	if transport, ok := errors.AsType[*quicgo.TransportError](err); ok {
		if transport.ErrorCode == quicgo.InternalError && !transport.Remote {
			if routeErr := m.route(ctx); routeErr != nil {
				return fmt.Errorf("quic with %s: %w", where, routeErr)
			}
		}
		return explainTransport(where, transport)
	}
	if closed, ok := errors.AsType[*quicgo.ApplicationError](err); ok && closed.Remote {
		return probes.Fail(probes.Refused, "%s ended the connection: %w", where, err)
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		return probes.Fail(probes.Refused, "%s has forgotten the connection, as after a restart: %w", where, err)
	}
	return fmt.Errorf("quic with %s: %w", where, err)
}

func explainTransport(where string, err *quicgo.TransportError) error {
	switch code := uint64(err.ErrorCode); {
	case code == alertNoALPN:
		return probes.Fail(probes.Refused, "%s speaks QUIC and serves no probes of ours: is it nrprobe reflector? %w", where, err)
	case code >= alertBadCertificate && code <= alertAccessDenied, code == alertCertRequired:
		return probes.Fail(probes.Auth, "certificate of %s: %w", where, err)
	case err.ErrorCode == quicgo.ApplicationErrorErrorCode && err.Remote:
		return probes.Fail(probes.Refused, "%s ended the connection in its handshake: %w", where, err)
	case err.ErrorCode == quicgo.ConnectionRefused:
		return probes.Fail(probes.Busy, "%s takes no more connections now: %w", where, err)
	default:
		return probes.Fail(probes.Invalid, "quic with %s: %w", where, err)
	}
}

// route says why nothing can be sent to the far end, if so. quic-go gives a refusal of the kernel on as text alone; a
// connected UDP socket meets with the same refusal and sends nothing.
func (m *run) route(ctx context.Context) error {
	c, err := m.env.Net.Dial(ctx, "udp", m.to.String())
	if err != nil {
		return err
	}
	return c.Close()
}
