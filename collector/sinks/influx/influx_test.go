package influx

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/collector/sinks/sinktest"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// fakeStore takes lines as InfluxDB does. A body with the word "conflict" is refused whole, as stores do that check
// before they write.
type fakeStore struct {
	mu       sync.Mutex
	points   map[string]sinktest.Point
	requests []*http.Request
	bodies   []string
	answer   func(w http.ResponseWriter) bool // nil or false: as usual
}

func (s *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, _ := io.ReadAll(z)
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(text))
	if s.answer != nil && s.answer(w) {
		return
	}
	if strings.Contains(string(text), "conflict") {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"code":"unprocessable entity","message":"field type conflict"}`)
		return
	}
	for _, p := range wire.Decode(text, wire.Options{}).Foreign {
		if len(p.Tags) == 0 {
			continue
		}
		one := sinktest.Point{Host: p.Tags[0].Value, Value: p.Fields[0].Value.(float64), Time: p.Time}
		s.points[fmt.Sprint(one.Host, one.Time)] = one
	}
	w.WriteHeader(http.StatusNoContent)
}

func open(t *testing.T, change func(*Config)) (sinks.Sink, *fakeStore) {
	t.Helper()
	store := &fakeStore{points: map[string]sinktest.Point{}}
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	c := defaults()
	c.URL = server.URL
	if change != nil {
		change(&c)
	}
	s, err := build(c, sinks.Env{Name: "influx", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s, store
}

func TestContract(t *testing.T) {
	sinktest.Suite{
		Bad: "load,host=conflict value=1 1700000000000000000",
		New: func(t *testing.T) (sinks.Sink, func(t *testing.T) []sinktest.Point) {
			s, store := open(t, nil)
			return s, func(*testing.T) []sinktest.Point {
				var list []sinktest.Point
				for _, p := range store.points {
					list = append(list, p)
				}
				return list
			}
		},
	}.Run(t)
}

func TestRequest(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, store := open(t, func(c *Config) {
		c.URL += "/influx/"
		c.Org, c.TokenFile, c.Buckets = "other", token, map[string]string{"van": "vans"}
	})
	toVan := sinktest.Batch(t, "a f=3 3")
	toVan.Bucket = "van"
	if err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, "a f=1 1"), sinktest.Batch(t, "a f=2 2"), toVan}); err != nil {
		t.Error(err)
	}
	got := make([]string, len(store.requests))
	for i, r := range store.requests {
		got[i] = fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), strings.ReplaceAll(store.bodies[i], "\n", "|"))
	}
	want := `POST /influx/api/v2/write?bucket=nr&org=other&precision=ns Token secret a f=1 1|a f=2 2|
POST /influx/api/v2/write?bucket=vans&org=other&precision=ns Token secret a f=3 3|`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestClassification(t *testing.T) {
	for status, want := range map[int]string{
		401: "retry", 403: "retry", 404: "retry", 429: "retry", 500: "retry", 503: "retry",
		400: "rejected", 413: "rejected", 422: "rejected", 204: "stored", 200: "stored",
	} {
		s, store := open(t, nil)
		store.answer = func(w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(status)
			if status != 204 {
				_, _ = io.WriteString(w, `{"message":"said the store"}`)
			}
			return true
		}
		err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, "load,host=a value=1 1")})
		got := "stored"
		if retry, ok := errors.AsType[*sinks.Retry](err); ok && retry.After == 17*time.Second && strings.Contains(err.Error(), "said the store") {
			got = "retry"
		} else if rejected, ok := errors.AsType[*sinks.Rejected](err); ok && strings.Contains(rejected.Error(), "said the store: load,host=a value=1 1") {
			got = "rejected"
		} else if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("status %d: %s, want %s", status, got, want)
		}
	}
}

func TestBisectionFindsEveryBadLine(t *testing.T) {
	s, store := open(t, nil)
	var lines []string
	for i := range 1000 {
		host := fmt.Sprintf("h%d", i)
		if i%250 == 7 {
			host = fmt.Sprintf("conflict%d", i)
		}
		lines = append(lines, fmt.Sprintf("load,host=%s value=1 %d", host, i))
	}
	err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, lines...)})
	rejected, ok := errors.AsType[*sinks.Rejected](err)
	if !ok || rejected.Points != 4 || len(store.points) != 996 {
		t.Errorf("got %v with %d points stored, want 4 rejected and 996 stored", err, len(store.points))
	}
	if n := len(store.requests); n > 2*4*11 {
		t.Errorf("%d requests for 4 bad lines of 1000", n)
	}
}

func TestBisectionEndsWhenEverythingIsRefused(t *testing.T) {
	s, store := open(t, nil)
	lines := make([]string, 3_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("load,host=conflict value=1 %d", i)
	}
	err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, lines...)})
	rejected, ok := errors.AsType[*sinks.Rejected](err)
	if !ok || rejected.Points != len(lines) || len(store.requests) != maxRequests {
		t.Errorf("got %v after %d requests, want all %d rejected after %d", err, len(store.requests), len(lines), maxRequests)
	}
}
