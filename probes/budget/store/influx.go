package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// defaultDatabase is asked for when the address names none.
const defaultDatabase = "nrprobe"

// influxAnswer is what the InfluxQL query API says.
type influxAnswer struct {
	Error   string `json:"error"`
	Results []struct {
		Error  string `json:"error"`
		Series []struct {
			Tags    map[string]string   `json:"tags"`
			Columns []string            `json:"columns"`
			Values  [][]json.RawMessage `json:"values"`
		} `json:"series"`
	} `json:"results"`
}

// influx reads Results with their histograms, by InfluxQL, which InfluxDB 1, 2 and 3 all take.
func (f *fetcher) influx(ctx context.Context) ([]budget.Piece, error) {
	statement := fmt.Sprintf(`SELECT * FROM %q WHERE time >= %d AND time < %d GROUP BY *`, wire.Measurement, f.query.From.UnixNano(), f.query.To.UnixNano())
	parameters := url.Values{"q": {statement}, "epoch": {"ns"}}
	if !f.query.URL.Query().Has("db") {
		parameters.Set("db", defaultDatabase)
	}
	var answer influxAnswer
	if err := f.get(ctx, "/query", parameters, &answer); err != nil {
		return nil, err
	}
	said := answer.Error
	var pieces []budget.Piece
	for _, r := range answer.Results {
		if said == "" {
			said = r.Error
		}
		for _, s := range r.Series {
			for _, row := range s.Values {
				result, err := f.row(s.Tags, s.Columns, row)
				if err != nil {
					return nil, err
				}
				pieces = append(pieces, budget.Piece{Result: result})
			}
		}
	}
	if said != "" {
		return nil, probes.Fail(probes.Refused, "store %s: %s", f.name(), said)
	}
	return pieces, nil
}

// row makes a Result of one point.
func (f *fetcher) row(tags map[string]string, columns []string, row []json.RawMessage) (*probes.Result, error) {
	r := &probes.Result{
		Kind: tags["kind"], Probe: tags["probe"], Target: tags["target"], Agent: tags["agent"], Labels: map[string]string{},
		Values: map[string]float64{}, Hists: map[string]*probes.Hist{},
	}
	r.ID.Agent = tags["agent"]
	for name, value := range tags {
		if !wire.Reserved(name) && value != "" {
			r.Labels[name] = value
		}
	}
	if len(row) != len(columns) {
		return nil, &budget.InputError{File: f.name(), Text: "a point has more or fewer values than columns"}
	}
	for i, column := range columns {
		if string(row[i]) == "null" {
			continue
		}
		if err := setColumn(r, column, row[i]); err != nil {
			return nil, &budget.InputError{File: f.name(), Text: fmt.Sprintf("point at %s: %s: %v", r.Start.Format(time.RFC3339Nano), column, err)}
		}
	}
	return r, nil
}

// setColumn takes over one field of a point. Fields that are no numbers and that we do not know are left out.
func setColumn(r *probes.Result, column string, text json.RawMessage) error {
	var number float64
	var word string
	isNumber := json.Unmarshal(text, &number) == nil
	isWord := !isNumber && json.Unmarshal(text, &word) == nil
	switch hist, isHist := strings.CutSuffix(column, "_hist"); {
	case column == "time":
		var ns int64
		if err := json.Unmarshal(text, &ns); err != nil {
			return err
		}
		r.Start = time.Unix(0, ns).UTC()
	case column == "seq":
		return json.Unmarshal(text, &r.ID.Seq)
	case column == "boot":
		r.ID.Boot = word
	case column == "outcome":
		r.Outcome = probes.Outcome(word)
	case column == "error":
		r.Error = word
	case column == "elapsed_seconds":
		r.Elapsed = time.Duration(number * float64(time.Second))
	case column == "quality":
		q, err := probes.ParseQuality(word)
		r.Quality = q
		return err
	case isHist && isWord:
		h, err := probes.ParseHist(word)
		if err != nil {
			return err
		}
		r.Hists[hist] = h
	case isNumber:
		r.Values[column] = number
	}
	return nil
}
