package agent

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// store is a server with the InfluxDB v2 write API that keeps what it got.
type store struct {
	mu     sync.Mutex
	closed bool   // takes nobody's token
	token  string // the only one it takes; "" takes any
	got    map[probes.ID]*probes.Result
}

func newStore(t *testing.T) (*store, string) {
	t.Helper()
	s := &store{got: map[probes.ID]*probes.Result{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(z)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.token != "" && r.Header.Get("Authorization") != "Token "+s.token {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	for _, result := range wire.Decode(body, wire.Options{}).Results {
		s.got[result.ID] = result
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *store) results() map[probes.ID]*probes.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[probes.ID]*probes.Result{}
	maps.Copy(got, s.got)
	return got
}

func realNet(w Way) (probes.Network, error) {
	return host.New(host.Config{Interface: w.Interface, Family: w.Family})
}

func uplinkTo(url, outbox string) string {
	return fmt.Sprintf(`
agent: {name: a, labels: {site: nansha}}
probes:
  - {name: p, kind: ping, target: h, takes: 1ms, every: 1s}
  - {name: q, kind: ping, target: h, takes: 1ms, every: 1s, fails: true}
  - {name: l, kind: load, target: h, takes: 1ms}
outbox: {path: %q}
uplink: {url: %q}
`, outbox, url)
}

func TestOnceDelivers(t *testing.T) {
	s, url := newStore(t)
	d, seen := newDiary(), &gather{}
	a, err := New(configOf(t, d, uplinkTo(url, t.TempDir())), Deps{Kinds: d.kinds(), Network: realNet, OnResult: seen.add})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := s.results()
	if len(got) != 3 {
		t.Fatalf("the server has %d results, want 3", len(got))
	}
	for _, r := range seen.results() {
		g := got[r.ID]
		if g == nil || g.ID != r.ID || g.Probe != r.Probe || g.Outcome != r.Outcome || !g.Start.Equal(r.Start) || g.Labels["site"] != "nansha" || g.Values["rtt_p50_seconds"] != r.Values["rtt_p50_seconds"] {
			t.Errorf("measured %+v, the server has %+v", r, g)
		}
	}
}

func TestWhatCannotBeDeliveredWaitsForTheNextStart(t *testing.T) {
	s, url := newStore(t)
	s.closed = true
	d, dir := newDiary(), t.TempDir()
	kept := make(chan *probes.Result, 1000)
	start := func(boot string) *Agent {
		a, err := New(configOf(t, d, uplinkTo(url, dir)), Deps{Kinds: d.kinds(), Network: realNet, Boot: boot, OnResult: func(r *probes.Result) { kept <- r }})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- start("first").Run(ctx) }()
	for range 3 {
		<-kept
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	err := start("second").Once(t.Context())
	left, ok := errors.AsType[*LeftBehind](err)
	if !ok || !left.Kept || !strings.Contains(err.Error(), "401 Unauthorized (check uplink.token") {
		t.Errorf("Once: %v", err)
	}
	if len(s.results()) != 0 {
		t.Error("a server that takes nobody's token has results")
	}
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	if err := start("third").Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(kept)
	boots, got := map[string]int{}, s.results()
	for id := range got {
		boots[id.Boot]++
	}
	if boots["first"] < 3 || boots["second"] != 3 || boots["third"] != 3 {
		t.Errorf("the server has %v", boots)
	}
	for boot, n := range boots {
		for seq := range uint64(n) {
			if got[probes.ID{Agent: "a", Boot: boot, Seq: seq + 1}] == nil {
				t.Errorf("result %d of %s is lost", seq+1, boot)
			}
		}
	}
}

func TestReloadChangesTheUplink(t *testing.T) {
	refuses, first := newStore(t)
	refuses.closed = true
	takes, second := newStore(t)
	d, dir := newDiary(), t.TempDir()
	kept := make(chan *probes.Result, 1000)
	a, err := New(configOf(t, d, uplinkTo(first, dir)), Deps{Kinds: d.kinds(), Network: realNet, OnResult: func(r *probes.Result) { kept <- r }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	<-kept
	if err := a.Reload(configOf(t, d, uplinkTo(second, dir))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if written := a.box().Stats().Written; uint64(len(takes.results())) != written || len(refuses.results()) != 0 {
		t.Errorf("%d results were kept, the new server has %d", written, len(takes.results()))
	}
}

func TestReloadRenewsTheToken(t *testing.T) {
	s, url := newStore(t)
	s.token = "new"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDiary()
	kept := make(chan *probes.Result, 1000)
	c := configOf(t, d, uplinkTo(url, t.TempDir()))
	c.Uplink.TokenFile = file
	a, err := New(c, Deps{Kinds: d.kinds(), Network: realNet, OnResult: func(r *probes.Result) { kept <- r }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	<-kept
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(c); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if written := a.box().Stats().Written; uint64(len(s.results())) != written {
		t.Errorf("%d results were kept, the server has %d", written, len(s.results()))
	}
}
