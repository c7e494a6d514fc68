package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	influx "github.com/influxdata/influxdb-client-go/v2/api/http"

	"github.com/nrprobe/nrprobe/probes"
)

func answered(status int, message string, header ...string) error {
	e := &influx.Error{StatusCode: status, Message: message, Header: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		e.Header.Set(header[i], header[i+1])
	}
	return fmt.Errorf("writing: %w", e)
}

func TestJudge(t *testing.T) {
	json := []string{"Content-Type", "application/json; charset=utf-8"}
	for _, c := range []struct {
		err     error
		verdict verdict
	}{
		{nil, accepted},
		{answered(400, "unable to parse", json...), rejected},
		{answered(400, "partial write: points beyond retention policy dropped=3", json...), partial},
		{answered(400, "partial write: points beyond retention policy dropped=3", "X-Influxdb-Version", "1.8.10"), partial},
		{answered(400, "partial write", "Content-Type", "text/html"), rejected},
		{answered(422, "unprocessable", json...), rejected},
		{answered(413, ""), tooLarge},
		{answered(401, ""), refused},
		{answered(403, ""), refused},
		{answered(404, "bucket not found"), refused},
		{answered(301, ""), refused},
		{answered(405, ""), refused},
		{answered(408, ""), retry},
		{answered(429, ""), retry},
		{answered(500, ""), retry},
		{answered(502, ""), retry},
		{answered(503, ""), retry},
		{&strangeAnswer{"200 OK"}, refused},
		{context.DeadlineExceeded, retry},
		{syscall.ECONNREFUSED, retry},
		{&net.DNSError{Err: "no such host", Name: "h"}, retry},
		{probes.Fail(probes.Auth, "certificate has another pin"), refused},
		{influx.NewError(errors.New("broken pipe")), retry},
	} {
		if got := judge(c.err); got.verdict != c.verdict {
			t.Errorf("%v is judged %d (%s), want %d", c.err, got.verdict, got.reason, c.verdict)
		}
	}
	if got := judge(answered(400, "partial write: x dropped=3", json...)); got.dropped != 3 || !got.genuine {
		t.Errorf("got %+v", got)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(400, "partial write: field type conflict dropped=7", "application/json", "")
	f.Add(503, "", "", "120")
	f.Add(429, "slow down", "text/plain", "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add(400, "partial write dropped=99999999999999999999", "application/json", "-1")
	f.Fuzz(func(t *testing.T, status int, message, contentType, after string) {
		a := judge(&influx.Error{StatusCode: status, Message: message, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {after}}})
		switch {
		case a.verdict == accepted:
			t.Error("an error is judged a success")
		case a.after < 0 || a.after > maxWait:
			t.Errorf("waits %v", a.after)
		case a.dropped < 0:
			t.Errorf("dropped %d", a.dropped)
		case len(a.detail) > 220 || !utf8.ValidString(a.detail) && utf8.ValidString(message):
			t.Errorf("detail %q", a.detail)
		}
	})
}

func TestRetryAfterIsBounded(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, "1000000": maxWait, "Sat, 01 Jan 2000 00:00:00 GMT": 0, "soon": 0} {
		e := &influx.Error{Header: http.Header{"Retry-After": {header}}}
		var n uint
		if _, err := fmt.Sscanf(header, "%d", &n); err == nil {
			e.RetryAfter = n // as the client does
		}
		if got := retryAfter(e); got != want {
			t.Errorf("Retry-After: %s waits %v, want %v", header, got, want)
		}
	}
}
