//go:build integration

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tool is a real server that the Makefile built; the variable names it.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: start this test with make test-integration", variable)
	}
	return path
}

// lastPort counts the ports that tests of this process have had.
var lastPort atomic.Uint32

// freePort is a port on which nobody listens, over TCP or UDP, below those that kernels give to connections and to who does
// not care: nobody is given it before the program takes it that it is for, nor while that program is down.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + int((uint32(os.Getpid())*64+lastPort.Add(1))%20_000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", address)
		l.Close()
		if err == nil {
			pc.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// write makes a file below a folder of the test.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get fetches a page, and fails the test when that does not work.
func get(t *testing.T, address string) string {
	t.Helper()
	body, err := tryGet(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func tryGet(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("GET %s: %s %w\n%s", address, resp.Status, err, body)
	}
	return string(body), nil
}

// until calls f every tenth of a second until it returns "" (done); the text says what is missing.
func until(t *testing.T, limit time.Duration, f func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for missing := f(); missing != ""; missing = f() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %s", limit, missing)
		}
		<-tick.C
	}
}

// influx is a real InfluxDB 1.8 with a database "nr".
type influx struct{ url string }

func startInflux(t *testing.T) influx {
	t.Helper()
	dir := t.TempDir()
	db := influx{url: fmt.Sprintf("http://127.0.0.1:%d", freePort(t))}
	config := write(t, dir, "influxdb.conf", fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:%d"
[meta]
dir = %q
[data]
dir = %q
wal-dir = %q
[http]
bind-address = %q
log-enabled = false
[logging]
level = "error"
`, freePort(t), filepath.Join(dir, "meta"), filepath.Join(dir, "data"), filepath.Join(dir, "wal"), strings.TrimPrefix(db.url, "http://")))
	start(t, tool(t, "NRPROBE_INFLUXD"), "-config", config)
	until(t, patience, func() string {
		if _, err := tryGet(t.Context(), db.url+"/health"); err != nil {
			return err.Error()
		}
		return ""
	})
	db.query(t, "CREATE DATABASE nr")
	return db
}

// row is one series of an InfluxQL answer.
type row struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	Values  [][]any           `json:"values"`
}

// query runs InfluxQL; times are nanoseconds.
func (db influx) query(t *testing.T, q string) []row {
	t.Helper()
	resp, err := http.PostForm(db.url+"/query", url.Values{"q": {q}, "db": {"nr"}, "epoch": {"ns"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Series []row  `json:"series"`
			Error  string `json:"error"`
		} `json:"results"`
		Error string `json:"error"`
	}
	decoder := json.NewDecoder(resp.Body)
	decoder.UseNumber() // nanoseconds do not fit a float64
	if err := decoder.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" || answer.Results[0].Error != "" {
		t.Fatalf("%s: %s%s", q, answer.Error, answer.Results[0].Error)
	}
	return answer.Results[0].Series
}

// prometheus is a real Prometheus that scrapes the given addresses.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, targets ...string) prometheus {
	t.Helper()
	return startPrometheusOn(t, filepath.Join(t.TempDir(), "data"), targets...)
}

// startPrometheusOn starts it on a folder that may hold data already.
func startPrometheusOn(t *testing.T, data string, targets ...string) prometheus {
	t.Helper()
	dir := t.TempDir()
	quoted := make([]string, len(targets))
	for i, target := range targets {
		quoted[i] = fmt.Sprintf("%q", target)
	}
	config := write(t, dir, "prometheus.yaml", fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: nrprobe
    scrape_native_histograms: true
    honor_labels: true
    static_configs: [{targets: [%s]}]
`, strings.Join(quoted, ", ")))
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, tool(t, "NRPROBE_PROMETHEUS"), "--config.file="+config, "--storage.tsdb.path="+data,
		"--web.listen-address="+listen, "--log.level=warn")
	p := prometheus{url: "http://" + listen}
	until(t, patience, func() string {
		if _, err := tryGet(t.Context(), p.url+"/-/ready"); err != nil {
			return err.Error()
		}
		return ""
	})
	return p
}

// sample is one element of a PromQL answer.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  []any             `json:"value"`
	Values [][]any           `json:"values"`
}

// promQL asks any server with the Prometheus API. An answer that is no vector or matrix is an error.
func promQL(ctx context.Context, server, path string, form url.Values) ([]sample, error) {
	body, err := tryGet(ctx, server+path+"?"+form.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Result []sample `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("status %q, %w\n%s", answer.Status, err, body)
	}
	return answer.Data.Result, nil
}
