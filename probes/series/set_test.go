package series

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/nrprobe/nrprobe/probes"
)

// registry is a registry with nothing but the Set.
func registry(t *testing.T, s *Set) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(s); err != nil {
		t.Fatal(err)
	}
	return r
}

// family gathers one family.
func family(t *testing.T, s *Set, name string) *dto.MetricFamily {
	t.Helper()
	families, err := registry(t, s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

// everything is a Result with every word of the vocabulary in every direction.
func everything() *probes.Result {
	r := result()
	h := &probes.Hist{}
	h.Add(0.02)
	for _, m := range probes.Vocabulary() {
		for _, d := range probes.Directions() {
			if m.Type == probes.Distribution {
				r.Hists[m.HistName(d)] = h
			} else {
				r.Values[m.ValueName(d, "")] = 1
			}
		}
	}
	return r
}

func TestLint(t *testing.T) {
	for _, classic := range []bool{false, true} {
		s := NewSet(Options{ClassicBuckets: classic})
		s.Add(everything())
		problems, err := testutil.GatherAndLint(registry(t, s))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestResultsAddUp(t *testing.T) {
	s := NewSet(Options{})
	for i := range 3 {
		r := result()
		r.Start = start().Add(time.Duration(i) * time.Minute)
		r.Values["loss_ratio"] = float64(i)
		s.Add(r)
	}
	failed := result()
	failed.Start = start().Add(-time.Hour) // late: what it counts counts, what it gauges is past
	failed.Outcome, failed.Hists, failed.Radio = probes.Timeout, nil, nil
	failed.Values = map[string]float64{"packets_sent": 5, "loss_ratio": 77}
	s.Add(failed)
	const labels = `agent="van-07",kind="stamp",label_agent="mine",label_direction="north"`
	const more = `probe="edge",site="nansha",slice_name="e` + "\uFFFD" + `mbb",target="far:8620"`
	want := fmt.Sprintf(`
# HELP nrprobe_packets_sent_total Packets sent.
# TYPE nrprobe_packets_sent_total counter
nrprobe_packets_sent_total{%[1]s,%[2]s} 3005
# HELP nrprobe_loss_ratio Share of the packets of a result that were lost.
# TYPE nrprobe_loss_ratio gauge
nrprobe_loss_ratio{%[1]s,%[2]s} 2
# HELP nrprobe_quality_flags_total Results by quality flag that was set on them.
# TYPE nrprobe_quality_flags_total counter
nrprobe_quality_flags_total{agent="van-07",flag="cross_traffic",kind="stamp",label_agent="mine",label_direction="north",%[2]s} 4
nrprobe_quality_flags_total{agent="van-07",flag="user_stamps",kind="stamp",label_agent="mine",label_direction="north",%[2]s} 4
# HELP nrprobe_radio_cell_info Serving cell of the agent; the value is 1.
# TYPE nrprobe_radio_cell_info gauge
nrprobe_radio_cell_info{agent="van-07",band="n78",cell="1a2b",label_agent="mine",label_direction="north",pci="94",plmn="46000",rat="NR-SA",site="nansha",slice_name="e`+"\uFFFD"+`mbb"} 1
`, labels, more)
	if err := testutil.GatherAndCompare(registry(t, s), strings.NewReader(want),
		"nrprobe_packets_sent_total", "nrprobe_loss_ratio", "nrprobe_quality_flags_total", "nrprobe_radio_cell_info"); err != nil {
		t.Error(err)
	}
	runs := family(t, s, runsName)
	if len(runs.GetMetric()) != len(probes.Outcomes()) {
		t.Errorf("%d outcomes, want all %d", len(runs.GetMetric()), len(probes.Outcomes()))
	}
}

func TestOneCellAtATime(t *testing.T) {
	s := NewSet(Options{})
	add := func(pci int, at time.Duration) []Accumulated {
		r := result()
		r.Radio.After.PCI, r.Radio.After.Time = new(pci), start().Add(at)
		return s.Accumulate(r)
	}
	cells := func(all []Accumulated) (texts []string) {
		for _, a := range all {
			if a.Name == cellName {
				for _, l := range a.Labels {
					if l.Name == "pci" {
						texts = append(texts, fmt.Sprintf("%s ended=%v @%v", l.Value, a.Ended, a.Time.Sub(start())))
					}
				}
			}
		}
		return texts
	}
	for i, c := range []struct {
		pci  int
		at   time.Duration
		want string
	}{
		{94, time.Second, "[94 ended=false @1s]"},
		{94, 2 * time.Second, "[94 ended=false @2s]"},
		{112, 3 * time.Second, "[94 ended=true @3s 112 ended=false @3s]"},
		{94, time.Second, "[]"}, // late
		{94, 4 * time.Second, "[112 ended=true @4s 94 ended=false @4s]"},
	} {
		if got := fmt.Sprint(cells(add(c.pci, c.at))); got != c.want {
			t.Errorf("step %d: got %s, want %s", i, got, c.want)
		}
		if n := len(family(t, s, cellName).GetMetric()); n != 1 {
			t.Errorf("step %d: %d cells at a time", i, n)
		}
	}
}

func TestAccumulate(t *testing.T) {
	s := NewSet(Options{})
	one := func(all []Accumulated, name string) Accumulated {
		for _, a := range all {
			if a.Name == name {
				return a
			}
		}
		t.Fatalf("no %s", name)
		return Accumulated{}
	}
	r := result()
	first := s.Accumulate(r)
	if len(first) != len(Of(r)) {
		t.Errorf("%d changes, want %d", len(first), len(Of(r)))
	}
	r2 := result()
	r2.Start = start().Add(time.Minute)
	second := s.Accumulate(r2)
	r3 := result()
	r3.Start = start().Add(30 * time.Second)
	third := s.Accumulate(r3)
	for i, c := range []struct {
		changes []Accumulated
		value   float64
		count   uint64
		last    time.Time
	}{
		{first, 1000, 100, time.Time{}},
		{second, 2000, 200, start().Add(10 * time.Second)},
		{third, 3000, 300, start().Add(70 * time.Second)},
	} {
		sent, rtt := one(c.changes, "nrprobe_packets_sent_total"), one(c.changes, "nrprobe_rtt_seconds")
		if sent.Value != c.value || !sent.Last.Equal(c.last) || rtt.Hist.Count() != c.count {
			t.Errorf("change %d: %v, %v, last %v; want %v, %d, %v", i, sent.Value, rtt.Hist.Count(), sent.Last, c.value, c.count, c.last)
		}
	}
	if at := one(third, "nrprobe_packets_sent_total").Time; !at.Equal(r3.End()) {
		t.Errorf("late sample at %v, want its own time %v", at, r3.End())
	}
	if r.Hists["rtt"].Count() != 100 {
		t.Errorf("the Result's histogram was changed")
	}
}

func TestNumberOfSeriesIsBounded(t *testing.T) {
	s := NewSet(Options{MaxSeries: 10})
	for i := range 50 {
		r := result()
		r.Probe = fmt.Sprint(i)
		s.Add(r)
	}
	families, err := registry(t, s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	n, dropped := 0, 0.0
	for _, f := range families {
		switch f.GetName() {
		case "nrprobe_series":
		case "nrprobe_series_dropped_samples_total":
			dropped = f.GetMetric()[0].GetCounter().GetValue()
		default:
			n += len(f.GetMetric())
		}
	}
	if want := float64(50*len(Of(result())) - 10); n != 10 || dropped != want {
		t.Errorf("%d series and %v dropped samples, want 10 and %v", n, dropped, want)
	}
}

func TestIdleSeriesGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Options{Idle: time.Hour})
		old, alive := result(), result()
		old.ID.Agent = "gone"
		s.Add(old)
		for range 7 {
			time.Sleep(15 * time.Minute)
			s.Add(alive)
		}
		if n := len(family(t, s, "nrprobe_packets_sent_total").GetMetric()); n != 1 {
			t.Errorf("%d agents, want only the one alive", n)
		}
		if n := len(family(t, s, cellName).GetMetric()); n != 1 || len(s.cells) != 1 {
			t.Errorf("%d cells, %d remembered, want 1 and 1", n, len(s.cells))
		}
		time.Sleep(2 * time.Hour)
		if f := family(t, s, "nrprobe_packets_sent_total"); f != nil {
			t.Errorf("still there: %v", f)
		}
	})
}

// quantile is the upper bound of the native bucket that holds the value of rank q·count.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := uint64(math.Ceil(q*float64(h.GetSampleCount()) - 1e-9))
	below, count, index, delta := h.GetZeroCount(), int64(0), int32(0), 0
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			count += h.GetPositiveDelta()[delta]
			delta++
			if below += uint64(count); below >= rank {
				return math.Exp2(float64(index) / math.Exp2(float64(h.GetSchema())))
			}
			index++
		}
	}
	return math.Inf(1)
}

