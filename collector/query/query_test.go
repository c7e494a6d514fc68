package query

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

type store struct{ storage.Queryable }

func (s store) Storage() storage.Queryable { return s.Queryable }

// serve answers over a store with up{job="a"} and up{job="b"} at 0 s, 10 s, … 100 s and one native histogram.
func serve(t *testing.T) http.Handler {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	a := db.AppenderV2(t.Context())
	for s := range int64(11) {
		for i, job := range []string{"a", "b"} {
			if _, err := a.Append(0, labels.FromStrings("__name__", "up", "job", job), 0, s*10_000, float64(i)+float64(s)/10, nil, nil, storage.AppendV2Options{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.Append(0, labels.FromStrings("__name__", "h"), 0, 100_000, 0, tsdbutil.GenerateTestHistogram(0), nil, storage.AppendV2Options{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.MaxSamples = 1000
	mux := http.NewServeMux()
	New(c, store{db}, "test", slog.New(slog.DiscardHandler)).Routes(mux.Handle)
	return mux
}

func TestAnswers(t *testing.T) {
	h := serve(t)
	for _, one := range []struct {
		path   string
		status int
		want   string
	}{
		{"query?query=up&time=100", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[100,"1"]},{"metric":{"__name__":"up","job":"b"},"value":[100,"2"]}]}}`},
		{"query?query=1%2B1&time=1.5", 200, `{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}`},
		{"query?query=%22x%22&time=1", 200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`},
		{"query?query=1%2F0&time=1970-01-01T00:00:01Z", 200, `{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}`},
		{"query?query=nothing&time=1", 200, `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		{"query?query=up[20s]&time=100", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[90,"0.9"],[100,"1"]]},{"metric":{"__name__":"up","job":"b"},"values":[[90,"1.9"],[100,"2"]]}]}}`},
		{"query_range?query=up%7Bjob=%22a%22%7D&start=0&end=60&step=30", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"0"],[30,"0.3"],[60,"0.6"]]}]}}`},
		{"query_range?query=up&start=0&end=60", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"step\": cannot parse \"\" to a valid duration"}`},
		{"query_range?query=up&start=0&end=60&step=0", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"}`},
		{"query_range?query=up&start=60&end=0&step=1", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"end\": end timestamp must not be before start time"}`},
		{"query_range?query=up&start=0&end=1000000&step=1s", 400, `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11000 points per timeseries. Try decreasing the query resolution (?step=XX)"}`},
		{"query?query=up%7B&time=1", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces"}`},
		{"query?query=up&time=then", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"time\": cannot parse \"then\" to a valid timestamp"}`},
		{"query_range?query=up&start=0&end=100&step=0.1", 422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`},
		{"labels", 200, `{"status":"success","data":["__name__","job"]}`},
		{"labels?match[]=h", 200, `{"status":"success","data":["__name__"]}`},
		{"label/job/values", 200, `{"status":"success","data":["a","b"]}`},
		{"label/job/values?limit=1", 200, `{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}`},
		{"label/job/values?match[]=up{job!=\"a\"}&match[]=h", 200, `{"status":"success","data":["b"]}`},
		{"label/nothing/values", 200, `{"status":"success","data":[]}`},
		{"series?match[]=up", 200, `{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}`},
		{"series?match[]=up&start=1000&end=2000", 200, `{"status":"success","data":[]}`},
		{"series", 400, `{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}`},
		{"series?match[]={job=~\".*\"}", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"}`},
		{"series?match[]=up&limit=x", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"limit\": \"x\" is not a whole number of 0 or more"}`},
		{"metadata?metric=nrprobe_packets_sent_total", 200, `{"status":"success","data":{"nrprobe_packets_sent_total":[{"type":"counter","help":"Packets sent.","unit":""}]}}`},
		{"metadata?metric=nrprobe_probe_runs_total", 200, `{"status":"success","data":{"nrprobe_probe_runs_total":[{"type":"counter","help":"Results by outcome.","unit":""}]}}`},
		{"query_exemplars?query=up", 200, `{"status":"success","data":[]}`},
		{"rules", 200, `{"status":"success","data":{"groups":[]}}`},
		{"format_query?query=sum(up)by(job)", 200, `{"status":"success","data":"sum by (job) (up)"}`},
	} {
		path, query, _ := strings.Cut(one.path, "?")
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/"+path, nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Body.String(); w.Code != one.status || got != one.want {
			t.Errorf("%s:\n got %d %s\nwant %d %s", one.path, w.Code, got, one.status, one.want)
		}
	}
}

func TestHistogramsInAnswers(t *testing.T) {
	h := serve(t)
	form := url.Values{"query": {"h"}, "time": {"100"}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/query", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"histogram":[100,{"count":"12","sum":"18.4","buckets":[[1,"-4","-2.82842712474619","1"]`; !strings.Contains(string(text), want) {
		t.Errorf("got %s, want %s in it", text, want)
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"query?query=up&time=1", "query_range?query=up&start=0&end=1&step=1", "series?match[]=up", "label/a/values?limit=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := Defaults()
		c.MaxSamples = 1000
		mux := http.NewServeMux()
		New(c, store{storage.QueryableFunc(func(_, _ int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })}, "test", slog.New(slog.DiscardHandler)).Routes(mux.Handle)
		path, query, _ := strings.Cut(text, "?")
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/", nil)
		r.URL.Path, r.URL.RawQuery = "/api/v1/"+path, query
		mux.ServeHTTP(httptest.NewRecorder(), r)
	})
}
