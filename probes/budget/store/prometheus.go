package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
)

// Prometheus is asked for the increase of histograms and counters in windows, each of which becomes a Result. Windows are
// long enough to hold some scrapes, and few enough for the store's own limit of 11,000 points.
const (
	leastStep  = 30 * time.Second
	mostPoints = 250
)

func (f *fetcher) step() time.Duration {
	if f.query.Step > 0 {
		return f.query.Step
	}
	return max(leastStep, f.query.To.Sub(f.query.From)/mostPoints).Round(time.Second)
}

// window is what is known of one set of labels in one window.
type window struct {
	labels string
	end    int64 // milliseconds since 1970
}

// collecting puts the series of one check together again.
type collecting struct {
	*fetcher
	windows map[window]*probes.Result
	asked   map[string]bool // expressions
	seen    map[string]bool // points, which overlapping selectors give twice
}

func (f *fetcher) prometheus(ctx context.Context, plan *budget.Plan) ([]budget.Piece, error) {
	c := &collecting{fetcher: f, windows: map[window]*probes.Result{}, asked: map[string]bool{}, seen: map[string]bool{}}
	for i := range plan.Criteria {
		if err := c.criterion(ctx, &plan.Criteria[i]); err != nil {
			return nil, err
		}
	}
	var pieces []budget.Piece
	for _, r := range c.windows {
		if len(r.Hists)+len(r.Values) > 0 {
			pieces = append(pieces, budget.Piece{Result: r})
		}
	}
	return pieces, nil
}

// criterion asks for all that a criterion needs.
func (c *collecting) criterion(ctx context.Context, criterion *budget.Criterion) error {
	metrics := []*probes.Metric{criterion.Metric, probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost}
	if criterion.Metric == probes.LossRatio {
		metrics = metrics[1:]
	}
	for _, m := range metrics {
		if err := c.metric(ctx, m, selector(criterion)); err != nil {
			return err
		}
	}
	// Windows in which the instrument was late carry its flags, so that they are left out.
	return c.series(ctx, "nrprobe_quality_flags_total", selector(criterion), func(r *probes.Result, labels map[string]string, p point) error {
		if q, err := probes.ParseQuality(labels["flag"]); err == nil && p.value > 0.5 {
			r.Quality |= q
		}
		return nil
	})
}

// selector are the labels that a criterion asks for, in PromQL.
func selector(c *budget.Criterion) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+strconv.Quote(value))
		}
	}
	add("target", c.Target)
	add("kind", c.Kind)
	for name, value := range c.Tags {
		add(name, value)
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

func (c *collecting) metric(ctx context.Context, m *probes.Metric, selector string) error {
	return c.series(ctx, m.PrometheusName(), selector, func(r *probes.Result, labels map[string]string, p point) error {
		d := probes.Both
		for _, known := range []probes.Direction{probes.Up, probes.Down} {
			if labels["direction"] == known.String() {
				d = known
			}
		}
		switch {
		case p.hist != nil:
			if h, err := p.hist.convert(); err != nil {
				return err
			} else if h.Count() > 0 {
				r.Hists[m.HistName(d)] = h
			}
		case m.Type == probes.Counter:
			// The label direction splits a total, so the total is the sum over it.
			r.Values[m.ValueName(d, "")] += math.Round(p.value)
			if d != probes.Both {
				r.Values[m.ValueName(probes.Both, "")] += math.Round(p.value)
			}
		case m.Type == probes.Gauge:
			r.Values[m.ValueName(d, "")] = p.value
		}
		return nil
	})
}

// point is one value of one series.
type point struct {
	name  string
	value float64
	hist  *promHist
}

type matrix struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric     map[string]string    `json:"metric"`
			Values     [][2]json.RawMessage `json:"values"`
			Histograms [][2]json.RawMessage `json:"histograms"`
		} `json:"result"`
	} `json:"data"`
}

// series asks for one metric in windows and hands out every point with the Result of its window.
func (c *collecting) series(ctx context.Context, name, selector string, take func(*probes.Result, map[string]string, point) error) error {
	step := c.step()
	expression := fmt.Sprintf("increase(%s%s[%ds])", name, selector, int(step.Seconds()))
	if strings.HasSuffix(name, "_total") || isHistogram(name) {
		if c.asked[expression] {
			return nil
		}
	} else {
		expression = fmt.Sprintf("last_over_time(%s%s[%ds])", name, selector, int(step.Seconds()))
	}
	c.asked[expression] = true
	var answer matrix
	err := c.get(ctx, "/api/v1/query_range", url.Values{
		"query": {expression}, "start": {stamp(c.query.From.Add(step))}, "end": {stamp(c.query.To)}, "step": {strconv.Itoa(int(step.Seconds()))},
	}, &answer)
	if err != nil {
		return err
	}
	for _, s := range answer.Data.Result {
		for _, v := range s.Values {
			var text string
			if err := json.Unmarshal(v[1], &text); err != nil {
				return c.odd(name, err)
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
				continue
			}
			if err := c.point(s.Metric, v[0], step, point{name: name, value: value}, take); err != nil {
				return c.odd(name, err)
			}
		}
		for _, v := range s.Histograms {
			p := point{name: name, hist: &promHist{}}
			if err := json.Unmarshal(v[1], p.hist); err != nil {
				return c.odd(name, err)
			}
			if err := c.point(s.Metric, v[0], step, p, take); err != nil {
				return c.odd(name, err)
			}
		}
	}
	return nil
}

