package collector

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nrprobe/nrprobe/collector/access"
	"github.com/nrprobe/nrprobe/collector/fleet"
	"github.com/nrprobe/nrprobe/collector/ingest"
	"github.com/nrprobe/nrprobe/collector/web"
)

// handler is all that the port answers.
func (c *Collector) handler() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h http.Handler) { mux.Handle(pattern, c.counted(pattern, h)) }
	reading := func(pattern string, h http.Handler) { open(pattern, c.reader(compressed(h))) }

	open("POST /api/v2/write", c.ingest)
	open("POST /write", c.ingest)
	open("GET /ping", http.HandlerFunc(ping))
	open("GET /api/v2/ping", http.HandlerFunc(ping))
	open("GET /health", http.HandlerFunc(c.health))
	open("GET /ready", http.HandlerFunc(c.readiness))

	if c.query != nil {
		c.query.Routes(reading)
	}
	reading("GET /api/nrprobe/fleet", http.HandlerFunc(c.fleetJSON))
	open("GET /metrics", c.reader(promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{
		// A broken series must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	})))
	for _, path := range web.Paths() {
		reading("GET "+path, web.Handler())
	}
	// A web page elsewhere must not write here with the rights of the browser that shows it.
	return http.NewCrossOriginProtection().Handler(mux)
}

// reader lets through who may read. Basic is offered so that a browser asks for the token by itself.
func (c *Collector) reader(h http.Handler) http.Handler {
	if c.config.Reading == "open" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		grant, ok := c.access.Check(r)
		if !ok || !grant.May(access.Read) {
			w.Header().Set("WWW-Authenticate", `Basic realm="nrprobe: any user name, a token as password"`)
			ingest.Unauthorized().ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// counted counts the answers by route and status.
func (c *Collector) counted(route string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { c.requests.WithLabelValues(route, strconv.Itoa(s.status)).Inc() }()
		h.ServeHTTP(s, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// ping answers as InfluxDB 1.x and 2 do.
func ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Influxdb-Build", "OSS")
	w.Header().Set("X-Influxdb-Version", "nrprobe")
	w.WriteHeader(http.StatusNoContent)
}

// health answers as InfluxDB 2 does. It fails while the queue loses data or a sink does not take any; that is for people
// and alerts, so the status stays 200 unless nothing can be written.
func (c *Collector) health(w http.ResponseWriter, _ *http.Request) {
	type check struct {
		Name    string `json:"name"`
		Status  string `json:"status"`
		Message string `json:"message,omitempty"`
	}
	checks := []check{}
	message := "ready for queries and writes"
	for _, f := range c.feeders {
		one := check{Name: "sink " + f.Name, Status: "pass"}
		if f.Counts.Failing.Load() > 0 {
			one.Status, one.Message = "fail", "does not take data now; "+strconv.FormatUint(f.Source.Pending(), 10)+" batches wait"
			message = "ready for queries and writes; a sink does not take data now"
		}
		checks = append(checks, one)
	}
	writeJSON(w, map[string]any{
		"name": "nrprobe", "message": message, "status": "pass", "checks": checks, "version": c.deps.Version, "commit": "",
	})
}

// readiness answers as InfluxDB 2 does.
func (c *Collector) readiness(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"status": "ready", "started": c.started.UTC().Format(time.RFC3339Nano), "up": time.Since(c.started).Round(time.Second).String(),
	})
}

// fleetJSON answers what the page shows. Parameters: search, limit (100 unless told), history (1 adds the course of the
// last minutes).
func (c *Collector) fleetJSON(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil || limit < 0 {
		limit = 100
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, struct {
		Version string `json:"version"`
		fleet.Fleet
	}{c.deps.Version, c.fleet.Snapshot(time.Now(), fleet.Selection{
		Search: r.FormValue("search"), Limit: limit, History: r.FormValue("history") == "1",
	})})
}

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(text)
}
