package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// overSockets delivers to a server on real sockets and returns the error and the log.
func overSockets(t *testing.T, url string, q *queue, verify *tls.Config) (string, error) {
	t.Helper()
	c := config()
	c.URL = url
	var log bytes.Buffer
	u := New(c, q, Options{TLS: verify, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, errors.New("the test took too long"))
	defer cancel()
	err := u.Run(ctx, ended())
	return log.String(), err
}

func TestVerifiesTheServer(t *testing.T) {
	s := newServer()
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := probes.Target{Host: "127.0.0.1", Text: "127.0.0.1"}
	for name, c := range map[string]struct {
		policy trust.Policy
		trusts bool
	}{
		"its pin":               {trust.Policy{Pin: trust.Pin(srv.Certificate().Raw)}, true},
		"its authority":         {trust.Policy{CAFile: ca}, true},
		"any certificate":       {trust.Policy{Insecure: true}, true},
		"another pin":           {trust.Policy{Pin: trust.Pin([]byte("another"))}, false},
		"the host's authorties": {trust.Policy{}, false},
	} {
		verify, err := c.policy.Config(host)
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue("a v=1 1")
		log, err := overSockets(t, srv.URL, q, verify)
		switch {
		case c.trusts && (err != nil || len(q.acked) != 1):
			t.Errorf("%s: %v\n%s", name, err, log)
		case !c.trusts && (err == nil || len(q.acked) != 0 || !strings.Contains(log, "certificate is not trusted (check uplink.ca and uplink.pin)")):
			t.Errorf("%s: %v\n%s", name, err, log)
		}
	}
}

func TestReadsNoEndlessAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 32<<10)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	q := newQueue("a v=1 1")
	log, err := overSockets(t, srv.URL, q, nil)
	if err == nil || !strings.Contains(log, "403 Forbidden") || len(log) > 2000 {
		t.Errorf("got %v with a log of %d bytes", err, len(log))
	}
}

func TestUnreachableServerIsRetried(t *testing.T) {
	const nobody = "http://127.0.0.1:1" // unlike a port that was free a moment ago, the kernel gives this one to nobody
	if a := judge(New(func() Config { c := config(); c.URL = nobody; return c }(), newQueue(), Options{}).write(t.Context(), [][]byte{[]byte("a v=1")})); a.verdict != retry {
		t.Errorf("judged %+v, want to retry", a)
	}
}
