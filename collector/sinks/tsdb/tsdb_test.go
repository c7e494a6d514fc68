package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/collector/sinks/sinktest"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

func open(t *testing.T, path string, change func(*Config)) *Sink {
	t.Helper()
	c := Defaults()
	c.Path = path
	if change != nil {
		change(&c)
	}
	s, err := Open(c, sinks.Env{Name: "tsdb", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

// point is one stored sample.
type point struct {
	ls    labels.Labels
	at    time.Time
	value float64
	hist  *histogram.Histogram
}

// read returns every sample of the metric in the order of series and time.
func read(t *testing.T, s *Sink, name string) []point {
	t.Helper()
	q, err := s.Storage().Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var list []point
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	for set.Next() {
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			p := point{ls: set.At().Labels(), at: time.UnixMilli(it.AtT())}
			if kind == chunkenc.ValFloat {
				_, p.value = it.At()
			} else {
				_, p.hist = it.AtHistogram(nil)
			}
			list = append(list, p)
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return list
}

func TestContract(t *testing.T) {
	sinktest.Suite{
		Bad: fmt.Sprintf("load,host=future value=1 %d", time.Now().Add(time.Hour).UnixNano()),
		New: func(t *testing.T) (sinks.Sink, func(t *testing.T) []sinktest.Point) {
			s := open(t, t.TempDir(), nil)
			return s, func(t *testing.T) []sinktest.Point {
				var list []sinktest.Point
				for _, p := range read(t, s, "load") {
					list = append(list, sinktest.Point{Host: p.ls.Get("host"), Value: p.value, Time: p.at})
				}
				return list
			}
		},
	}.Run(t)
}

// result is the n-th Result of one probe: packets lost and round trips of ten, twenty... milliseconds.
func result(n int, end time.Time, lost float64, rtts ...int) *probes.Result {
	r := probes.NewRecorder()
	r.Add(probes.PacketsLost, probes.Up, lost)
	for _, ms := range rtts {
		r.ObserveDuration(probes.RTT, probes.Both, time.Duration(ms)*time.Millisecond)
	}
	r.Set(probes.LossRatio, probes.Both, lost/100)
	out := r.Snapshot()
	out.ID = probes.ID{Agent: "van", Boot: "b", Seq: uint64(n)}
	out.Agent, out.Kind, out.Probe, out.Target, out.Outcome = "van", "stamp", "edge", "far:8620", probes.OK
	out.Elapsed = 5 * time.Second
	out.Start = end.Add(-out.Elapsed)
	return out
}

func write(t *testing.T, s *Sink, results ...*probes.Result) {
	t.Helper()
	for _, r := range results {
		body, err := new(queue.Packer).Pack(wire.Append(nil, r))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), []queue.Batch{{Received: time.Now(), Body: body, Points: 1}}); err != nil {
			t.Errorf("writing: %v", err)
		}
	}
}

const lostUp = "nrprobe_packets_lost_total"

// seconds lists times as seconds before now with their values.
func seconds(list []point, now time.Time) string {
	text := ""
	for _, p := range list {
		text += fmt.Sprintf("%.3f=%g ", p.at.Sub(now).Seconds(), p.value)
	}
	return text
}

func up(list []point) (only []point) {
	for _, p := range list {
		if p.ls.Get("direction") == "up" {
			only = append(only, p)
		}
	}
	return only
}

func TestTotalsGrowFromZero(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	now := time.Now().Truncate(time.Second)
	write(t, s, result(1, now.Add(-20*time.Second), 3), result(2, now.Add(-10*time.Second), 0), result(3, now, 4))
	if got, want := seconds(up(read(t, s, lostUp)), now), "-24.999=0 -20.000=3 -10.000=3 0.000=7 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLateAmountsJoinTheNextSample(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	now := time.Now().Truncate(time.Second)
	write(t, s, result(1, now.Add(-20*time.Second), 3), result(2, now.Add(-60*time.Second), 10), result(3, now, 4))
	if got, want := seconds(up(read(t, s, lostUp)), now), "-24.999=0 -20.000=3 0.000=17 "; got != want {
		t.Errorf("total: got %s, want %s", got, want)
	}
	if got, want := seconds(read(t, s, "nrprobe_loss_ratio"), now), "-60.000=0.1 -20.000=0.03 0.000=0.04 "; got != want {
		t.Errorf("gauge: got %s, want %s", got, want)
	}
}

func TestRestartIsAReset(t *testing.T) {
	path := t.TempDir()
	now := time.Now().Truncate(time.Second)
	s := open(t, path, nil)
	write(t, s, result(1, now.Add(-5*time.Second), 3))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, nil)
	write(t, s, result(2, now, 4)) // begins where the last one ended
	if got, want := seconds(up(read(t, s, lostUp)), now), "-9.999=0 -5.000=3 -4.999=0 0.000=4 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHistogramsAreNativeAndAddUp(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	now := time.Now().Truncate(time.Second)
	first, second := []int{10, 11, 20, 20, 500}, []int{10, 12, 3}
	write(t, s, result(1, now.Add(-10*time.Second), 0, first...), result(2, now, 0, second...))
	got := read(t, s, "nrprobe_rtt_seconds")
	if len(got) != 3 {
		t.Fatalf("%d samples, want the birth and two", len(got))
	}
	var want probes.Hist
	for _, ms := range append(first, second...) {
		want.Add(float64(ms) / 1000)
	}
	h := got[2].hist
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	if h.Schema != probes.HistSchema || h.Count != want.Count() || math.Abs(h.Sum-want.Sum()) > 1e-12 {
		t.Errorf("got %v", h)
	}
	buckets := map[int32]uint64{}
	for it := h.PositiveBucketIterator(); it.Next(); {
		if b := it.At(); b.Count > 0 {
			buckets[b.Index] = b.Count
		}
	}
	n := 0
	for i, count := range want.Buckets() {
		n++
		if buckets[i] != count {
			t.Errorf("bucket %d: %d, want %d", i, buckets[i], count)
		}
	}
	if n != len(buckets) {
		t.Errorf("%d buckets, want %d", len(buckets), n)
	}
	if got[0].hist.Count != 0 || !got[0].at.Equal(now.Add(-15*time.Second+time.Millisecond)) {
		t.Errorf("birth: %v at %v", got[0].hist, got[0].at)
	}
}

func TestForeignPointsBecomeGauges(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	at := time.Now().Truncate(time.Millisecond)
	body := fmt.Sprintf(`disk\ io,host=a,9th=x,__name=y,a-b=c used=1i,free=2u,ok=true,text="none",2x=4 %d`, at.UnixNano())
	if err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, body)}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"disk_io_used": 1, "disk_io_free": 2, "disk_io_ok": 1, "disk_io_2x": 4} {
		got := read(t, s, name)
		if len(got) != 1 || got[0].value != want || !got[0].at.Equal(at) {
			t.Errorf("%s: got %v", name, got)
			continue
		}
		if ls := got[0].ls.String(); ls != fmt.Sprintf(`{_9th="x", __name__="%s", a_b="c", host="a", tag__name="y"}`, name) {
			t.Errorf("labels: %s", ls)
		}
	}
	if got := read(t, s, "disk_io_text"); len(got) != 0 {
		t.Errorf("a string was stored: %v", got)
	}
}

