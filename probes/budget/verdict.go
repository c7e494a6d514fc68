package budget

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Verdict is what a check found about one criterion. Figures are in the metric's base unit, or shares.
type Verdict struct {
	Name      string
	Criterion *Criterion
	Against   Against
	Outcome   Outcome
	// Estimate is the figure itself; Lower and Upper are its one-sided confidence bounds, infinite where there are too few
	// samples for one. For comparisons all three are about the difference, positive when it is worse than the baseline.
	Estimate, Lower, Upper float64
	// Reference is the same figure of the baseline, Tolerated how much worse is tolerated; for comparisons only.
	Reference, Tolerated float64
	// P is the probability to see as bad a measurement as this one if the budget were kept (for comparisons: if nothing
	// had changed), adjusted for the number of looks and, by Holm's method, of budgets; NaN when nothing was tested.
	P float64
	// Samples, Effective, Lost, Results and Doubtful say what it rests on.
	Samples           int
	Effective         float64
	Lost              int
	Results, Doubtful int
	Flags             map[string]int
	Span              time.Duration
	// More is how many more samples would settle it, 0 when it is settled or nobody can tell.
	More int
	// Since is where it became bad; nil unless the verdict is Fail.
	Since *Since
	// Reason says in one or two sentences for a person: what, by how much, how sure, since when; or what is missing.
	Reason string
	// Values is the distribution, for charts, and Before that of the baseline; nil when there is none.
	Values, Before stats.Record
}

// Verdicts returns what was found, in the order of the trials.
func (f *Family) Verdicts() []Verdict {
	list := make([]Verdict, len(f.Trials))
	p := make([]float64, len(f.Trials))
	for i, t := range f.Trials {
		list[i] = t.verdict()
		if p[i] = list[i].P; math.IsNaN(p[i]) {
			p[i] = 1
		}
	}
	for i, adjusted := range stats.Holm(p) {
		if !math.IsNaN(list[i].P) {
			list[i].P = adjusted
		}
	}
	return list
}

func (t *Trial) verdict() Verdict {
	c, e := t.Criterion, t.look.evidence
	v := Verdict{Name: c.Name, Criterion: c, Against: t.Against, Outcome: t.Outcome(), P: math.NaN()}
	v.Estimate, v.Lower, v.Upper, v.Reference, v.Tolerated = math.NaN(), math.Inf(-1), math.Inf(1), math.NaN(), math.NaN()
	if e == nil {
		v.Reason = "nothing was measured"
		return v
	}
	v.Samples, v.Lost, v.Results, v.Doubtful, v.Flags, v.Span = int(math.Round(e.N())), e.Lost, e.Results, e.Doubtful, e.Flags, e.Span
	v.Values = e.Record
	if t.Baseline != nil {
		v.Before = t.Baseline.Record
	}
	if t.look.test != nil {
		t.measure(&v)
	}
	v.Reason = t.reason(&v)
	return v
}

// measure fills in the figures.
func (t *Trial) measure(v *Verdict) {
	test, alpha := t.look.test, t.look.alpha
	f := test.figures(alpha)
	v.Estimate, v.Lower, v.Upper = f.estimate, f.lower, f.upper
	v.Effective = t.look.evidence.N() / f.effect
	v.P = min(1, stats.PValue(test.fails)/t.look.weight)
	if d, ok := test.(differenceTest); ok {
		v.Tolerated = d.tolerated
		v.Reference = t.reference()
	} else {
		t.orient(v)
	}
	if v.Outcome == Inconclusive && t.Criterion.Statistic.Form != Extreme {
		more, ok := t.look.settlesAt()
		if least := float64(t.Criterion.needs(alpha)) * f.effect; ok || v.Effective < float64(t.Criterion.needs(alpha)) {
			v.More = int(math.Ceil(max(more, least-t.look.evidence.N(), 0)))
		}
	}
	if v.Outcome == Fail {
		s := since(t.look.evidence, t.sinceLimit())
		v.Since = &s
	}
}

// orient turns figures on the scale on which larger is worse into those that people use.
func (t *Trial) orient(v *Verdict) {
	switch c := t.Criterion; {
	case c.Statistic.Form == Reliability || c.Statistic.Form == Availability:
		v.Estimate, v.Lower, v.Upper = 1-v.Estimate, 1-v.Upper, 1-v.Lower
	case c.LargerIsBetter:
		v.Estimate, v.Lower, v.Upper = -v.Estimate, -v.Upper, -v.Lower
	}
}

