package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/collector/access"
	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

const sink = "sink"

// fixture is a Handler on a folder, and what it put into the queue.
type fixture struct {
	*Handler
	queue    *queue.Queue
	mu       sync.Mutex
	accepted []probes.ID
}

func open(t *testing.T, folder string) *fixture {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := queue.Defaults()
	c.Path = folder
	q, err := queue.Open(c, []string{SeenReader, sink}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	f := &fixture{queue: q}
	f.Handler, err = New(Defaults(), Deps{
		Queue: q, Folder: folder, Access: access.Open(), Log: log,
		Accepted: func(results []*probes.Result, _ time.Time) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, r := range results {
				f.accepted = append(f.accepted, r.ID)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) post(t testing.TB, query, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v2/write?bucket=nr&org=lab"+query, strings.NewReader(body)))
	return w
}

// queued takes what the queue holds for the sink.
func (f *fixture) queued(t *testing.T) string {
	t.Helper()
	reader := f.queue.Reader(sink)
	var text strings.Builder
	for reader.Pending() > 0 {
		lease, err := reader.Next(t.Context(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range lease.Batches {
			lines, err := b.Lines()
			if err != nil {
				t.Fatal(err)
			}
			text.Write(lines)
			if n := bytes.Count(lines, []byte("\n")); n != b.Points || b.Org != "lab" || b.Bucket != "nr" {
				t.Errorf("batch says %d points, org %q, bucket %q, and has %d lines", b.Points, b.Org, b.Bucket, n)
			}
		}
		if err := lease.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func results(from, to int) string {
	var b []byte
	for n := from; n <= to; n++ {
		r := &probes.Result{
			ID: probes.ID{Agent: "van", Boot: "b1", Seq: uint64(n)}, Agent: "van", Kind: "tcp", Probe: "p", Target: "t",
			Start: time.Unix(1_700_000_000+int64(n), 0), Outcome: probes.OK, Values: map[string]float64{"packets_sent": float64(n)},
		}
		b = wire.Append(b, r)
	}
	return string(b)
}

func TestWhatAgentsSendIsKeptAsItCame(t *testing.T) {
	f := open(t, t.TempDir())
	body := results(1, 3) + "cpu,host=a usage=1.5,text=\"a b\" 1700000000000000001\n"
	if w := f.post(t, "&precision=ns", body); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := f.queued(t); got != body {
		t.Errorf("got\n%s\nwant\n%s", got, body)
	}
}

func TestCopiesAreDropped(t *testing.T) {
	f := open(t, t.TempDir())
	for _, body := range []string{results(1, 3), results(1, 3), results(2, 5), results(4, 4) + "cpu usage=1 1700000000000000001\n"} {
		if w := f.post(t, "", body); w.Code != 204 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got, want := f.queued(t), results(1, 3)+results(4, 5)+"cpu usage=1 1700000000000000001\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(f.accepted) != 5 || f.Counts.Results.Load() != 5 || f.Counts.Duplicates.Load() != 6 {
		t.Errorf("accepted %v, results %d, duplicates %d", f.accepted, f.Counts.Results.Load(), f.Counts.Duplicates.Load())
	}
}

func TestOtherPrecisionsAndMissingStamps(t *testing.T) {
	f := open(t, t.TempDir())
	for query, body := range map[string]string{
		"&precision=s":  "cpu,host=a usage=1i,up=true,name=\"a \\\"b\\\"\" 1700000000",
		"&precision=ms": "cpu,host=a usage=1i,up=true,name=\"a \\\"b\\\"\" 1700000000000\n",
	} {
		if w := f.post(t, query, body); w.Code != 204 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got, want := f.queued(t), "cpu,host=a usage=1i,up=true,name=\"a \\\"b\\\"\" 1700000000000000000\n"; got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	before := time.Now()
	f.post(t, "&precision=s", "cpu usage=1\n# a comment\n\nmem free=2 1700000000\n")
	p := wire.Decode([]byte(f.queued(t)), wire.Options{}).Foreign
	if len(p) != 2 || p[0].Time.Before(before) || p[0].Time.After(time.Now()) || !p[1].Time.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("got %v", p)
	}
}

func TestBadLinesAreNamedAndTheOthersKept(t *testing.T) {
	f := open(t, t.TempDir())
	w := f.post(t, "", results(1, 1)+"broken\n"+"cpu usage=1 1700000000000000001\n"+"cpu usage=1 yesterday\n")
	if w.Code != 400 || !strings.Contains(w.Body.String(), "partial write: 2 of the lines") || !strings.Contains(w.Body.String(), "line 2: ") || !strings.Contains(w.Body.String(), "line 4: ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got, want := f.queued(t), results(1, 1)+"cpu usage=1 1700000000000000001\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Sent again because of the 400, the Result is not stored twice.
	f.post(t, "", results(1, 1))
	if got := f.queued(t); got != "" {
		t.Errorf("stored again: %s", got)
	}
}

func TestLineFeedsInsideStringsAreEscaped(t *testing.T) {
	f := open(t, t.TempDir())
	if w := f.post(t, "", "log msg=\"a\nb\" 1700000000000000001\n"); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got, want := f.queued(t), "log msg=\"a\\nb\" 1700000000000000001\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCopiesSentAtTheSameTimeAreAcceptedOnce(t *testing.T) {
	f := open(t, t.TempDir())
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := range 20 {
				if w := f.post(t, "", results(n*5+1, n*5+5)); w.Code != 204 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if got := wire.Decode([]byte(f.queued(t)), wire.Options{}); len(got.Results) != 100 || got.Duplicates != 0 {
		t.Errorf("%d Results with %d copies, want 100 with none", len(got.Results), got.Duplicates)
	}
}

// A crash is the end of the process without a last save: the file is old or missing, and the queue has the rest.
func TestMemoryOutlivesACrash(t *testing.T) {
	folder := t.TempDir()
	f := open(t, folder)
	f.post(t, "", results(1, 10))
	if err := f.intake.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.post(t, "", results(11, 20))
	f.queued(t) // the sink has everything: nothing but the reader of the memory keeps it in the queue
	if err := f.queue.Close(); err != nil {
		t.Fatal(err)
	}

	f = open(t, folder)
	f.post(t, "", results(5, 25))
	if got := f.queued(t); got != results(21, 25) {
		t.Errorf("accepted again:\n%s", got)
	}
}

func TestSavingLetsTheQueueGo(t *testing.T) {
	f := open(t, t.TempDir())
	for n := range 10 {
		f.post(t, "", results(n+1, n+1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil { // one last save
		t.Fatal(err)
	}
	if n := f.queue.Reader(SeenReader).Pending(); n != 0 {
		t.Errorf("%d batches are still held for the memory", n)
	}
}

func TestTooManyRequests(t *testing.T) {
	f := open(t, t.TempDir())
	for range Defaults().MaxRequests {
		f.slots <- struct{}{}
	}
	if w := f.post(t, "", results(1, 1)); w.Code != 503 || w.Header().Get("Retry-After") != "2" {
		t.Errorf("%d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
	if err := f.queue.Close(); err != nil {
		t.Fatal(err)
	}
	<-f.slots
	if w := f.post(t, "", results(1, 1)); w.Code != 503 || !strings.Contains(w.Body.String(), "the queue cannot take data now") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("&precision=s", "cpu,host=a usage=1 1700000000\n"+results(1, 1))
	f.Add("", "log msg=\"a\nb\" 1\n\x00,=\\ \"")
	log := slog.New(slog.DiscardHandler)
	q, err := queue.Open(queue.Defaults(), []string{sink}, log)
	if err != nil {
		f.Fatal(err)
	}
	h, err := New(Defaults(), Deps{Queue: q, Folder: f.TempDir(), Access: access.Open(), Log: log})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		if strings.ContainsAny(query, " \r\n\x00") || len(body) > 1<<16 {
			return
		}
		first := wire.Decode([]byte(body), wire.Options{Now: time.Unix(1, 0)})
		b, err := destination{precision: wire.Nanosecond, packer: new(queue.Packer)}.batch(fromText(body), first, first.Results)
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			lines, err := b.Lines()
			if err != nil {
				t.Fatal(err)
			}
			again := wire.Decode(lines, wire.Options{Now: time.Unix(1, 0)})
			if again.Bad > 0 || len(again.Results) != len(first.Results) || len(again.Foreign) != len(first.Foreign) {
				t.Errorf("%q became %q: %s", body, lines, fmt.Sprint(again.Problems))
			}
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/write", strings.NewReader(body))
		r.URL.RawQuery = query
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}

func fromText(text string) body { return body{lines: []byte(text)} }