func TestNativeHistogramHasTheQuantilesOfHist(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := NewSet(Options{ClassicBuckets: true})
	all := &probes.Hist{}
	for range 20 {
		r := result()
		h := &probes.Hist{}
		for range 500 {
			h.Add(0.015 * math.Exp(0.7*rng.NormFloat64()))
		}
		h.Add(0)
		all.Merge(h)
		r.Hists = map[string]*probes.Hist{"rtt": h}
		s.Add(r)
	}
	h := family(t, s, "nrprobe_rtt_seconds").GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != all.Count() || h.GetSampleSum() != all.Sum() || h.GetZeroCount() != 20 {
		t.Errorf("count %d, sum %v, zero %d; want %d, %v, 20", h.GetSampleCount(), h.GetSampleSum(), h.GetZeroCount(), all.Count(), all.Sum())
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.95, 0.99, 0.999} {
		upper, want := quantile(h, q), all.Quantile(q)
		// The bucket's upper bound is above its geometric middle by half a bucket.
		if ratio := upper / want; ratio < 1 || ratio > math.Exp2(1.0/32)*1.0001 {
			t.Errorf("quantile %v: bucket ends at %v, Hist says %v", q, upper, want)
		}
	}
	for _, b := range h.GetBucket() {
		over, _ := all.Over(b.GetUpperBound() * (1 - 1e-12))
		if got := all.Count() - over; b.GetCumulativeCount() != got {
			t.Errorf("classic bucket le=%v holds %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), got)
		}
	}
	if n := len(h.GetBucket()); n != 33 {
		t.Errorf("%d classic buckets, want 33", n)
	}
}

// scrape gets the metrics in the format that accept asks for.
func scrape(t *testing.T, s *Set, accept string) (format expfmt.Format, body []byte) {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(registry(t, s), promhttp.HandlerOpts{EnableOpenMetrics: true}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %s", response.Status, err, body)
	}
	return expfmt.ResponseFormat(response.Header), body
}

func TestScrape(t *testing.T) {
	s := NewSet(Options{})
	s.Add(everything())
	_, open := scrape(t, s, "application/openmetrics-text;version=1.0.0")
	for _, want := range []string{`nrprobe_packets_sent_total{agent="van-07"`, `nrprobe_rtt_seconds_count{agent="van-07"`, "# EOF\n"} {
		if !strings.Contains(string(open), want) {
			t.Errorf("OpenMetrics lacks %q:\n%s", want, open)
		}
	}
	format, body := scrape(t, s, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	decoder := expfmt.NewDecoder(bufio.NewReader(strings.NewReader(string(body))), format)
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); err != nil {
			t.Fatalf("no native histogram nrprobe_rtt_seconds: %v", err)
		}
		if f.GetName() == "nrprobe_rtt_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSchema() != probes.HistSchema || len(h.GetPositiveSpan()) == 0 || len(h.GetBucket()) != 0 {
				t.Errorf("not a native histogram alone: %v", h)
			}
			return
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := NewSet(Options{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 50 {
				r := result()
				r.Radio.After.PCI = new(i)
				if i == 0 {
					s.Accumulate(r)
				} else {
					s.Add(r)
				}
			}
		})
		all.Go(func() {
			for range 10 {
				s.metrics()
			}
		})
	}
	all.Wait()
	if got := family(t, s, "nrprobe_packets_sent_total").GetMetric()[0].GetCounter().GetValue(); got != 200_000 {
		t.Errorf("%v packets, want 200000", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	s, r := NewSet(Options{}), result()
	b.ReportAllocs()
	for b.Loop() {
		s.Add(r)
	}
}
