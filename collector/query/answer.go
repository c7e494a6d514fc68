package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// endpoint answers one request with data and warnings.
type endpoint func(r *http.Request) (data any, warnings []string, err error)

// fixed is an endpoint that always says the same.
func fixed(data any) endpoint {
	return func(*http.Request) (any, []string, error) { return data, nil, nil }
}

// apiError is an error with its word and status in the API.
type apiError struct {
	kind   string
	status int
	err    error
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func badData(format string, args ...any) *apiError {
	return &apiError{kind: "bad_data", status: http.StatusBadRequest, err: fmt.Errorf(format, args...)}
}

// execution classifies what went wrong while a query ran.
func execution(err error) *apiError {
	_, canceled := errors.AsType[promql.ErrQueryCanceled](err)
	_, timeout := errors.AsType[promql.ErrQueryTimeout](err)
	_, storage := errors.AsType[promql.ErrStorage](err)
	switch {
	case timeout:
		return &apiError{kind: "timeout", status: http.StatusServiceUnavailable, err: err}
	case canceled, errors.Is(err, context.Canceled):
		return &apiError{kind: "canceled", status: 499, err: err} // nobody reads it any more; 499 is for the log
	case storage:
		return &apiError{kind: "internal", status: http.StatusInternalServerError, err: err}
	default:
		return &apiError{kind: "execution", status: http.StatusUnprocessableEntity, err: err}
	}
}

// response is the envelope of every answer.
type response struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// maxForm is the largest form that is read: a long query of Grafana has some ten kilobytes.
const maxForm = 1 << 20

// answer wraps an endpoint into the envelope.
func (a *API) answer(f endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		var said response
		status := http.StatusOK
		err := r.ParseForm()
		if err != nil {
			err = badData("reading form: %w", err)
		} else {
			said.Data, said.Warnings, err = f(r)
		}
		said.Status = "success"
		if err != nil {
			e, ok := errors.AsType[*apiError](err)
			if !ok {
				e = execution(err)
			}
			status = e.status
			said = response{Status: "error", ErrorType: e.kind, Error: e.Error()}
		}
		text, err := json.Marshal(said)
		if err != nil {
			a.log.Error("writing the answer to a query", "error", err)
			http.Error(w, `{"status":"error","errorType":"internal","error":"the answer cannot be written"}`, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(text)
	})
}

// encode writes down the value of a query.
func encode(value parser.Value) json.RawMessage {
	b := append([]byte(`{"resultType":"`), string(value.Type())...)
	b = append(b, `","result":`...)
	switch v := value.(type) {
	case promql.Matrix:
		b = append(b, '[')
		for i, s := range v {
			b = comma(b, i)
			b = appendSeries(b, s)
		}
		b = append(b, ']')
	case promql.Vector:
		b = append(b, '[')
		for i, s := range v {
			b = comma(b, i)
			b = appendMetric(b, s.Metric)
			if s.H != nil {
				b = append(b, `"histogram":`...)
				b = appendJSON(b, promql.HPoint{T: s.T, H: s.H})
			} else {
				b = append(b, `"value":`...)
				b = appendPoint(b, s.T, s.F)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	case promql.Scalar:
		b = appendPoint(b, v.T, v.V)
	default:
		b = appendJSON(b, value)
	}
	return append(b, '}')
}

func appendSeries(b []byte, s promql.Series) []byte {
	b = appendMetric(b, s.Metric)
	if len(s.Floats) > 0 {
		b = append(b, `"values":[`...)
		for i, p := range s.Floats {
			b = comma(b, i)
			b = appendPoint(b, p.T, p.F)
		}
		b = append(b, ']')
	}
	if len(s.Histograms) > 0 {
		if len(s.Floats) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"histograms":[`...)
		for i, p := range s.Histograms {
			b = comma(b, i)
			b = appendJSON(b, p)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendMetric opens the object of a series.
func appendMetric(b []byte, ls labels.Labels) []byte {
	b = append(b, `{"metric":`...)
	b = appendJSON(b, ls)
	return append(b, ',')
}

// appendPoint writes [seconds, "value"].
func appendPoint(b []byte, ms int64, v float64) []byte {
	b = append(b, '[')
	b = strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
	b = append(b, `,"`...)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	return append(b, `"]`...)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // labels, strings and points can always be written
		return append(b, "null"...)
	}
	return append(b, text...)
}
