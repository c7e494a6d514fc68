package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// Alerts of TLS as QUIC error codes, RFC 9001 section 4.8 and RFC 8446 section 6.
const (
	cryptoError         = 0x100
	alertBadCertificate = cryptoError + 42
	alertAccessDenied   = cryptoError + 49
	alertCertRequired   = cryptoError + 116
	// AlertNoALPN says that the peer speaks none of the protocols that were offered.
	AlertNoALPN = quicgo.TransportErrorCode(cryptoError + 120)
)

// remedy is what a certificate that nobody vouches for leaves to do.
const remedy = "a server that no public authority vouches for is accepted with a pin, with ca or with insecure"

// Explain says what an error means to whoever measures: what was being done, and whose fault it is. ctx is that of the
// one request.
func (s *Server) Explain(ctx context.Context, doing string, err error) error {
	outcome, ofQUIC := QUICOutcome(err)
	if !ofQUIC {
		outcome = probes.Classify(err)
	}
	record, noTLS := errors.AsType[tls.RecordHeaderError](err)
	_, failure := errors.AsType[*probes.Failure](err)
	switch {
	case failure:
		return fmt.Errorf("%s: %w", doing, err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case noTLS:
		return probes.Fail(probes.Invalid, "%s: it answers with something that is not TLS (%q): is that a port for TLS?", doing, record.RecordHeader[:])
	case outcome == probes.Auth:
		return probes.Fail(probes.Auth, "%s: %w: %s", doing, err, remedy)
	case ofQUIC:
		return probes.Fail(outcome, "%s: %w", doing, err)
	case closedByPeer(err):
		return probes.Fail(probes.Refused, "%s: it closed the connection before the answer was complete: %w", doing, err)
	case outcome != probes.Error:
		return fmt.Errorf("%s: %w", doing, err)
	}
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" { // a TLS alert
		if strings.Contains(remote.Error(), "certificate") {
			return probes.Fail(probes.Auth, "%s: %w", doing, err)
		}
		return probes.Fail(probes.Refused, "%s: %w", doing, err)
	}
	if _, system := errors.AsType[syscall.Errno](err); system {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return probes.Fail(probes.Invalid, "%s: it does not answer as the protocol wants: %w", doing, err)
}

// QUICOutcome is the outcome that an error of the QUIC stack means; ok is false for those of others.
func QUICOutcome(err error) (outcome probes.Outcome, ok bool) {
	_, handshake := errors.AsType[*quicgo.HandshakeTimeoutError](err)
	_, idle := errors.AsType[*quicgo.IdleTimeoutError](err)
	_, reset := errors.AsType[*quicgo.StatelessResetError](err)
	_, version := errors.AsType[*quicgo.VersionNegotiationError](err)
	_, closed := errors.AsType[*quicgo.ApplicationError](err)
	switch {
	case handshake || idle:
		return probes.Timeout, true
	case reset || closed:
		return probes.Refused, true
	case version:
		return probes.Invalid, true
	}
	transport, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok {
		return "", false
	}
	switch code := transport.ErrorCode; {
	case code >= alertBadCertificate && code <= alertAccessDenied, code == alertCertRequired:
		return probes.Auth, true
	case code == AlertNoALPN, code == quicgo.ApplicationErrorErrorCode && transport.Remote:
		return probes.Refused, true
	case code == quicgo.ConnectionRefused:
		return probes.Busy, true
	default:
		return probes.Invalid, true
	}
}

func closedByPeer(err error) bool {
	for _, way := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, way) {
			return true
		}
	}
	return false
}