// reference is the baseline's own figure.
func (t *Trial) reference() float64 {
	v := Verdict{Estimate: newTest(t.Criterion, t.Baseline).figures(0.05).estimate}
	t.orient(&v)
	return v.Estimate
}

// sinceLimit is the threshold at which the change is looked for: the limit, or the baseline's figure.
func (t *Trial) sinceLimit() float64 {
	c := t.Criterion
	if t.Against == Bound && c.Statistic.Form != Mean || c.Shared() {
		return c.worseLimit()
	}
	source := t.Baseline
	if t.Against == Bound {
		return c.worseLimit()
	}
	x, _ := source.Record.AtRank(math.Ceil(max(c.q(), 0.5) * source.N()))
	return x
}

// reason is the verdict in words.
func (t *Trial) reason(v *Verdict) string {
	if v.Outcome == Inconclusive {
		return t.missing(v)
	}
	var b strings.Builder
	t.finding(&b, v)
	fmt.Fprintf(&b, "; %s", t.ground(v))
	if v.Since != nil {
		b.WriteString(t.story(v))
	}
	return b.String()
}

func (t *Trial) finding(b *strings.Builder, v *Verdict) {
	c := t.Criterion
	what := c.what()
	if t.Against != Bound {
		t.comparison(b, v, what)
		return
	}
	nearest := v.Upper
	words := map[Outcome]string{Pass: "at most", Fail: "above"}
	if c.LargerIsBetter || c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
		nearest = v.Lower
		words = map[Outcome]string{Pass: "at least", Fail: "below"}
	}
	if v.Outcome == Fail {
		nearest = v.Lower
		if words[Fail] == "below" {
			nearest = v.Upper
		}
	}
	limit := c.Limit
	if c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
		limit = c.AtLeast
	}
	asked := "allowed"
	if words[Pass] == "at least" {
		asked = "asked for"
	}
	how := words[v.Outcome]
	if excess := math.Abs(v.Estimate-limit) / limit; v.Outcome == Fail && limit > 0 && !c.Shared() && !math.IsInf(excess, 0) {
		how = fmt.Sprintf("%.3g %% %s", 100*excess, how)
		if excess >= 1 {
			how = fmt.Sprintf("%.3g times", v.Estimate/limit)
		}
	}
	estimate := c.format(v.Estimate)
	if math.IsInf(v.Estimate, 1) {
		estimate += ", as more than " + formatShare(1-c.q()) + " were lost"
	}
	fmt.Fprintf(b, "%s is %s, %s the %s %s", what, estimate, how, c.format(limit), asked)
	if c.Statistic.Form == Extreme {
		b.WriteString(" (of what was measured, which says nothing certain about the link)")
		return
	}
	if math.IsInf(nearest, 1) {
		fmt.Fprintf(b, " (%s sure of that)", formatShare(c.Confidence))
		return
	}
	fmt.Fprintf(b, " (%s sure that it is %s %s)", formatShare(c.Confidence), words[v.Outcome], c.format(nearest))
}

func (t *Trial) comparison(b *strings.Builder, v *Verdict, what string) {
	c := t.Criterion
	better, worse := "lower", "higher"
	now := v.Reference + v.Estimate
	if c.LargerIsBetter || c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
		better, worse = worse, better
		now = v.Reference - v.Estimate
	}
	direction := worse
	if v.Estimate < 0 {
		direction = better
	}
	baseline := "the baseline's"
	if t.Against == Pair {
		baseline = "the other target's"
	}
	if v.Estimate == 0 {
		fmt.Fprintf(b, "%s is %s, like %s", what, c.format(now), baseline)
	} else {
		fmt.Fprintf(b, "%s is %s, %s %s than %s %s", what, c.format(now), c.format(math.Abs(v.Estimate)), direction, baseline, c.format(v.Reference))
		if v.Reference > 0 {
			fmt.Fprintf(b, " (%+.1f %%)", 100*(now-v.Reference)/v.Reference)
		}
	}
	sure := formatShare(c.Confidence) + " sure that it is"
	if v.Outcome == Fail {
		fmt.Fprintf(b, ", more than the %s tolerated (%s at least %s %s)", c.format(v.Tolerated), sure, c.format(v.Lower), worse)
	} else {
		fmt.Fprintf(b, ", within the %s tolerated (%s at most %s %s)", c.format(v.Tolerated), sure, c.format(math.Max(0, v.Upper)), worse)
	}
}