func (c *collecting) odd(name string, err error) error {
	return &budget.InputError{File: c.name(), Text: fmt.Sprintf("%s: %v", name, err)}
}

func isHistogram(name string) bool {
	return slices.ContainsFunc(probes.Vocabulary(), func(m *probes.Metric) bool {
		return m.Type == probes.Distribution && m.PrometheusName() == name
	})
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }

// point finds the Result of a point's labels and window, and hands both on.
func (c *collecting) point(metric map[string]string, at json.RawMessage, step time.Duration, p point, take func(*probes.Result, map[string]string, point) error) error {
	var seconds float64
	if err := json.Unmarshal(at, &seconds); err != nil {
		return err
	}
	end := int64(math.Round(seconds * 1e3))
	w := window{labels: identity(metric), end: end}
	key := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%d", p.name, w.labels, metric["direction"], metric["flag"], end)
	if c.seen[key] {
		return nil
	}
	c.seen[key] = true
	r := c.windows[w]
	if r == nil {
		r = &probes.Result{
			Agent: metric["agent"], Kind: metric["kind"], Probe: metric["probe"], Target: metric["target"], Outcome: probes.OK,
			Start: time.UnixMilli(end).Add(-step).UTC(), Elapsed: step, Labels: map[string]string{}, Values: map[string]float64{}, Hists: map[string]*probes.Hist{},
		}
		for name, value := range metric {
			if !slices.Contains(notLabels(), name) {
				r.Labels[name] = value
			}
		}
		c.windows[w] = r
	}
	return take(r, metric, p)
}

// notLabels are the labels of a series that are not the user's own.
func notLabels() []string {
	return []string{"__name__", "agent", "kind", "probe", "target", "direction", "flag", "instance", "job", "le"}
}

// identity are the labels that name a stream of results.
func identity(metric map[string]string) string {
	var parts []string
	for name, value := range metric {
		if name != "__name__" && name != "direction" && name != "flag" {
			parts = append(parts, name+"="+value)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x00")
}

// promHist is a native histogram in the JSON of the query API.
type promHist struct {
	Count   string               `json:"count"`
	Sum     string               `json:"sum"`
	Buckets [][4]json.RawMessage `json:"buckets"` // boundary rule, lower, upper, count
}

// convert makes one of our histograms of it. Their buckets are ours, so nothing is lost but the exact smallest and largest
// value; buckets that the store made coarser are refused. Counts are fractions by extrapolation, and rounded.
func (p *promHist) convert() (*probes.Hist, error) {
	text := struct {
		Schema int        `json:"schema"`
		Count  uint64     `json:"count"`
		Sum    float64    `json:"sum"`
		Min    float64    `json:"min"`
		Max    float64    `json:"max"`
		Zero   uint64     `json:"zero"`
		Pairs  [][2]int64 `json:"buckets"`
	}{Schema: probes.HistSchema, Pairs: [][2]int64{}}
	for _, b := range p.Buckets {
		var parts [3]float64
		for i := range parts {
			var number string
			if err := json.Unmarshal(b[i+1], &number); err != nil {
				return nil, err
			}
			v, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return nil, err
			}
			parts[i] = v
		}
		lower, upper, count := parts[0], parts[1], math.Round(parts[2])
		if !(count >= 1 && count < 1e15) {
			continue
		}
		if text.Count == 0 {
			text.Min = max(0, lower)
		}
		text.Count += uint64(count)
		text.Max = upper
		if lower <= 0 {
			text.Zero += uint64(count)
			continue
		}
		const perOctave = 1 << probes.HistSchema
		if width := math.Log2(upper/lower) * perOctave; !(math.Abs(width-1) < 0.01) {
			return nil, fmt.Errorf("buckets are %.0f times as wide as nrprobe's: the store reduced their resolution (native_histogram_bucket_limit)", width)
		}
		text.Pairs = append(text.Pairs, [2]int64{int64(math.Round(math.Log2(upper) * perOctave)), int64(count)})
	}
	if sum, err := strconv.ParseFloat(p.Sum, 64); err == nil && !math.IsNaN(sum) && !math.IsInf(sum, 0) {
		text.Sum = sum
	}
	encoded, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	h := &probes.Hist{}
	return h, h.UnmarshalJSON(encoded)
}
