package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nrprobe/nrprobe/probes"
)

// errPage says that the agent's page broke down while it ran.
var errPage = errors.New("serving the agent's page")

// page serves the agent's page and /metrics.
type page struct {
	listener net.Listener // nil when there is none to serve
	server   *http.Server
	closed   chan struct{}
}

// listen binds the address of the section metrics.
func (a *Agent) listen(ctx context.Context) (*page, error) {
	p := &page{closed: make(chan struct{})}
	address := a.config.Load().Metrics.Listen
	if address == Off || address == "" {
		return p, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen: %w: choose another address, or off", err)
	}
	p.listener = l
	// Scrapes and browsers send a few hundred bytes of header at once; slower ones do not hold a connection for ever.
	p.server = &http.Server{
		Handler: a.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.address = l.Addr().String()
	return p, nil
}

// serve blocks until close; it returns early with an error only when the listener breaks.
func (p *page) serve() error {
	if p.listener == nil {
		<-p.closed
		return nil
	}
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%w: %w", errPage, err)
	}
	return nil
}

// close ends serve. A scrape that is under way is cut off: the next one finds the agent gone anyway.
func (p *page) close() {
	close(p.closed)
	if p.server != nil {
		_ = p.server.Close() // what could fail is the closing of a listener that nobody uses any more
	}
}

// registry has everything that /metrics shows.
func (a *Agent) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(a.series, a.health, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler serves the agent's page on / and its metrics on /metrics. It is safe for concurrent use.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry(), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(a.log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, // a scrape takes milliseconds; more at once are no scrapes
		Timeout:             20 * time.Second,
	}))
	mux.HandleFunc("GET /{$}", a.home)
	return mux
}

// homePage is small and needs nothing from elsewhere: it is read on the device.
var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>nrprobe agent {{.Agent}}</title>
<style>body{font-family:sans-serif;margin:2em}td,th{text-align:left;padding:.2em 1em .2em 0}</style></head>
<body><h1>nrprobe agent {{.Agent}}</h1>
<p>Version {{.Version}}. <a href="/metrics">/metrics</a> has everything for Prometheus.{{with .Pending}} {{.}} results wait for delivery.{{end}}</p>
<table><tr><th>probe</th><th>kind</th><th>target</th><th>last result</th><th>ended</th><th></th></tr>
{{range .Rows}}<tr><td>{{.Name}}</td><td>{{.Kind}}</td><td>{{.Target}}</td><td>{{.Outcome}}</td><td>{{.Ended}}</td><td>{{.Figures}}</td></tr>
{{end}}</table></body></html>
`))

type homeRow struct{ Name, Kind, Target, Outcome, Ended, Figures string }

func (a *Agent) home(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	latest := maps.Clone(a.latest)
	a.mu.Unlock()
	data := struct {
		Agent, Version string
		Pending        uint64
		Rows           []homeRow
	}{Agent: a.runner.Agent, Version: a.deps.Version}
	if box := a.box(); box != nil {
		data.Pending = box.Pending()
	}
	for _, p := range a.config.Load().Probes {
		row := homeRow{Name: p.Name, Kind: p.Kind, Target: p.Target, Outcome: "none yet"}
		if r := latest[p.Name]; r != nil {
			row.Outcome, row.Ended, row.Figures = string(r.Outcome), r.End().UTC().Format(time.RFC3339), figures(r)
		}
		data.Rows = append(data.Rows, row)
	}
	slices.SortStableFunc(data.Rows, func(x, y homeRow) int { return cmp.Compare(x.Name, y.Name) })
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = homePage.Execute(w, data) // the client went away
}

// figures are the few values that a person looks for first.
func figures(r *probes.Result) string {
	if r.Error != "" {
		return r.Error
	}
	var text strings.Builder
	for _, f := range []struct {
		name, label, unit string
		factor            float64
	}{
		{probes.RTT.ValueName(probes.Both, probes.P50), "RTT p50", "ms", 1e3},
		{probes.RTT.ValueName(probes.Both, probes.P95), "p95", "ms", 1e3},
		{probes.LossRatio.ValueName(probes.Both, ""), "loss", "%", 100},
		{probes.Goodput.ValueName(probes.Up, ""), "up", "Mbit/s", 8e-6},
		{probes.Goodput.ValueName(probes.Down, ""), "down", "Mbit/s", 8e-6},
	} {
		if v, ok := r.Values[f.name]; ok {
			fmt.Fprintf(&text, "%s %.3g %s  ", f.label, v*f.factor, f.unit)
		}
	}
	return text.String()
}
