package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

func TestExplain(t *testing.T) {
	s := &Server{Target: probes.Target{Host: "far.example", Port: 443}}
	for _, test := range []struct {
		err  error
		want probes.Outcome
		text string
	}{
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, probes.Auth, "certificate required"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: no application protocol")}, probes.Refused, "no application protocol"},
		{&tls.CertificateVerificationError{Err: errors.New("unknown")}, probes.Auth, "accepted with a pin, with ca or with insecure"},
		{tls.RecordHeaderError{RecordHeader: [5]byte{'2', '2', '0', ' ', 'm'}}, probes.Invalid, `not TLS ("220 m"): is that a port for TLS?`},
		{&net.OpError{Op: "read", Err: io.EOF}, probes.Refused, "closed the connection before the answer was complete"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, probes.Refused, "closed the connection before the answer was complete"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, probes.Refused, "connection refused"},
		{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, probes.Unreachable, "network is unreachable"},
		{&net.OpError{Op: "dial", Err: syscall.EMFILE}, probes.Error, "too many open files"},
		{&quicgo.TransportError{ErrorCode: AlertNoALPN, Remote: true}, probes.Refused, ""},
		{&quicgo.TransportError{ErrorCode: alertCertRequired, Remote: true}, probes.Auth, "accepted with a pin"},
		{&quicgo.TransportError{ErrorCode: quicgo.ConnectionRefused, Remote: true}, probes.Busy, ""},
		{&quicgo.TransportError{ErrorCode: quicgo.ApplicationErrorErrorCode, Remote: true}, probes.Refused, ""},
		{&quicgo.TransportError{ErrorCode: quicgo.ProtocolViolation}, probes.Invalid, ""},
		{&quicgo.VersionNegotiationError{}, probes.Invalid, ""},
		{&quicgo.StatelessResetError{}, probes.Refused, ""},
		{&quicgo.ApplicationError{ErrorCode: 7, Remote: true}, probes.Refused, ""},
		{&quicgo.IdleTimeoutError{}, probes.Timeout, ""},
		{&quicgo.HandshakeTimeoutError{}, probes.Timeout, ""},
		{probes.Fail(probes.Auth, "the pin differs"), probes.Auth, "the pin differs"},
		{errors.New("malformed HTTP response"), probes.Invalid, "does not answer as the protocol wants"},
	} {
		err := s.Explain(t.Context(), "asking far.example", test.err)
		if got := probes.Classify(err); got != test.want || !strings.HasPrefix(err.Error(), "asking far.example: ") || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%T: %s: %q, want %s: %q", test.err, got, err, test.want, test.text)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(probes.Fail(probes.Timeout, "no answer within 5s"))
	if err := s.Explain(ctx, "asking", io.EOF); err == nil || err.Error() != "no answer within 5s" {
		t.Errorf("after its time: %v", err)
	}
}
