package dashboards

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// beside are the series and fields that are no words of the vocabulary: they tell of runs, not of links.
var (
	seriesBeside = []string{"nrprobe_probe_runs_total", "nrprobe_probe_duration_seconds", "nrprobe_probe_last_result_timestamp_seconds", "nrprobe_quality_flags_total", "nrprobe_events_total"}
	fieldsBeside = []string{"elapsed_seconds", "duration_seconds", "quality", "last", "elapsed"}
	tags         = []string{"agent", "probe", "kind", "target"}
)

func TestQueriesUseTheVocabulary(t *testing.T) {
	queries, err := Queries()
	if err != nil {
		t.Fatal(err)
	}
	if len(queries) < 40 {
		t.Fatalf("got %d queries, want those of four dashboards", len(queries))
	}
	series := slices.Clone(seriesBeside)
	for _, m := range probes.Vocabulary() {
		series = append(series, m.PrometheusName())
	}
	names := probes.NewNames()
	metric := regexp.MustCompile(`\bnrprobe_[a-z0-9_]+`)
	field := regexp.MustCompile(`"([a-z0-9_]+)"`)
	for _, q := range queries {
		if (q.PromQL == "") == (q.InfluxQL == "") {
			t.Errorf("%s, %s: want one query language, got %+v", q.Dashboard, q.Panel, q)
		}
		for _, name := range metric.FindAllString(q.PromQL, -1) {
			if !slices.Contains(series, name) {
				t.Errorf("%s, %s: no metric is called %s", q.Dashboard, q.Panel, name)
			}
		}
		for _, match := range field.FindAllStringSubmatch(q.InfluxQL, -1) {
			_, known := names.Value(match[1])
			if !known && !strings.HasPrefix(match[1], "nrprobe") && !slices.Contains(fieldsBeside, match[1]) && !slices.Contains(tags, match[1]) {
				t.Errorf("%s, %s: no field is called %s", q.Dashboard, q.Panel, match[1])
			}
		}
		if strings.Contains(q.PromQL+q.InfluxQL, "$filter") {
			t.Errorf("%s, %s: $filter was not replaced", q.Dashboard, q.Panel)
		}
	}
}
