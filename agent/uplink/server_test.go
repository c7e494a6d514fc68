package uplink

import (
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/agent/outbox"
)

// queue is a source in memory that also counts.
type queue struct {
	mu      sync.Mutex
	records [][]byte
	changed chan struct{}
	acked   []string
	leased  bool
}

func newQueue(records ...string) *queue {
	q := &queue{changed: make(chan struct{}, 1)}
	q.put(records...)
	return q
}

func (q *queue) put(records ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range records {
		q.records = append(q.records, []byte(r+"\n"))
	}
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *queue) Pending() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return uint64(len(q.records))
}

func (q *queue) Next(ctx context.Context, maxBytes int) (outbox.Lease, error) {
	for {
		q.mu.Lock()
		if n := len(q.records); n > 0 && !q.leased {
			size, end := 0, 0
			for end < n && (end == 0 || size+len(q.records[end]) <= maxBytes) {
				size += len(q.records[end])
				end++
			}
			q.leased = true
			q.mu.Unlock()
			return &lease{q, slices.Clone(q.records[:end])}, nil
		}
		q.mu.Unlock()
		select {
		case <-q.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type lease struct {
	q       *queue
	records [][]byte
}

func (l *lease) Records() [][]byte { return l.records }

func (l *lease) Ack() error {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	for _, r := range l.records {
		l.q.acked = append(l.q.acked, strings.TrimSpace(string(r)))
	}
	l.q.records = l.q.records[len(l.records):]
	l.q.leased = false
	return nil
}

func (l *lease) Release() {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.leased = false
}

// reply is one scripted answer.
type reply struct {
	status int
	body   string
	header map[string]string
	hang   time.Duration // before answering
}

// server is a write API that answers as a script says, then 204, and takes down what it took.
type server struct {
	mu     sync.Mutex
	zero   time.Time
	script []reply
	decide func(lines []string) reply // in place of the script
	seen   []string                   // "12s 204 a b" for each request
	stored map[string]int
	last   *http.Request
}

func newServer(script ...reply) *server {
	return &server{zero: time.Now(), script: script, stored: map[string]int{}}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	text, _ := io.ReadAll(body)
	lines := strings.Split(string(text), "\n")
	answer := s.next(lines, r)
	hung, cancel := context.WithTimeout(r.Context(), answer.hang)
	defer cancel()
	<-hung.Done()
	for key, value := range answer.header {
		w.Header().Set(key, value)
	}
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body)
}

func (s *server) next(lines []string, r *http.Request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	var a reply
	switch {
	case s.decide != nil:
		a = s.decide(lines)
	case len(s.script) > 0:
		a, s.script = s.script[0], s.script[1:]
	}
	a.status = cmp.Or(a.status, http.StatusNoContent)
	if a.status == http.StatusNoContent {
		for _, l := range lines {
			s.stored[l]++
		}
	}
	s.seen = append(s.seen, fmt.Sprintf("%v %d %s", time.Since(s.zero).Round(time.Second), a.status, strings.Join(lines, " ")))
	s.last = r
	return a
}

// pipes is a network in memory: every connection ends at the handler.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	down  func() error
}

// serve starts an HTTP server on a network of pipes, for as long as the test runs.
func serve(t *testing.T, h http.Handler) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(p) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
	return p
}

func (p *pipes) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	if host != "collector.example" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
}

func (p *pipes) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	if p.down != nil {
		if err := p.down(); err != nil {
			return nil, err
		}
	}
	if address == "192.0.2.1:8086" {
		return nil, fmt.Errorf("dialing %s: no route to host", address) // the second address works
	}
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, net.ErrClosed
}

func (p *pipes) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, net.ErrClosed
}

// Accept, Close and Addr make it the server's listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 8086} }
