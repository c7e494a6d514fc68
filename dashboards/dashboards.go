// Package dashboards holds the Grafana dashboards, as JSON that is generated from src by `make dashboards`, with what
// provisions them and the rules that go with them. The program itself does not need it; tests hold every query against
// the vocabulary and run it against real stores.
package dashboards

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
)

//go:embed json/*.json
var files embed.FS

// Query is one query of one panel.
type Query struct {
	Dashboard string // file name without its suffix: "link-prometheus"
	Panel     string // title
	// PromQL or InfluxQL is set, with Grafana's variables still in it.
	PromQL, InfluxQL string
	Instant          bool
}

type dashboardJSON struct {
	Panels []struct {
		Title   string `json:"title"`
		Targets []struct {
			Expr    string `json:"expr"`
			Query   string `json:"query"`
			Instant bool   `json:"instant"`
		} `json:"targets"`
	} `json:"panels"`
}

// Queries lists the queries of all dashboards. An error means that the generated files are broken.
func Queries() ([]Query, error) {
	names, err := files.ReadDir("json")
	if err != nil {
		return nil, fmt.Errorf("listing dashboards: %w", err)
	}
	var list []Query
	for _, entry := range names {
		text, err := files.ReadFile(path.Join("json", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading dashboard: %w", err)
		}
		var d dashboardJSON
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", entry.Name(), err)
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				list = append(list, Query{Dashboard: entry.Name()[:len(entry.Name())-len(".json")], Panel: p.Title, PromQL: t.Expr, InfluxQL: t.Query, Instant: t.Instant})
			}
		}
	}
	return list, nil
}
