// Package query answers PromQL over the embedded store with the HTTP API of Prometheus, so that Grafana and everything
// else that reads Prometheus can use a collector as one. It has the part of the API that data sources use, in Prometheus'
// own words, on Prometheus' own engine. Prometheus' package for the whole API is not used: it would nearly double the
// size of the program, for service discovery and remote protocols that a collector has no use for.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// Config bounds what one query may cost.
type Config struct {
	Timeout     time.Duration `yaml:"timeout" help:"how long one query may take" min:"1s" max:"10m"`
	MaxSamples  int           `yaml:"max_samples" help:"samples that one query may hold in memory" min:"1000"`
	Concurrency int           `yaml:"concurrency" help:"queries answered at the same time; further ones wait" min:"1" max:"1000"`
}

// Defaults are the bounds without a file. Five million samples are some hundred MiB at most.
func Defaults() Config {
	return Config{Timeout: 30 * time.Second, MaxSamples: 5_000_000, Concurrency: 8}
}

// Store is what can be queried.
type Store interface {
	// Storage is safe for concurrent use.
	Storage() storage.Queryable
}

// API answers queries. It is safe for concurrent use.
type API struct {
	store   Store
	engine  *promql.Engine
	parser  parser.Parser
	config  Config
	slots   chan struct{}
	version string
	log     *slog.Logger
}

// New makes an API over a store. version is the program's own.
func New(c Config, store Store, version string, log *slog.Logger) *API {
	p := parser.NewParser(parser.Options{})
	return &API{
		store: store, config: c, parser: p, version: version, log: log,
		slots: make(chan struct{}, c.Concurrency),
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: log, MaxSamples: c.MaxSamples, Timeout: c.Timeout, Parser: p,
			LookbackDelta:    5 * time.Minute, // Prometheus' own; Grafana reckons with it
			EnableAtModifier: true, EnableNegativeOffset: true,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		}),
	}
}

// Routes calls handle for every endpoint, with its pattern for http.ServeMux.
func (a *API) Routes(handle func(pattern string, h http.Handler)) {
	both := func(path string, f endpoint) {
		handle("GET "+path, a.answer(f))
		handle("POST "+path, a.answer(f))
	}
	both("/api/v1/query", a.instant)
	both("/api/v1/query_range", a.span)
	both("/api/v1/query_exemplars", fixed([]string{}))
	both("/api/v1/format_query", a.format)
	both("/api/v1/labels", a.labelNames)
	both("/api/v1/series", a.series)
	handle("GET /api/v1/label/{name}/values", a.answer(a.labelValues))
	handle("GET /api/v1/metadata", a.answer(metadata))
	handle("GET /api/v1/status/buildinfo", a.answer(fixed(a.buildInfo())))
	// There are no rules here; data sources ask nevertheless.
	handle("GET /api/v1/rules", a.answer(fixed(map[string][]string{"groups": {}})))
	handle("GET /api/v1/alerts", a.answer(fixed(map[string][]string{"alerts": {}})))
}

func (a *API) instant(r *http.Request) (any, []string, error) {
	at, err := timeParam(r, "time", time.Now())
	if err != nil {
		return nil, nil, err
	}
	return a.run(r, func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return a.engine.NewInstantQuery(ctx, a.store.Storage(), opts, r.FormValue("query"), at)
	})
}

// maxPoints is Prometheus' bound on the points of one series in an answer.
const maxPoints = 11_000

func (a *API) span(r *http.Request) (any, []string, error) {
	start, err := timeParam(r, "start", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	end, err := timeParam(r, "end", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	step, err := parseDuration(r.FormValue("step"))
	switch {
	case start.IsZero() || end.IsZero():
		return nil, nil, badData("start and end are required")
	case err != nil:
		return nil, nil, badData("invalid parameter \"step\": %w", err)
	case end.Before(start):
		return nil, nil, badData("invalid parameter \"end\": end timestamp must not be before start time")
	case step <= 0:
		return nil, nil, badData("invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer")
	case end.Sub(start)/step > maxPoints:
		return nil, nil, badData("exceeded maximum resolution of %d points per timeseries. Try decreasing the query resolution (?step=XX)", maxPoints)
	}
	return a.run(r, func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return a.engine.NewRangeQuery(ctx, a.store.Storage(), opts, r.FormValue("query"), start, end, step)
	})
}

// run makes a query and answers it when there is room for one more.
func (a *API) run(r *http.Request, prepare func(context.Context, promql.QueryOpts) (promql.Query, error)) (any, []string, error) {
	timeout := a.config.Timeout
	if text := r.FormValue("timeout"); text != "" {
		asked, err := parseDuration(text)
		if err != nil {
			return nil, nil, badData("invalid parameter \"timeout\": %w", err)
		}
		timeout = min(timeout, asked)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	lookback, err := parseDuration(r.FormValue("lookback_delta"))
	if err != nil && r.FormValue("lookback_delta") != "" {
		return nil, nil, badData("invalid parameter \"lookback_delta\": %w", err)
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return nil, nil, &apiError{kind: "unavailable", status: http.StatusServiceUnavailable, err: errors.New("too many queries at the same time")}
	}
	q, err := prepare(ctx, promql.NewPrometheusQueryOpts(false, lookback, nil))
	if err != nil {
		return nil, nil, badData("invalid parameter \"query\": %w", err)
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, nil, execution(result.Err)
	}
	warnings, _ := result.Warnings.AsStrings(r.FormValue("query"), 10, 10)
	// The query owns the result's memory until it is closed, so it is written down here.
	return encode(result.Value), warnings, nil
}

func (a *API) format(r *http.Request) (any, []string, error) {
	expr, err := a.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return nil, nil, badData("invalid parameter \"query\": %w", err)
	}
	return expr.Pretty(0), nil, nil
}

// The bounds within which milliseconds since 1970 fit an int64.
var (
	minTime = time.UnixMilli(math.MinInt64 / 4)
	maxTime = time.UnixMilli(math.MaxInt64 / 4)
)

func timeParam(r *http.Request, name string, missing time.Time) (time.Time, error) {
	text := r.FormValue(name)
	if text == "" {
		return missing, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < float64(math.MaxInt64/8000) {
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(math.Round(part*1e3)*1e6)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, badData("invalid parameter %q: cannot parse %q to a valid timestamp", name, text)
	}
	return t, nil
}

func parseDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("cannot parse %q to a valid duration", text)
	}
	return time.Duration(d), nil
}
