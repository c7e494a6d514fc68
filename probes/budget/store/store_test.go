package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
)

func plan(t *testing.T, yaml string) *budget.Plan {
	t.Helper()
	p, err := budget.Parse("b.yaml", []byte(yaml), nil, catalog.New[probes.Kind]("probe kind"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const twoBudgets = `
budgets:
  - {name: rtt, metric: rtt, statistic: p95, bound: 20ms, tags: {site: north}}
  - {name: loss, metric: loss, statistic: ratio, bound: 5%}
`

// window is one Result as an agent would have it.
func result(i int) *probes.Result {
	rec := probes.NewRecorder()
	for k := range 100 {
		rec.Observe(probes.RTT, probes.Both, 0.010+float64((i*37+k*13)%50)*1e-4)
	}
	rec.Add(probes.PacketsSent, probes.Both, 101)
	rec.Add(probes.PacketsLost, probes.Both, 1)
	r := rec.Snapshot()
	r.Start = time.Unix(1700000000+int64(i)*30, 0)
	return r
}

func ask(t *testing.T, kind Kind, handler http.HandlerFunc, yaml string) (*budget.Input, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	q, err := Parse(string(kind) + "=" + server.URL + "/base/?db=lab")
	if err != nil {
		t.Fatal(err)
	}
	q.From, q.To, q.Token, q.Step = time.Unix(1700000000, 0), time.Unix(1700000900, 0), "secret", 30*time.Second
	return Fetch(t.Context(), server.Client(), q, plan(t, yaml))
}

func judge(t *testing.T, in *budget.Input) *budget.Report {
	t.Helper()
	r, err := budget.Check(t.Context(), plan(t, twoBudgets), budget.Options{Input: in})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// influxServer answers as InfluxDB 1.8 does.
func influxServer(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/query" || r.FormValue("db") != "lab" || r.Header.Get("Authorization") != "Token secret" ||
			!strings.Contains(r.FormValue("q"), `FROM "nrprobe" WHERE time >= 1700000000000000000 AND time < 1700000900000000000`) {
			t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		var rows []any
		for i := range 30 {
			quality := ""
			if i == 3 {
				quality = "schedule_late"
			}
			rows = append(rows, []any{result(i).Start.UnixNano(), "b", i + 1, "ok", 1.0, quality, result(i).Hists["rtt"].Text(), 101, 1, nil, "unknown text"})
		}
		answer := map[string]any{"results": []any{map[string]any{"series": []any{map[string]any{
			"tags":    map[string]string{"agent": "van", "kind": "stamp", "probe": "edge", "target": "edge.example", "site": "north", "slice": ""},
			"columns": []string{"time", "boot", "seq", "outcome", "elapsed_seconds", "quality", "rtt_hist", "packets_sent", "packets_lost", "rtt_p50_seconds", "info_x"},
			"values":  rows,
		}}}}}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}
}

func TestInfluxGivesResultsBack(t *testing.T) {
	in, err := ask(t, Influx, influxServer(t), twoBudgets)
	if err != nil {
		t.Fatal(err)
	}
	r := judge(t, in)
	for _, v := range r.Verdicts {
		if v.Outcome != budget.Pass || v.Results != 29 || v.Doubtful != 1 {
			t.Errorf("%s: %s with %d results and %d doubtful: %s", v.Name, v.Outcome, v.Results, v.Doubtful, v.Reason)
		}
	}
	if v := r.Verdicts[0]; v.Lost != 29 || v.Samples != 29*101 {
		t.Errorf("%d samples, %d lost, want %d and 29", v.Samples, v.Lost, 29*101)
	}
}

// prometheusServer answers range queries for one stream of results, with its histograms as the query API writes them.
func prometheusServer(t *testing.T, queries *[]string) http.HandlerFunc {
	labels := map[string]string{"agent": "van", "kind": "stamp", "probe": "edge", "target": "edge.example", "site": "north", "instance": "x", "job": "y"}
	with := func(more ...string) map[string]string {
		m := maps.Clone(labels)
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("query")
		*queries = append(*queries, q)
		if r.URL.Path != "/base/api/v1/query_range" || r.FormValue("step") != "30" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		counter := func(value string, more ...string) map[string]any {
			var values []any
			for i := range 29 {
				values = append(values, []any{1700000030 + i*30, value})
			}
			return map[string]any{"metric": with(more...), "values": values}
		}
		var series []any
		switch {
		case strings.HasPrefix(q, "increase(nrprobe_rtt_seconds"):
			var points []any
			for i := range 29 {
				points = append(points, []any{1700000030 + i*30, promJSON(result(i).Hists["rtt"])})
			}
			series = append(series, map[string]any{"metric": with(), "histograms": points})
		case strings.HasPrefix(q, "increase(nrprobe_packets_sent_total"):
			series = append(series, counter("100.9"))
		case strings.HasPrefix(q, "increase(nrprobe_packets_lost_total"):
			series = append(series, counter("0.4", "direction", "up"), counter("1.2", "direction", "down"), counter("0", "direction", "unknown"))
		case strings.HasPrefix(q, "increase(nrprobe_quality_flags_total"):
			series = append(series, map[string]any{"metric": with("flag", "cpu_starved"), "values": []any{[]any{1700000030, "1.1"}, []any{1700000060, "0"}}})
		}
		answer := map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": series}}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}
}

func promJSON(h *probes.Hist) map[string]any {
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	var buckets []any
	for i, n := range h.Buckets() {
		upper := pow(i)
		buckets = append(buckets, []any{0, text(pow(i - 1)), text(upper), text(float64(n) + 0.2)})
	}
	return map[string]any{"count": text(float64(h.Count())), "sum": text(h.Sum()), "buckets": buckets}
}

// pow is the upper bound of a bucket.
func pow(i int32) float64 {
	var h probes.Hist
	if err := json.Unmarshal([]byte(fmt.Sprintf(`{"schema":4,"count":2,"sum":1,"min":0,"max":1e9,"zero":0,"buckets":[[%d,2]]}`, i)), &h); err != nil {
		panic(err)
	}
	h.Add(1e10) // so that rank 1 and 3 are the ends, and 2 is inside
	_, high := h.AtRank(2)
	return high
}

func TestPrometheusGivesResultsBack(t *testing.T) {
	var queries []string
	in, err := ask(t, Prometheus, prometheusServer(t, &queries), twoBudgets)
	if err != nil {
		t.Fatal(err)
	}
	r := judge(t, in)
	for _, v := range r.Verdicts {
		if v.Outcome != budget.Pass || v.Results != 28 || v.Doubtful != 1 || v.Flags["cpu_starved"] != 1 {
			t.Errorf("%s: %s with %d results and %d doubtful %v: %s", v.Name, v.Outcome, v.Results, v.Doubtful, v.Flags, v.Reason)
		}
	}
	// Of 1.2 lost down and 0.4 up, one a window stays after rounding; 100 came.
	if v := r.Verdicts[0]; v.Lost != 28 || v.Samples != 28*101 {
		t.Errorf("%d samples, %d lost, want %d and 28", v.Samples, v.Lost, 28*101)
	}
	if queries[0] != `increase(nrprobe_rtt_seconds{site="north"}[30s])` {
		t.Errorf("first query %s", queries[0])
	}
}

// TestStoresThatDoNotAnswerWell has one clear error for each way in which a store can fail.
func TestStoresThatDoNotAnswerWell(t *testing.T) {
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}
	}
	for _, c := range []struct {
		name    string
		kind    Kind
		handler http.HandlerFunc
		want    string
		outcome probes.Outcome // "" for input errors
	}{
		{"refused token", Influx, answer(401, `{"error":"unauthorized"}`), `answers 401 Unauthorized: {"error":"unauthorized"}`, probes.Auth},
		{"broken query", Prometheus, answer(400, "bad"), "answers 400 Bad Request: bad", probes.Refused},
		{"a web page", Prometheus, answer(200, "<html>"), "the answer is not what this store should say", ""},
		{"a web page from influx", Influx, answer(200, "<html>"), "the answer is not what this store should say", ""},
		{"database not found", Influx, answer(200, `{"results":[{"error":"database not found: lab"}]}`), "database not found: lab", probes.Refused},
		{"nothing", Prometheus, answer(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), "holds no results of these budgets from 2023-11-14T22:13:20Z", ""},
		{"nothing in influx", Influx, answer(200, `{"results":[{}]}`), "holds no results", ""},
		{"short row", Influx, answer(200, `{"results":[{"series":[{"columns":["time"],"values":[[]]}]}]}`), "more or fewer values than columns", ""},
		{"bad histogram", Influx, answer(200, `{"results":[{"series":[{"columns":["time","rtt_hist"],"values":[[1,"4;1"]]}]}]}`), "rtt_hist: histogram", ""},
		{"coarse histogram", Prometheus, answer(200, `{"data":{"result":[{"metric":{},"histograms":[[1700000030,{"count":"1","sum":"1","buckets":[[0,"1","2","5"]]}]]}]}}`), "16 times as wide", ""},
		{"no bucket", Prometheus, answer(200, `{"data":{"result":[{"metric":{},"histograms":[[1700000030,{"buckets":[[0,"x","2","5"]]}]]}]}}`), "nrprobe_rtt_seconds", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := ask(t, c.kind, c.handler, twoBudgets)
			if err == nil {
				t.Fatalf("accepted %d results", len(in.Pieces))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			_, isInput := errors.AsType[*budget.InputError](err)
			if isInput != (c.outcome == "") || !isInput && probes.Classify(err) != c.outcome {
				t.Errorf("classified as %s (input error: %v), want %q", probes.Classify(err), isInput, c.outcome)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

func TestAStoreThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	q, err := Parse("prometheus=" + strings.Replace(server.URL, "http://", "http://user:hunter2@", 1))
	if err != nil {
		t.Fatal(err)
	}
	q.From, q.To = time.Unix(0, 0), time.Unix(3600, 0)
	_, err = Fetch(t.Context(), http.DefaultClient, q, plan(t, twoBudgets))
	if err == nil || probes.Classify(err) != probes.Refused || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("%v, want that the store cannot be reached", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is in the error: %v", err)
	}
	q.To = q.From
	if _, err := Fetch(t.Context(), http.DefaultClient, q, plan(t, twoBudgets)); err == nil || !strings.Contains(err.Error(), "the time range ends") {
		t.Errorf("an empty range: %v", err)
	}
	for _, text := range []string{"", "prometheus", "prometheus=", "graphite=http://x", "prometheus=ftp://x", "influx=http://", "prometheus=\x00"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is taken for a store", text)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"results":[{"series":[{"tags":{"agent":"a"},"columns":["time","rtt_hist"],"values":[[1,"4;0;0;0;0;0;"]]}]}]}`))
	f.Add([]byte(`{"data":{"result":[{"metric":{"kind":"x"},"values":[[1,"2"]],"histograms":[[1700000030,{"count":"1","sum":"1","buckets":[[0,"1","1.0443","5"]]}]]}]}}`))
	p, err := budget.Parse("b.yaml", []byte(twoBudgets), nil, catalog.New[probes.Kind]("probe kind"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		client := &http.Client{Transport: canned(text)}
		for _, kind := range []Kind{Prometheus, Influx} {
			q := Query{Kind: kind, URL: &url.URL{Scheme: "http", Host: "store"}, From: time.Unix(0, 0), To: time.Unix(3600, 0)}
			in, err := Fetch(t.Context(), client, q, p)
			if err != nil {
				continue
			}
			if _, err := budget.Check(t.Context(), p, budget.Options{Input: in}); err != nil {
				t.Error(err)
			}
		}
	})
}

// canned answers every request with the same text.
type canned []byte

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.Write(c)
	return w.Result(), nil
}
