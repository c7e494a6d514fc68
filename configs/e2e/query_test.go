//go:build integration

package e2e

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/dashboards"
)

// stores are the three that a dashboard can read, fed with the same results.
type stores struct {
	collector string
	prom      prometheus
	db        influx
	feed      *feed
}

func startStores(t *testing.T) stores {
	t.Helper()
	s := stores{db: startInflux(t), feed: newFeed()}
	port := freePort(t)
	startCollector(t, t.TempDir(), port, s.db)
	s.collector = fmt.Sprintf("http://127.0.0.1:%d", port)
	s.prom = startPrometheus(t, fmt.Sprintf("127.0.0.1:%d", port))
	return s
}

// fill delivers results for some seconds, because a rate needs several scrapes.
func (s stores) fill(t *testing.T) {
	t.Helper()
	for range 12 {
		push(t, s.collector, "nr", s.feed.next("known"))
		pause(t, time.Second)
	}
}

// TestQuantileFromPromQL compares a quantile of the native histogram with that of the samples themselves, in a real
// Prometheus and in the collector's own store. PromQL interpolates inside a bucket, so it may be off by a bucket's
// width, 4.4 %.
func TestQuantileFromPromQL(t *testing.T) {
	s := startStores(t)
	s.fill(t)
	samples := slices.Sorted(slices.Values(s.feed.rtts))
	for name, server := range map[string]string{"Prometheus": s.prom.url, "collector": s.collector} {
		for _, q := range []float64{0.5, 0.95, 0.99} {
			want := samples[int(math.Ceil(q*float64(len(samples))))-1]
			until(t, patience, func() string {
				got, err := promQL(t.Context(), server, "/api/v1/query", url.Values{
					"query": {fmt.Sprintf(`histogram_quantile(%v, sum(nrprobe_rtt_seconds{agent="known"}))`, q)},
				})
				if err != nil || len(got) != 1 {
					return fmt.Sprintf("%s: quantile %v: %v %v", name, q, got, err)
				}
				value, err := strconv.ParseFloat(fmt.Sprint(got[0].Value[1]), 64)
				if err != nil || math.Abs(value/want-1) > 0.045 {
					return fmt.Sprintf("%s: quantile %v is %v, the samples say %v", name, q, value, want)
				}
				return ""
			})
		}
	}
}

// TestEveryPanelHasData runs each query of each dashboard against the store that it is for.
func TestEveryPanelHasData(t *testing.T) {
	s := startStores(t)
	s.fill(t)
	queries, err := dashboards.Queries()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		t.Run(q.Dashboard+"/"+q.Panel, func(t *testing.T) {
			if q.InfluxQL != "" {
				until(t, patience, func() string { return s.influxHas(t, q.InfluxQL) })
				return
			}
			for name, server := range map[string]string{"Prometheus": s.prom.url, "collector": s.collector} {
				until(t, patience, func() string {
					if missing := promHas(t, server, q); missing != "" {
						return name + ": " + missing
					}
					return ""
				})
			}
		})
	}
}

func promHas(t *testing.T, server string, q dashboards.Query) string {
	t.Helper()
	expr := strings.NewReplacer("$agent", ".*", "$probe", ".*", "$__rate_interval", "10s", "$__range", "5m").Replace(q.PromQL)
	now := time.Now()
	path, form := "/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"1"},
		"start": {strconv.FormatInt(now.Add(-10*time.Minute).Unix(), 10)}, "end": {strconv.FormatInt(now.Unix(), 10)},
	}
	if q.Instant {
		path, form = "/api/v1/query", url.Values{"query": {expr}}
	}
	got, err := promQL(t.Context(), server, path, form)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if len(got) == 0 {
		return "no data from " + expr
	}
	return ""
}

func (s stores) influxHas(t *testing.T, query string) string {
	t.Helper()
	query = strings.NewReplacer("/^$agent$/", "/.*/", "/^$probe$/", "/.*/", "$timeFilter", "time > now() - 10m", "$__interval", "1s").Replace(query)
	if len(s.db.query(t, query)) == 0 {
		return "no data from " + query
	}
	return ""
}
