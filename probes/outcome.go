package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Outcome is how a measurement ended. A failed one is data: it is recorded, delivered and judged like any other.
type Outcome string

// The outcomes. The words are part of the JSON and of the metric nrprobe_probe_runs_total.
const (
	OK          Outcome = "ok"          // measured as asked; losses of packets do not change this
	Timeout     Outcome = "timeout"     // nothing, or not enough, came back in time
	Refused     Outcome = "refused"     // the far end is there and does not offer the service
	Unreachable Outcome = "unreachable" // no route, no such name, no such interface
	Auth        Outcome = "auth"        // a key, token or certificate was not accepted, by either side
	Busy        Outcome = "busy"        // the far end asked to come back later
	Invalid     Outcome = "invalid"     // the far end spoke, and what it said makes no sense
	OverPlan    Outcome = "over_plan"   // not begun: the data plan has no room for it
	Canceled    Outcome = "canceled"    // the user or a shutdown ended it
	Error       Outcome = "error"       // anything else, a panic included
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OK, Timeout, Refused, Unreachable, Auth, Busy, Invalid, OverPlan, Canceled, Error}
}

// Failure is an error that knows its outcome. Probes wrap errors in it where Classify could not tell.
type Failure struct {
	Outcome Outcome
	Err     error
}

// Fail makes a Failure with a formatted error; %w works as in fmt.Errorf.
func Fail(o Outcome, format string, args ...any) *Failure {
	return &Failure{Outcome: o, Err: fmt.Errorf(format, args...)}
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap gives errors.Is and errors.As what is inside.
func (f *Failure) Unwrap() error { return f.Err }

// Classify says which outcome an error means. nil is OK. The innermost Failure decides where there is one.
func Classify(err error) Outcome {
	if err == nil {
		return OK
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Outcome
	}
	if is(err, context.Canceled) {
		return Canceled
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok || is(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENODEV, syscall.EADDRNOTAVAIL, syscall.ENETDOWN, syscall.EHOSTDOWN) {
		return Unreachable
	}
	if is(err, context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT) || timedOut(err) {
		return Timeout
	}
	if is(err, syscall.ECONNREFUSED, syscall.ECONNRESET) {
		return Refused
	}
	if isCertificateError(err) {
		return Auth
	}
	return Error
}

func is(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func timedOut(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func isCertificateError(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return verification || authority || hostname || invalid
}
