package agent

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/nrprobe/nrprobe/probes"
)

// measuredOnce is an agent that has measured, with and without success.
func measuredOnce(t *testing.T, text string) *Agent {
	t.Helper()
	d := newDiary()
	a, err := New(configOf(t, d, text), Deps{Kinds: d.kinds(), Network: noNet, Version: "1.2.3", Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

const twoProbes = `
agent: {name: a, labels: {site: nansha}}
probes:
  - {name: p, kind: ping, target: "h<1>", takes: 1ms}
  - {name: q, kind: ping, target: h, takes: 1ms, fails: true}
`

func get(t *testing.T, h http.Handler, path, accept string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	req.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestMetrics(t *testing.T) {
	a := measuredOnce(t, twoProbes)
	code, text := get(t, a.Handler(), "/metrics", "text/plain")
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, text)
	}
	for _, want := range []string{
		`nrprobe_agent_info{agent="a",boot="boot",version="1.2.3"} 1`,
		`nrprobe_agent_config_last_reload_successful 1`,
		`nrprobe_agent_schedule_skips_total{probe="p"} 0`,
		`nrprobe_agent_lane_waits_total{lane="load"} 0`,
		`nrprobe_rtt_seconds_count{agent="a",kind="ping",probe="p",site="nansha",target="h<1>"} 1`,
		`nrprobe_probe_runs_total{agent="a",kind="ping",outcome="error",probe="q",site="nansha",target="h"} 1`,
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(text, "nrprobe_agent_uplink") {
		t.Error("an agent without an uplink shows one")
	}
	problems, err := testutil.GatherAndLint(a.registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}

func TestClassicHistogramsOnRequest(t *testing.T) {
	for _, classic := range []bool{false, true} {
		d := newDiary()
		c := configOf(t, d, twoProbes)
		c.Metrics.Classic = classic
		a, err := New(c, Deps{Kinds: d.kinds(), Network: noNet})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		families, err := a.registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "nrprobe_rtt_seconds" })
		h := families[i].GetMetric()[0].GetHistogram()
		if h.GetSchema() != probes.HistSchema || len(h.GetPositiveSpan()) == 0 {
			t.Errorf("no native histogram: %v", h)
		}
		if got := len(h.GetBucket()) > 1; got != classic {
			t.Errorf("classic_histograms %v: %d classic buckets", classic, len(h.GetBucket()))
		}
	}
}

func TestHomePage(t *testing.T) {
	a := measuredOnce(t, twoProbes)
	code, text := get(t, a.Handler(), "/", "text/html")
	for _, want := range []string{"nrprobe agent a", "1.2.3", `href="/metrics"`, "<td>h&lt;1&gt;</td>", "RTT p50 20 ms", "failed as it was told to"} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("status %d, the page lacks %q:\n%s", code, want, text)
		}
	}
	if code, _ := get(t, a.Handler(), "/elsewhere", "text/html"); code != http.StatusNotFound {
		t.Errorf("a page that is not there answers %d", code)
	}
}

func TestRunServesItsPage(t *testing.T) {
	d := newDiary()
	c := configOf(t, d, twoProbes)
	c.Metrics.Listen = "127.0.0.1:0"
	a, err := New(c, Deps{Kinds: d.kinds(), Network: noNet})
	if err != nil {
		t.Fatal(err)
	}
	if a.MetricsAddr() != "" {
		t.Error("an agent that does not run has an address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.MetricsAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}
	_ = resp.Body.Close()

	second := configOf(t, d, twoProbes)
	second.Metrics.Listen = a.MetricsAddr()
	b, err := New(second, Deps{Kinds: d.kinds(), Network: noNet})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "metrics.listen") || !strings.Contains(err.Error(), "off") {
		t.Errorf("an address in use: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFigures(t *testing.T) {
	r := &probes.Result{Values: map[string]float64{"rtt_p50_seconds": 0.0201, "loss_ratio": 0.5, "goodput_down_bytes_per_second": 12.5e6}}
	if got, want := strings.Join(strings.Fields(figures(r)), " "), "RTT p50 20.1 ms loss 50 % down 100 Mbit/s"; got != want {
		t.Errorf("figures %q, want %q", got, want)
	}
}
