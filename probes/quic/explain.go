package quic

import (
	"context"
	"errors"
	"fmt"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
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
		if routeErr := client.Route(ctx, m.env.Net, m.to, transport); !errors.Is(routeErr, transport) {
			return fmt.Errorf("quic with %s: %w", where, routeErr)
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
	outcome, _ := client.QUICOutcome(err)
	switch {
	case err.ErrorCode == client.AlertNoALPN:
		return probes.Fail(outcome, "%s speaks QUIC and serves no probes of ours: is it nrprobe reflector? %w", where, err)
	case outcome == probes.Auth:
		return probes.Fail(outcome, "certificate of %s: %w", where, err)
	case outcome == probes.Refused:
		return probes.Fail(outcome, "%s ended the connection in its handshake: %w", where, err)
	case outcome == probes.Busy:
		return probes.Fail(outcome, "%s takes no more connections now: %w", where, err)
	default:
		return probes.Fail(outcome, "quic with %s: %w", where, err)
	}
}
