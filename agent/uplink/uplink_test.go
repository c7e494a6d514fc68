package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// config is a Config without randomness in its pauses but for the upper half of the backoff.
func config() Config {
	c := Default()
	c.URL, c.Org, c.Token = "http://collector.example:8086", "lab", "secret"
	return c
}

// ended is a context of producers that have nothing more to say.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// drain delivers all that q holds within a minute of virtual time, and returns the error and the log.
func drain(t *testing.T, s *server, q *queue, c Config) (*Uplink, string, error) {
	t.Helper()
	var log bytes.Buffer
	u := New(c, q, Options{Token: c.Token, Network: serve(t, s), Version: "1.2.3", Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the grace time of 1m0s is over"))
	defer cancel()
	err := u.Run(ctx, ended())
	return u, log.String(), err
}

func TestDeliversOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := newServer(), newQueue("a v=1 1", "b v=2 2\nb2 v=3 3")
		u, log, err := drain(t, s, q, config())
		if err != nil || log != "" {
			t.Errorf("got %v, log %q", err, log)
		}
		if want := []string{"0s 204 a v=1 1 b v=2 2 b2 v=3 3"}; !slices.Equal(s.seen, want) {
			t.Errorf("the server saw %q, want %q", s.seen, want)
		}
		if got, want := s.last.URL.String(), "/api/v2/write?bucket=nr&org=lab&precision=ns"; got != want {
			t.Errorf("wrote to %s, want %s", got, want)
		}
		if got := s.last.Header.Get("Authorization"); got != "Token secret" {
			t.Errorf("authorization %q", got)
		}
		if got := s.last.Header.Get("User-Agent"); !strings.Contains(got, "nrprobe-agent/1.2.3") {
			t.Errorf("user agent %q", got)
		}
		if got := u.Stats(); got.Delivered != 2 || got.Batches["delivered"] != 1 || got.LastSuccess.IsZero() || got.Bytes != 25 {
			t.Errorf("stats %+v", got)
		}
	})
}

const (
	jsonType = "application/json"
	htmlType = "text/html"
)

// picky rejects every body in which a line begins with "bad".
func picky(contentType string) func([]string) reply {
	return func(lines []string) reply {
		for _, l := range lines {
			if strings.HasPrefix(l, "bad") {
				return reply{status: 400, body: `{"code":"invalid","message":"unable to parse bad"}`, header: map[string]string{"Content-Type": contentType}}
			}
		}
		return reply{}
	}
}

func TestOneBadRecordHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.decide = picky(htmlType) // believed even so, because the rest is taken
		q := newQueue("a", "b", "c", "bad1", "d", "e", "bad2", "f")
		u, log, err := drain(t, s, q, config())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []string{"a", "b", "c", "d", "e", "f"} {
			if s.stored[r] != 1 {
				t.Errorf("%s was stored %d times", r, s.stored[r])
			}
		}
		if len(q.acked) != 8 || s.stored["bad1"]+s.stored["bad2"] != 0 {
			t.Errorf("acknowledged %q, stored %v", q.acked, s.stored)
		}
		if got := u.Stats(); got.Delivered != 6 || got.Rejected != 2 || got.Batches["rejected"] != 1 {
			t.Errorf("stats %+v", got)
		}
		if n := strings.Count(log, "rejected results for good"); n != 1 || !strings.Contains(log, "record=bad2") {
			t.Errorf("logged %d times: %s", n, log)
		}
	})
}

func TestPartialWriteIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(reply{
			status: 400, header: map[string]string{"Content-Type": jsonType},
			body: `{"code":"invalid","message":"partial write: field type conflict: input field \"v\" is type float dropped=2"}`,
		})
		q := newQueue("a", "b", "c")
		u, _, err := drain(t, s, q, config())
		if err != nil || len(s.seen) != 1 || len(q.acked) != 3 {
			t.Errorf("got %v after %q, acknowledged %q", err, s.seen, q.acked)
		}
		if got := u.Stats(); got.Delivered != 1 || got.Rejected != 2 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestNothingIsDroppedForAnAnswerThatIsNotBelieved(t *testing.T) {
	refusal := reply{status: 400, body: "Client sent an HTTP request to an HTTPS server.\n", header: map[string]string{"Content-Type": "text/plain"}}
	for name, c := range map[string]struct {
		answer reply
		log    string
	}{
		"plain HTTP to an HTTPS port": {refusal, "400 Bad Request to everything so far"},
		"a server that takes nothing": {reply{status: 422, body: `{"code":"invalid","message":"no"}`, header: map[string]string{"Content-Type": jsonType}}, "422 Unprocessable Entity to everything so far"},
		"a login page":                {reply{status: 200, body: "<html>log in"}, "login page"},
		"a redirect to a login page":  {reply{status: 302, header: map[string]string{"Location": "http://collector.example:8086/login"}}, "302 Found (check uplink.url"},
		"a refused token":             {reply{status: 401, body: `{"code":"unauthorized","message":"unauthorized access"}`, header: map[string]string{"Content-Type": jsonType}}, "uplink.token_file"},
		"a bucket that is not there":  {reply{status: 404, body: `{"code":"not found","message":"bucket \"nr\" not found"}`, header: map[string]string{"Content-Type": jsonType}}, "uplink.bucket"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.decide = func([]string) reply { return c.answer }
			q := newQueue("a", "b", "c")
			_, log, err := drain(t, s, q, config())
			if err == nil || !strings.HasPrefix(err.Error(), "3 results are not delivered yet: ") {
				t.Errorf("%s: got %v", name, err)
			}
			if len(q.acked) != 0 || !strings.Contains(log, c.log) || strings.Count(log, "\n") != 1 {
				t.Errorf("%s: acknowledged %q, log %s", name, q.acked, log)
			}
			if waited := time.Since(s.zero); waited != 0 {
				t.Errorf("%s: an uplink that shall end waited %v for a setting to be changed", name, waited)
			}
		})
	}
}

