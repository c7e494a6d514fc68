package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nrprobe/nrprobe/probes/all"
)

// announced is where the demo prints its addresses; it hands out that of the page.
type announced chan string

func (a announced) Write(p []byte) (int, error) {
	a <- regexp.MustCompile(`page +(http://\S+)/`).FindStringSubmatch(string(p))[1]
	return len(p), nil
}

// run starts a demo and returns the address of its page, and what ends it and returns its error.
func run(t *testing.T, o Options) (page string, end func() error) {
	t.Helper()
	out := make(announced, 1)
	o.Kinds, o.FarEnds, o.Log, o.Out, o.Agents = all.Kinds(), all.FarEnds, slog.New(slog.DiscardHandler), out, 2
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	select {
	case page = <-out:
	case err := <-ended:
		t.Fatalf("the demo ended at once: %v", err)
	}
	return page, func() error { cancel(); return <-ended }
}

// fleet is what the page shows, as far as it is looked at here.
type fleet struct {
	Agents []struct {
		Name   string `json:"name"`
		Probes []struct {
			Values map[string]float64 `json:"values"`
		} `json:"probes"`
	} `json:"agents"`
}

func get(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", address, resp.Status, err)
	}
	return string(body)
}

// lacks says what the page does not show yet of two agents, or "".
func lacks(t *testing.T, page string) string {
	t.Helper()
	var f fleet
	if err := json.Unmarshal([]byte(get(t, page+"/api/nrprobe/fleet")), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Agents) != 2 {
		return fmt.Sprintf("two agents: %d", len(f.Agents))
	}
	for _, a := range f.Agents {
		seen := map[string]float64{}
		for _, p := range a.Probes {
			maps.Copy(seen, p.Values)
		}
		for _, name := range []string{"rtt_p50_seconds", "goodput_down_bytes_per_second"} {
			if seen[name] <= 0 {
				return a.Name + ": " + name
			}
		}
	}
	return ""
}

// patience is far more than the slowest machine needs; the load tests come every 20 s.
const patience = 3 * time.Minute

func TestDemoShowsDataAndLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	page, end := run(t, Options{Seed: 1})
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for missing := lacks(t, page); missing != ""; missing = lacks(t, page) {
		select {
		case <-tick.C:
		case <-waiting.Done():
			t.Fatalf("the page still lacks %s", missing)
		}
	}
	if html := get(t, page+"/"); !strings.Contains(html, "<title>nrprobe</title>") {
		t.Errorf("the page is none:\n%s", html)
	}
	checkMetrics(t, get(t, page+"/metrics"))
	if err := end(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(page, "http://")); err == nil {
		c.Close()
		t.Error("somebody still listens on the port of the page")
	}
}

// checkMetrics holds /metrics with data of a whole fleet against promlint.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	for _, name := range []string{"nrprobe_rtt_seconds", "nrprobe_goodput_bytes_per_second", "nrprobe_probe_runs_total"} {
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+"_count{") {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}

// TestRecordedDrives starts and ends the demo over each recorded drive.
func TestRecordedDrives(t *testing.T) {
	data := os.Getenv("NRPROBE_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "..", "shared", "data")
	}
	files, err := filepath.Glob(filepath.Join(data, "*", "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, path := range files {
		folder := filepath.Base(filepath.Dir(path))
		if folder != "link_traces" && folder != "cicv5g_rtt_radio" {
			continue
		}
		known++
		t.Run(filepath.Base(path), func(t *testing.T) {
			trace, err := LoadTrace(path)
			if err != nil {
				t.Fatal(err)
			}
			_, end := run(t, Options{Trace: trace})
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
	if known == 0 {
		t.Skipf("no recorded drives below %s: set NRPROBE_DATA", data)
	}
}