func TestSeriesLimit(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.MaxSeries = 10 })
	at := time.Now().UnixNano()
	var lines []string
	for i := range 15 {
		lines = append(lines, fmt.Sprintf("load,host=h%02d value=1 %d", i, at))
	}
	err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, lines...)})
	if err == nil || len(read(t, s, "load")) != 10 {
		t.Errorf("%d series, %v; want 10 and a rejection", len(read(t, s, "load")), err)
	}
	// Series that exist go on.
	if err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, fmt.Sprintf("load,host=h01 value=2 %d", at+int64(time.Second)))}); err != nil {
		t.Errorf("an existing series: %v", err)
	}
}

// fails is a commit that fails, as on a full disk.
type fails struct{ storage.AppenderV2 }

func (f fails) Commit() error { return errors.Join(errors.New("no space left"), f.Rollback()) }

func TestFailedCommitIsRepeatedWithoutCountingTwice(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	now := time.Now().Truncate(time.Second)
	works := s.appender
	batch := func(r *probes.Result) queue.Batch {
		return sinktest.Batch(t, strings.TrimSpace(string(wire.Append(nil, r))))
	}
	first, second, third := batch(result(1, now.Add(-20*time.Second), 3)), batch(result(2, now.Add(-10*time.Second), 10)), batch(result(3, now, 100))
	for range 3 {
		s.appender = func(ctx context.Context) storage.AppenderV2 { return fails{works(ctx)} }
		if err := s.Write(t.Context(), []queue.Batch{first, second}); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("got %v, want the failure", err)
		}
	}
	s.appender = works
	if err := s.Write(t.Context(), []queue.Batch{first, second, third}); err != nil {
		t.Fatal(err)
	}
	if got, want := seconds(up(read(t, s, lostUp)), now), "-24.999=0 -20.000=3 -10.000=13 0.000=113 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTooOldIsRejected(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.OutOfOrder = 2 * time.Hour })
	err := s.Write(t.Context(), []queue.Batch{sinktest.Batch(t, fmt.Sprintf("load value=1 %d", time.Now().Add(-3*time.Hour).UnixNano()), "load value=1 0")})
	rejected, ok := err.(*sinks.Rejected) //nolint:errorlint // it is what Write documents
	if !ok || rejected.Points != 2 {
		t.Errorf("got %v, want two points rejected", err)
	}
}

func TestEndedSeriesGoStale(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	now := time.Now().Truncate(time.Second)
	for i, pci := range []int{94, 112} {
		r := result(i+1, now.Add(time.Duration(10*i-10)*time.Second), 0)
		r.Radio = &probes.Radio{After: &probes.RadioSample{Time: r.End(), RAT: "NR-SA", PCI: new(pci)}}
		write(t, s, r)
	}
	stale := 0
	for _, p := range read(t, s, "nrprobe_radio_cell_info") {
		if value.IsStaleNaN(p.value) {
			stale++
		}
	}
	if stale != 1 {
		t.Errorf("%d stale marks, want one for the cell that was left", stale)
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("disk io")
	f.Add("9\xff")
	f.Fuzz(func(t *testing.T, word string) {
		got := sanitize(word)
		if got == "" || got[0] >= '0' && got[0] <= '9' {
			t.Errorf("%q became %q", word, got)
		}
		for _, c := range got {
			if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				t.Errorf("%q became %q", word, got)
			}
		}
	})
}
