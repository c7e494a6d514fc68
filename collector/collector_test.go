package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nrprobe/nrprobe/collector/fleet"
	"github.com/nrprobe/nrprobe/collector/sinks/all"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// running is a collector under test.
type running struct {
	*Collector
	url  string
	stop func() error
}

// start runs a collector on the data folder. stop ends it and returns what Run returned; the test does so at its end.
func start(t *testing.T, data string, change func(*Config)) *running {
	t.Helper()
	config, err := Default(data, all.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	config.Listen = "127.0.0.1:0"
	if change != nil {
		change(config)
	}
	c, err := New(config, Deps{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-c.Ready()
	r := &running{Collector: c, url: "http://" + c.Addr().String()}
	ended := false
	r.stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// result makes the n-th Result of an agent: 100 round trips of 10 ms and one more of 20 ms, two packets lost.
func result(agent string, n int, end time.Time) *probes.Result {
	r := probes.NewRecorder()
	for range 100 {
		r.ObserveDuration(probes.RTT, probes.Both, 10*time.Millisecond)
	}
	r.ObserveDuration(probes.RTT, probes.Both, 20*time.Millisecond)
	r.Add(probes.PacketsSent, probes.Both, 103)
	r.Add(probes.PacketsLost, probes.Both, 2)
	r.Add(probes.PacketsLost, probes.Up, 1)
	r.Add(probes.PacketsLost, probes.Down, 1)
	out := r.Snapshot()
	out.ID = probes.ID{Agent: agent, Boot: "b1", Seq: uint64(n)}
	out.Agent, out.Kind, out.Probe, out.Target = agent, "stamp", "edge", "reflector.example:8620"
	out.Labels = map[string]string{"site": "nansha"}
	out.Outcome = probes.OK
	out.Elapsed = 5 * time.Second
	out.Start = end.Add(-out.Elapsed)
	return out
}

func lines(results ...*probes.Result) []byte {
	var b []byte
	for _, r := range results {
		b = wire.Append(b, r)
	}
	return b
}

// post writes a body and returns status and answer.
func (r *running) post(t *testing.T, path string, body []byte, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return answer(t, request)
}

func (r *running) get(t *testing.T, path string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return answer(t, request)
}

func answer(t *testing.T, request *http.Request) (int, string) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// query asks an instant query and returns the values by the label agent.
func (r *running) query(t *testing.T, promql string, at time.Time) map[string]string {
	t.Helper()
	status, text := r.get(t, "/api/v1/query?"+url.Values{"query": {promql}, "time": {fmt.Sprint(float64(at.UnixMilli()) / 1000)}}.Encode())
	var said struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", promql, status, text, err)
	}
	values := map[string]string{}
	for _, one := range said.Data.Result {
		values[one.Metric["agent"]] = fmt.Sprint(one.Value[1])
	}
	return values
}

// stored waits until every sink has what was accepted.
func (r *running) stored(t *testing.T) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for _, f := range r.feeders {
		for f.Source.Pending() > 0 {
			select {
			case <-deadline:
				t.Fatalf("sink %s still has %d batches before it", f.Name, f.Source.Pending())
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func TestFromWriteToEveryReader(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	end := time.Now().Truncate(time.Millisecond)
	first, second := result("van-01", 1, end.Add(-10*time.Second)), result("van-01", 2, end)
	for _, body := range [][]byte{lines(first), lines(second), lines(second)} { // the last one is a copy
		if status, text := c.post(t, "/api/v2/write?org=lab&bucket=nr&precision=ns", body); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
	}
	c.stored(t)

	for promql, want := range map[string]string{
		`nrprobe_packets_sent_total`:                                                                    "206",
		`histogram_count(nrprobe_rtt_seconds)`:                                                          "202",
		`round(histogram_sum(nrprobe_rtt_seconds), 0.0001)`:                                             "2.04",
		`sum by (agent) (nrprobe_packets_lost_total{direction="up"})`:                                   "2",
		`max_over_time(nrprobe_packets_sent_total[1m]) - min_over_time(nrprobe_packets_sent_total[1m])`: "206", // born at 0
	} {
		if got := c.query(t, promql, end); got["van-01"] != want {
			t.Errorf("%s: got %v, want %s", promql, got, want)
		}
	}

	_, text := c.get(t, "/metrics")
	for _, want := range []string{
		`nrprobe_packets_sent_total{agent="van-01",kind="stamp",probe="edge",site="nansha",target="reflector.example:8620"} 206`,
		"nrprobe_collector_results_accepted_total 2", "nrprobe_collector_results_duplicate_total 1",
		`nrprobe_agent_last_seen_timestamp_seconds{agent="van-01"}`, `nrprobe_collector_queue_pending_batches{sink="tsdb"} 0`,
		`nrprobe_collector_http_requests_total{code="204",route="POST /api/v2/write"} 3`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}

	var f fleet.Fleet
	_, text = c.get(t, "/api/nrprobe/fleet?history=1")
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Agents) != 1 || len(f.Agents[0].Probes) != 1 || f.Agents[0].Probes[0].FiveMinutes.Count != 202 || *f.Agents[0].Probes[0].FiveMinutes.Lost != 4 {
		t.Errorf("fleet: %s", text)
	}
}

func TestMetricsAreClean(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	r := result("van-01", 1, time.Now())
	rsrp := -84.5
	r.Radio = &probes.Radio{After: &probes.RadioSample{Time: r.End(), RAT: "NR-SA", RSRP: &rsrp}}
	c.post(t, "/api/v2/write", lines(r))
	_, text := c.get(t, "/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// The metrics of the Go runtime and of the embedded store have their names from elsewhere.
		if strings.HasPrefix(p.Metric, "nrprobe_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestRestartKeepsDataAndDropsCopies(t *testing.T) {
	data := t.TempDir()
	end := time.Now().Truncate(time.Millisecond)
	c := start(t, data, nil)
	body := lines(result("van-01", 1, end.Add(-20*time.Second)))
	if status, text := c.post(t, "/api/v2/write", body); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}

	c = start(t, data, nil)
	for _, again := range [][]byte{body, lines(result("van-01", 2, end))} {
		if status, text := c.post(t, "/api/v2/write", again); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
	}
	c.stored(t)
	if n := c.ingest.Counts.Duplicates.Load(); n != 1 {
		t.Errorf("%d duplicates, want 1", n)
	}
	// The total began anew; increase() sees both amounts because both lives were born at 0.
	if got := c.query(t, `nrprobe_packets_sent_total`, end); got["van-01"] != "103" {
		t.Errorf("total after restart: %v, want 103", got)
	}
	if got := c.query(t, `resets(nrprobe_packets_sent_total[1m])`, end); got["van-01"] != "1" {
		t.Errorf("resets: %v, want 1", got)
	}
}

func TestGarbageOnThePort(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	for _, garbage := range []string{"\x16\x03\x01\x02\x00\x01\x00", "\x00\xff\xfe\x00\r\n\r\n", "GET\r\n\r\n", strings.Repeat("A", 100_000)} {
		conn, err := net.Dial("tcp", c.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(garbage))
		_ = conn.(*net.TCPConn).CloseWrite()
		text, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(text, []byte("HTTP/1.1 4")) {
			t.Errorf("%.20q: got %.60q, want a status of 4xx", garbage, text)
		}
		_ = conn.Close()
	}
	if status, _ := c.get(t, "/health"); status != http.StatusOK {
		t.Errorf("health after garbage: %d", status)
	}
}

func TestAnswersOfInfluxDB(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("cpu,host=a usage=1.5 1700000000\n"))
	_ = z.Close()
	for _, one := range []struct {
		path    string
		body    string
		headers []string
		status  int
		want    string
	}{
		{"/api/v2/write?bucket=nr&precision=s", packed.String(), []string{"Content-Encoding", "gzip"}, 204, ""},
		{"/write?db=telegraf&rp=autogen&precision=s", "cpu usage=1 1700000000", nil, 204, ""},
		{"/api/v2/write?bucket=nr", "", nil, 204, ""},
		{"/api/v2/write?bucket=nr&precision=days", "cpu usage=1", nil, 400, `"code":"invalid"`},
		{"/api/v2/write?bucket=nr", "cpu usage=1\ncpu usage=\nmem free=1i\n", nil, 400, "partial write: 1 of the lines could not be read and were dropped, the others are stored; line 2:"},
		{"/api/v2/write?bucket=nr", "\x1f\x8b\x08 garbage", []string{"Content-Encoding", "gzip"}, 400, "reading body: "},
		{"/api/v2/write?bucket=nr", "cpu usage=1", []string{"Content-Encoding", "zstd"}, 415, `content encoding \"zstd\" is unknown: want gzip or none`},
		{"/api/v2/write?bucket=nr", "cpu usage=1", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross-origin"},
	} {
		status, text := c.post(t, one.path, []byte(one.body), one.headers...)
		if status != one.status || !strings.Contains(text, one.want) {
			t.Errorf("%s %.40q: got %d %s, want %d %s", one.path, one.body, status, text, one.status, one.want)
		}
	}
	for path, want := range map[string]int{"/ping": 204, "/api/v2/ping": 204, "/health": 200, "/ready": 200, "/nowhere": 404} {
		if status, text := c.get(t, path); status != want {
			t.Errorf("%s: got %d %s, want %d", path, status, text, want)
		}
	}
}

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpackText(t *testing.T, packed string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func setField(t *testing.T, config any, key, value string) {
	t.Helper()
	for _, f := range catalog.Fields(config) {
		if f.Key == key {
			if err := f.Set(value); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%T has no key %q", config, key)
}
