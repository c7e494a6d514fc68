// Package store fetches evidence for budgets from where results are kept: Prometheus (and what speaks its query API, our
// collector among them) or InfluxDB.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
)

// MaxAnswer is the largest answer of a store that is read.
const MaxAnswer = 256 << 20

// Kind is the sort of store.
type Kind string

// The kinds of stores.
const (
	Prometheus Kind = "prometheus"
	Influx     Kind = "influx"
)

// Query says where to look and for which time.
type Query struct {
	Kind Kind
	// URL is the store's own address. For InfluxDB the database is its query parameter db, "nrprobe" when it has none.
	URL *url.URL
	// From and To bound the time of the results.
	From, To time.Time
	// Token goes into the header Authorization; "" for none.
	Token string
	// Step is the length of the windows that Prometheus is asked for; 0 chooses one.
	Step time.Duration
}

// Parse reads the command line's form: "prometheus=URL" or "influx=URL".
func Parse(text string) (Query, error) {
	kind, address, _ := strings.Cut(text, "=")
	q := Query{Kind: Kind(kind)}
	if q.Kind != Prometheus && q.Kind != Influx {
		return q, fmt.Errorf("%q names no store: write it like prometheus=http://127.0.0.1:9090 or influx=http://127.0.0.1:8086?db=nr", text)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return q, fmt.Errorf("%q is no address of a store: write it like http://127.0.0.1:9090", address)
	}
	q.URL = u
	return q, nil
}

// Fetch gets the results that a plan's criteria are about. Errors of the network and of the store are probes.Failure, so
// that probes.Classify tells an unreachable store from one that refuses; answers that make no sense are *budget.InputError.
func Fetch(ctx context.Context, client *http.Client, q Query, plan *budget.Plan) (*budget.Input, error) {
	if !q.From.Before(q.To) {
		return nil, fmt.Errorf("the time range ends at %s, before it begins at %s", q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	}
	f := &fetcher{client: client, query: q}
	in := &budget.Input{}
	var err error
	switch q.Kind {
	case Prometheus:
		in.Pieces, err = f.prometheus(ctx, plan)
	case Influx:
		in.Pieces, err = f.influx(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(in.Pieces) == 0 {
		return nil, &budget.InputError{File: f.name(), Text: fmt.Sprintf("holds no results of these budgets from %s to %s", q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339))}
	}
	slices.SortStableFunc(in.Pieces, func(a, b budget.Piece) int { return a.Result.Start.Compare(b.Result.Start) })
	in.Conditions = budget.ConditionsOf(in.Pieces, "", "")
	in.Warnings = f.warnings
	return in, nil
}

type fetcher struct {
	client   *http.Client
	query    Query
	warnings []string
}

// name is the store in errors, without user and password.
func (f *fetcher) name() string { return f.query.URL.Redacted() }

// get asks the store and decodes its JSON. path is put behind the store's own.
func (f *fetcher) get(ctx context.Context, path string, parameters url.Values, into any) error {
	u := *f.query.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	merged := u.Query()
	maps.Copy(merged, parameters)
	u.RawQuery = merged.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", f.name(), err)
	}
	if f.query.Token != "" {
		scheme := map[Kind]string{Prometheus: "Bearer ", Influx: "Token "}[f.query.Kind]
		request.Header.Set("Authorization", scheme+f.query.Token)
	}
	response, err := f.client.Do(request)
	if err != nil {
		// The inner error alone: the outer one has the whole query in it.
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return probes.Fail(reached(err), "store %s cannot be reached: %w", f.name(), err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	if err != nil {
		return probes.Fail(reached(err), "reading the answer of %s: %w", f.name(), err)
	}
	if len(body) > MaxAnswer {
		return &budget.InputError{File: f.name(), Text: fmt.Sprintf("answers with more than %d MiB: ask for a shorter time", MaxAnswer>>20)}
	}
	if response.StatusCode != http.StatusOK {
		return f.refused(response.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &budget.InputError{File: f.name(), Text: "the answer is not what this store should say: " + err.Error()}
	}
	return nil
}

// reached classifies errors of the way to the store; what Classify cannot name did not get there either.
func reached(err error) probes.Outcome {
	if o := probes.Classify(err); o != probes.Error {
		return o
	}
	return probes.Unreachable
}

// refused turns a status into an error with what the store said.
func (f *fetcher) refused(status int, body []byte) error {
	said := strings.TrimSpace(string(body[:min(len(body), 200)]))
	outcome := probes.Refused
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		outcome = probes.Auth
	}
	return probes.Fail(outcome, "store %s answers %d %s: %s", f.name(), status, http.StatusText(status), said)
}
