package budget

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// ReportSchema is the word in JSON reports that says what they are. The number grows with every change that an older
// reader would misread; keys are only ever added otherwise.
const (
	ReportSchema     = reportSchemaName + "1"
	reportSchemaName = "nrprobe-check/"
)

type reportJSON struct {
	Schema     string        `json:"schema"`
	Outcome    Outcome       `json:"outcome"`
	Summary    string        `json:"summary"`
	Start      time.Time     `json:"start"`
	Elapsed    float64       `json:"elapsed_seconds"`
	Sequential bool          `json:"sequential"`
	Error      string        `json:"error,omitempty"`
	Warnings   []string      `json:"warnings,omitempty"`
	Conditions Conditions    `json:"conditions"`
	Budgets    []verdictJSON `json:"budgets"`
}

// verdictJSON is one verdict. Figures that do not exist, and bounds at infinity, are left out.
type verdictJSON struct {
	Name       string            `json:"name"`
	Outcome    Outcome           `json:"outcome"`
	Reason     string            `json:"reason"`
	Against    Against           `json:"against"`
	Metric     string            `json:"metric"`
	Statistic  string            `json:"statistic"`
	Unit       string            `json:"unit"`
	Bound      *float64          `json:"bound,omitempty"`
	AtLeast    *float64          `json:"at_least,omitempty"`
	Confidence float64           `json:"confidence"`
	Tags       map[string]string `json:"tags,omitempty"`
	Note       string            `json:"note,omitempty"`

	Estimate  *float64 `json:"estimate,omitempty"`
	Lower     *float64 `json:"lower,omitempty"`
	Upper     *float64 `json:"upper,omitempty"`
	Reference *float64 `json:"reference,omitempty"`
	Tolerated *float64 `json:"tolerated,omitempty"`
	P         *float64 `json:"p_value,omitempty"`

	Samples   int            `json:"samples"`
	Effective *float64       `json:"effective_samples,omitempty"`
	Lost      int            `json:"lost"`
	Results   int            `json:"results"`
	Doubtful  int            `json:"doubtful_results"`
	Flags     map[string]int `json:"doubtful_flags,omitempty"`
	Span      float64        `json:"span_seconds,omitempty"`
	More      int            `json:"more_samples,omitempty"`
	Since     *Since         `json:"since,omitempty"`
}

// finite is nil for what JSON cannot hold.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func (v *Verdict) json() verdictJSON {
	c := v.Criterion
	j := verdictJSON{
		Name: v.Name, Outcome: v.Outcome, Reason: v.Reason, Against: v.Against,
		Metric: c.Metric.HistName(c.Direction), Statistic: c.Statistic.Text, Unit: string(c.Metric.Unit),
		Confidence: c.Confidence, Tags: c.Tags, Note: c.Note,
		Estimate: finite(v.Estimate), Lower: finite(v.Lower), Upper: finite(v.Upper),
		Reference: finite(v.Reference), Tolerated: finite(v.Tolerated), P: finite(v.P),
		Samples: v.Samples, Lost: v.Lost, Results: v.Results, Doubtful: v.Doubtful, Flags: v.Flags,
		Span: v.Span.Seconds(), More: v.More, Since: v.Since,
	}
	if v.Effective > 0 {
		j.Effective = finite(v.Effective)
	}
	if c.Shared() {
		j.Unit = "ratio"
	}
	switch {
	case c.Statistic.Form == Reliability || c.Statistic.Form == Availability:
		j.Bound, j.AtLeast = finite(c.Limit), finite(c.AtLeast)
	case c.LargerIsBetter:
		j.AtLeast = finite(c.Limit)
	default:
		j.Bound = finite(c.Limit)
	}
	return j
}

// WriteJSON writes the report for machines, as one object with the schema ReportSchema.
func (r *Report) WriteJSON(w io.Writer) error {
	j := reportJSON{
		Schema: ReportSchema, Outcome: r.Outcome, Summary: r.summary(), Start: r.Start, Elapsed: r.Elapsed.Seconds(),
		Sequential: r.Sequential, Warnings: r.Warnings, Conditions: r.Conditions, Budgets: []verdictJSON{},
	}
	if r.Err != nil {
		j.Error = r.Err.Error()
	}
	for i := range r.Verdicts {
		j.Budgets = append(j.Budgets, r.Verdicts[i].json())
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(j); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}