// ground is what the verdict rests on.
func (t *Trial) ground(v *Verdict) string {
	text := fmt.Sprintf("%d samples", v.Samples)
	if c := t.Criterion; c.Statistic.Form == Availability {
		text = fmt.Sprintf("%d survival times of %v", v.Samples, c.Survival)
	}
	if v.Effective < float64(v.Samples)*0.95 {
		text += fmt.Sprintf(" that tell as much as %.0f independent ones", v.Effective)
	}
	if v.Lost > 0 {
		text += fmt.Sprintf(", %d of them lost", v.Lost)
	}
	if v.Doubtful > 0 {
		text += fmt.Sprintf(", %d doubtful of %d results left out", v.Doubtful, v.Doubtful+v.Results)
	}
	return text
}

// story is since when it is worse, and by how much.
func (t *Trial) story(v *Verdict) string {
	if v.Since.Sample == 1 {
		return "; it is so from the first sample on"
	}
	c, at := t.Criterion, ""
	if !v.Since.Time.IsZero() {
		at = v.Since.Time.UTC().Format("15:04:05.000") + " UTC"
	}
	if c.Statistic.Form == Availability {
		return fmt.Sprintf("; worse since about %s: not available for %s of the time from there, %s before", at, formatShare(v.Since.After), formatShare(v.Since.Before))
	}
	if at != "" {
		at = " (" + at + ")"
	}
	beyond := ""
	if c.Statistic.Form != Share {
		beyond = " of samples above " + formatQuantity(c.Metric.Unit, t.sinceLimit())
		if c.LargerIsBetter {
			beyond = " of samples below " + formatQuantity(c.Metric.Unit, -t.sinceLimit())
		}
	}
	return fmt.Sprintf("; worse since sample %d%s: %s%s from there, %s before", v.Since.Sample, at, formatShare(v.Since.After), beyond, formatShare(v.Since.Before))
}

// missing says what an inconclusive verdict lacks.
func (t *Trial) missing(v *Verdict) string {
	if t.look.obstacle != "" {
		return t.look.obstacle
	}
	if t.look.test == nil {
		return "nothing was measured"
	}
	c := t.Criterion
	what := c.what()
	bounds := fmt.Sprintf("between %s and %s", c.format(v.Lower), c.format(v.Upper))
	switch {
	case math.IsInf(v.Upper, 1) && math.IsInf(v.Lower, -1):
		bounds = "anywhere"
	case math.IsInf(v.Upper, 1):
		bounds = "at least " + c.format(v.Lower)
	case math.IsInf(v.Lower, -1):
		bounds = "at most " + c.format(v.Upper)
	}
	text := fmt.Sprintf("%s is %s and may be %s (%s sure each way), %s is asked for", what, c.format(v.Estimate), bounds, formatShare(c.Confidence), v.allowed())
	if t.Against != Bound {
		text = fmt.Sprintf("%s differs by %s from %s and may by %s; %s are tolerated", what, c.format(v.Estimate), c.format(v.Reference), bounds, c.format(v.Tolerated))
	}
	text += "; " + t.ground(v)
	if least := c.needs(1 - c.Confidence); v.Samples < least {
		text += fmt.Sprintf("; it takes at least %d to pass", least)
	}
	if q, ok := t.look.test.(quantileTest); ok && t.look.passing > 0 && q.rests(t.look.passing) {
		return text + "; it would pass, if its worst stretch were not to come once more: measure for longer to see how often it does"
	}
	if v.More > 0 {
		text += fmt.Sprintf("; about %d more samples would settle it", v.More)
		if v.Span > 0 && v.Samples > 0 {
			text += ", " + roughly(time.Duration(float64(v.Span)*float64(v.More)/float64(v.Samples))) + " at this rate"
		}
		return text
	}
	return text + "; more samples would hardly settle it: it is too near the line"
}

// roughly writes a duration with as many digits as a forecast has.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", math.Ceil(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", math.Ceil(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", math.Ceil(d.Hours()))
	}
	return fmt.Sprintf("%.0f days", math.Ceil(d.Hours()/24))
}
