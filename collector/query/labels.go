package query

import (
	"context"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/series"
)

// selection is what the endpoints about labels have in common.
type selection struct {
	start, end time.Time
	matchers   [][]*labels.Matcher
	limit      int
}

func (a *API) selection(r *http.Request) (s selection, err error) {
	if s.start, err = timeParam(r, "start", minTime); err != nil {
		return s, err
	}
	if s.end, err = timeParam(r, "end", maxTime); err != nil {
		return s, err
	}
	if text := r.FormValue("limit"); text != "" {
		if s.limit, err = strconv.Atoi(text); err != nil || s.limit < 0 {
			return s, badData("invalid parameter \"limit\": %q is not a whole number of 0 or more", text)
		}
	}
	if s.matchers, err = a.parser.ParseMetricSelectors(r.Form["match[]"]); err != nil {
		return s, badData("invalid parameter \"match[]\": %w", err)
	}
	for _, ms := range s.matchers {
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return s, badData("invalid parameter \"match[]\": match[] must contain at least one non-empty matcher")
		}
	}
	return s, nil
}

// each calls f with a querier once for every set of matchers, or once with none.
func (a *API) each(ctx context.Context, s selection, f func(context.Context, storage.Querier, []*labels.Matcher) error) error {
	q, err := a.store.Storage().Querier(s.start.UnixMilli(), s.end.UnixMilli())
	if err != nil {
		return err
	}
	defer q.Close()
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	if len(s.matchers) == 0 {
		return f(ctx, q, nil)
	}
	for _, ms := range s.matchers {
		if err := f(ctx, q, ms); err != nil {
			return err
		}
	}
	return nil
}

// cut sorts and shortens a list to the limit that was asked for.
func (s selection) cut(values []string) ([]string, []string) {
	slices.Sort(values)
	values = slices.Compact(values)
	if values == nil {
		values = []string{}
	}
	if s.limit > 0 && len(values) > s.limit {
		return values[:s.limit], []string{"results truncated due to limit"}
	}
	return values, nil
}

func (a *API) labelNames(r *http.Request) (any, []string, error) {
	s, err := a.selection(r)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	err = a.each(r.Context(), s, func(ctx context.Context, q storage.Querier, ms []*labels.Matcher) error {
		found, _, err := q.LabelNames(ctx, &storage.LabelHints{}, ms...)
		names = append(names, found...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	data, warnings := s.cut(names)
	return data, warnings, nil
}

func (a *API) labelValues(r *http.Request) (any, []string, error) {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	s, err := a.selection(r)
	if err != nil {
		return nil, nil, err
	}
	var values []string
	err = a.each(r.Context(), s, func(ctx context.Context, q storage.Querier, ms []*labels.Matcher) error {
		found, _, err := q.LabelValues(ctx, name, &storage.LabelHints{}, ms...)
		values = append(values, found...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	data, warnings := s.cut(values)
	return data, warnings, nil
}

func (a *API) series(r *http.Request) (any, []string, error) {
	s, err := a.selection(r)
	if err != nil {
		return nil, nil, err
	}
	if len(s.matchers) == 0 {
		return nil, nil, badData("no match[] parameter provided")
	}
	found := map[uint64]labels.Labels{}
	err = a.each(r.Context(), s, func(ctx context.Context, q storage.Querier, ms []*labels.Matcher) error {
		set := q.Select(ctx, false, &storage.SelectHints{Start: s.start.UnixMilli(), End: s.end.UnixMilli(), Func: "series"}, ms...)
		for set.Next() {
			ls := set.At().Labels()
			found[ls.Hash()] = ls
		}
		return set.Err()
	})
	if err != nil {
		return nil, nil, err
	}
	list := make([]labels.Labels, 0, len(found))
	for _, ls := range found {
		list = append(list, ls)
	}
	slices.SortFunc(list, labels.Compare)
	if s.limit > 0 && len(list) > s.limit {
		return list[:s.limit], []string{"results truncated due to limit"}, nil
	}
	return list, nil, nil
}

type metricMetadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// metadata describes what Results become: the vocabulary and what package series adds to it.
func metadata(r *http.Request) (any, []string, error) {
	only := r.FormValue("metric")
	data := map[string][]metricMetadata{}
	describe := func(name string, m metricMetadata) {
		if only == "" || only == name {
			data[name] = []metricMetadata{m}
		}
	}
	example := &probes.Result{
		Outcome: probes.OK, Quality: probes.Partial,
		Radio: &probes.Radio{After: &probes.RadioSample{RAT: "NR-SA"}},
	}
	for _, s := range series.Of(example) {
		describe(s.Name, metricMetadata{Type: s.Type.String(), Help: s.Help})
	}
	for _, m := range probes.Vocabulary() {
		describe(m.PrometheusName(), metricMetadata{Type: m.Type.String(), Help: m.Help, Unit: string(m.Unit)})
	}
	return data, nil, nil
}

// buildInfo names the version of Prometheus whose API this is, because data sources go by it; ours is beside it.
func (a *API) buildInfo() map[string]string {
	return map[string]string{
		"version": prometheusVersion(), "revision": a.version, "branch": "", "buildUser": "", "buildDate": "",
		"goVersion": runtime.Version(), "application": "nrprobe",
	}
}

// prometheusVersion turns the module's v0.316.0 into the release 3.16.0. Test binaries carry no module versions.
func prometheusVersion() string {
	const oldest = "3.0.0" // where it is not known, what is certainly there
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return oldest
	}
	for _, m := range info.Deps {
		parts := strings.Split(m.Version, ".")
		if m.Path == "github.com/prometheus/prometheus" && len(parts) == 3 && len(parts[1]) == 3 {
			if minor, err := strconv.Atoi(parts[1][1:]); err == nil {
				return parts[1][:1] + "." + strconv.Itoa(minor) + "." + parts[2]
			}
		}
	}
	return oldest
}