func TestAProvenServerIsBelieved(t *testing.T) {
	for contentType, believed := range map[string]bool{jsonType: true, htmlType: false} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.decide = picky(contentType)
			q := newQueue(strings.Repeat("a", 5000), "bad "+strings.Repeat("x", 5000))
			c := config()
			c.BatchBytes = 4 << 10 // one record a batch
			_, _, err := drain(t, s, q, c)
			if (err == nil) != believed || (len(q.acked) == 2) != believed {
				t.Errorf("an answer of type %s: got %v and %d acknowledged", contentType, err, len(q.acked))
			}
		})
	}
}

func TestTooLargeBatchesAreHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.decide = func(lines []string) reply {
			if len(strings.Join(lines, "\n")) > 6000 {
				return reply{status: 413, body: "too large", header: map[string]string{"Content-Type": htmlType}}
			}
			return reply{}
		}
		var records []string
		for i := range 40 {
			records = append(records, fmt.Sprintf("%02d", i)+strings.Repeat("x", 997))
		}
		c := config()
		c.BatchBytes = 32 << 10
		u, _, err := drain(t, s, newQueue(records...), c)
		if err != nil || len(s.stored) != 40 {
			t.Fatalf("got %v, stored %d", err, len(s.stored))
		}
		tooLarge := 0
		for _, line := range s.seen {
			if strings.Contains(line, " 413 ") {
				tooLarge++
			}
		}
		if tooLarge != 7 || u.batch != minBatch {
			t.Errorf("%d requests were too large, batches ended at %d bytes: want 7 of the first batch and none after it", tooLarge, u.batch)
		}
	})
}

// times returns the seconds of all requests.
func times(s *server) []string {
	var list []string
	for _, line := range s.seen {
		at, rest, _ := strings.Cut(line, " ")
		list = append(list, at+" "+rest[:3])
	}
	return list
}

func TestRetriesUntilTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(
			reply{status: 503, header: map[string]string{"Retry-After": "7"}},
			reply{status: 429, header: map[string]string{"Retry-After": time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)}},
		)
		q := newQueue("a")
		u, log, err := drain(t, s, q, config())
		if want := []string{"0s 503", "7s 429", "10s 204"}; err != nil || !slices.Equal(times(s), want) {
			t.Errorf("got %v with requests %q, want %q", err, times(s), want)
		}
		if strings.Count(log, "cannot be delivered") != 2 || strings.Count(log, "delivered again") != 1 {
			t.Errorf("log: %s", log)
		}
		if got := u.Stats().Batches; got["retried"] != 2 || got["delivered"] != 1 {
			t.Errorf("batches %v", got)
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	u := New(config(), newQueue(), Options{Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		v        verdict
		fails    int
		from, to time.Duration
	}{
		{retry, 1, 500 * time.Millisecond, time.Second},
		{retry, 2, time.Second, 2 * time.Second},
		{retry, 5, 8 * time.Second, 16 * time.Second},
		{retry, 50, 30 * time.Second, time.Minute},
		{refused, 1, 15 * time.Second, 30 * time.Second},
		{refused, 50, 150 * time.Second, 5 * time.Minute},
	} {
		u.fails = c.fails
		var low, high time.Duration = time.Hour, 0
		for range 1000 {
			d := u.backoff(&notDelivered{answer{verdict: c.v}})
			low, high = min(low, d), max(high, d)
		}
		if low < c.from || high > c.to || high-low < (c.to-c.from)/2 {
			t.Errorf("pauses after %d failures lie in %v–%v, want them spread over %v–%v", c.fails, low, high, c.from, c.to)
		}
	}
	u.fails = 1
	if got := u.backoff(&notDelivered{answer{verdict: retry, after: time.Minute}}); got != time.Minute {
		t.Errorf("a pause is %v where the server asked for 1m", got)
	}
}

func TestPacesDeliveriesAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := newServer(), newQueue("first")
		u := New(config(), q, Options{Network: serve(t, s), Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx, t.Context()) }()
		time.Sleep(time.Second)
		q.put("second")
		time.Sleep(time.Second)
		q.put("third")
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"0s 204 first", "5s 204 second third"}; !slices.Equal(s.seen, want) {
			t.Errorf("the server saw %q, want %q", s.seen, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainsWhatWaitedForAServerThatIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := newServer(), newQueue("a")
		network := serve(t, s)
		var up atomic.Bool
		network.down = func() error {
			if up.Load() {
				return nil
			}
			return errors.New("network is down")
		}
		u := New(config(), q, Options{Network: network, Log: slog.New(slog.DiscardHandler)})
		producers, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(t.Context(), producers) }()
		time.Sleep(10 * time.Minute) // pauses are a minute long by now
		up.Store(true)
		began := time.Now()
		stop()
		if err := <-done; err != nil || len(q.acked) != 1 || time.Since(began) != 0 {
			t.Errorf("got %v with %q after %v: want it delivered at once", err, q.acked, time.Since(began))
		}
	})
}

func TestGraceTimeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.decide = func([]string) reply { return reply{hang: time.Hour} }
		q := newQueue("a")
		_, _, err := drain(t, s, q, config())
		if err == nil || !strings.Contains(err.Error(), "1 results are not delivered yet") {
			t.Errorf("got %v", err)
		}
		if got := time.Since(s.zero); got != time.Minute {
			t.Errorf("ended after %v, want the grace time of 1m", got)
		}
		if len(q.acked) != 0 || q.leased {
			t.Errorf("acknowledged %q, leased %v: want it given back", q.acked, q.leased)
		}
	})
}
