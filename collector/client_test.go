package collector

import (
	"errors"
	"strings"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// The client library of InfluxDB 2 takes a collector for what it knows.
func TestInfluxClient(t *testing.T) {
	tokens := withTokens(t)
	c := start(t, t.TempDir(), func(c *Config) { tokens(c); c.Reading = "open" })
	at := time.Now().Truncate(time.Second)
	options := influxdb2.DefaultOptions().SetUseGZip(true).SetPrecision(time.Second)
	client := influxdb2.NewClientWithOptions(c.url, operatorToken, options)
	defer client.Close()
	health, err := client.Health(t.Context())
	if err != nil || health.Status != domain.HealthCheckStatusPass || health.Name != "nrprobe" || *health.Version != "test" {
		t.Errorf("health: %+v, %v", health, err)
	}
	ready, err := client.Ready(t.Context())
	if err != nil || *ready.Status != domain.ReadyStatusReady || ready.Started == nil {
		t.Errorf("ready: %+v, %v", ready, err)
	}
	if ok, err := client.Ping(t.Context()); !ok || err != nil {
		t.Errorf("ping: %v, %v", ok, err)
	}
	point := influxdb2.NewPoint("cpu", map[string]string{"agent": "host-1"}, map[string]any{"usage": 1.5, "name": "a"}, at)
	if err := client.WriteAPIBlocking("lab", "nr").WritePoint(t.Context(), point); err != nil {
		t.Fatal(err)
	}
	c.stored(t)
	if got := c.query(t, "cpu_usage", at); got["host-1"] != "1.5" {
		t.Errorf("read back: %v", got)
	}

	err = client.WriteAPIBlocking("lab", "nr").WriteRecord(t.Context(), "cpu usage=")
	if e, ok := errors.AsType[*influxhttp.Error](err); !ok || e.StatusCode != 400 || e.Code != "invalid" || !strings.Contains(e.Message, "line 1: ") {
		t.Errorf("bad line: %v", err)
	}
	stranger := influxdb2.NewClient(c.url, "nobody-knows-this-token")
	defer stranger.Close()
	err = stranger.WriteAPIBlocking("lab", "nr").WritePoint(t.Context(), point)
	if e, ok := errors.AsType[*influxhttp.Error](err); !ok || e.StatusCode != 401 || e.Code != "unauthorized" {
		t.Errorf("wrong token: %v", err)
	}
}

// A collector forwards to another one by the same API.
func TestCollectorsInARow(t *testing.T) {
	far := start(t, t.TempDir(), nil)
	near := start(t, t.TempDir(), func(c *Config) {
		kind, err := c.Sinks.Kinds.Find("influx")
		if err != nil {
			t.Fatal(err)
		}
		forward := SinkConfig{Kind: kind, Name: "far", Config: kind.NewConfig()}
		setField(t, forward.Config, "url", far.url)
		c.Sinks.List = append(c.Sinks.List, forward)
	})
	end := time.Now().Truncate(time.Millisecond)
	for n := range 5 {
		if status, text := near.post(t, "/api/v2/write?bucket=nr", lines(result("van-01", n+1, end.Add(time.Duration(n-5)*time.Second)))); status != 204 {
			t.Fatalf("%d %s", status, text)
		}
	}
	near.stored(t)
	far.stored(t)
	for name, c := range map[string]*running{"near": near, "far": far} {
		if got := c.query(t, "nrprobe_packets_sent_total", end); got["van-01"] != "515" {
			t.Errorf("%s: %v, want 515", name, got)
		}
	}
}

// A sink that is down holds up neither the sender nor the other sinks, and loses nothing when it comes back.
func TestDeadSinkHoldsUpNobody(t *testing.T) {
	c := start(t, t.TempDir(), func(c *Config) {
		kind, err := c.Sinks.Kinds.Find("influx")
		if err != nil {
			t.Fatal(err)
		}
		dead := SinkConfig{Kind: kind, Name: "dead", Config: kind.NewConfig()}
		setField(t, dead.Config, "url", "http://127.0.0.1:1")
		c.Sinks.List = append(c.Sinks.List, dead)
		c.Grace = 100 * time.Millisecond
	})
	end := time.Now().Truncate(time.Millisecond)
	if status, text := c.post(t, "/api/v2/write?bucket=nr", lines(result("van-01", 1, end))); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	for c.feeders[0].Source.Pending() > 0 || c.feeders[1].Counts.Failing.Load() == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the store never got it")
		case <-time.After(time.Millisecond):
		}
	}
	if got := c.query(t, "nrprobe_packets_sent_total", end); got["van-01"] != "103" {
		t.Errorf("the store has %v, want 103", got)
	}
	_, text := c.get(t, "/metrics")
	for _, want := range []string{`nrprobe_collector_sink_failing{sink="dead"} 1`, `nrprobe_collector_queue_pending_batches{sink="dead"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if _, text := c.get(t, "/health"); !strings.Contains(text, `{"name":"sink dead","status":"fail","message":"does not take data now; 1 batches wait"}`) {
		t.Errorf("health: %s", text)
	}
}
