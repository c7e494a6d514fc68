package budget

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// WriteTable writes the report for a person at a terminal: a line for each verdict, and below the table what is to be known
// about those that did not pass.
func (r *Report) WriteTable(w io.Writer) error {
	rows := [][]string{{"", "BUDGET", "FOUND", "ALLOWED", "SAMPLES"}}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		rows = append(rows, []string{strings.ToUpper(string(v.Outcome)), v.title(), v.found(), v.allowed(), v.samples()})
	}
	var b strings.Builder
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Outcome != Pass {
			fmt.Fprintf(&b, "\n%s: %s: %s.\n", v.Outcome, v.title(), v.Reason)
		}
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "\nnote: %s.\n", warning)
	}
	fmt.Fprintf(&b, "\n%s: %s (%.1f s)\n", strings.ToUpper(string(r.Outcome)), r.summary(), r.Elapsed.Seconds())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// title is the verdict's name and what it was compared with.
func (v *Verdict) title() string {
	switch v.Against {
	case Baseline:
		return v.Name + " (baseline)"
	case Pair:
		return v.Name + " (in turns)"
	case Bound:
	}
	return v.Name
}

// found is the figure with its bounds.
func (v *Verdict) found() string {
	c := v.Criterion
	if math.IsNaN(v.Estimate) {
		return "–"
	}
	if v.Against != Bound && math.IsInf(v.Reference, 0) {
		return "no figure of the baseline"
	}
	if v.Against != Bound && math.IsInf(v.Estimate, 0) {
		return fmt.Sprintf("unbounded, was %s", c.format(v.Reference))
	}
	if v.Against != Bound {
		worse := v.Estimate
		if c.LargerIsBetter || c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
			worse = -worse
		}
		sign := "+"
		if worse < 0 {
			sign = "−"
		}
		return fmt.Sprintf("%s (%s%s)", c.format(v.Reference+worse), sign, c.format(math.Abs(worse)))
	}
	if c.Statistic.Form == Extreme {
		return c.format(v.Estimate)
	}
	low, high := "–", "–"
	if !math.IsInf(v.Lower, 0) {
		low = c.format(v.Lower)
	}
	if !math.IsInf(v.Upper, 0) {
		high = c.format(v.Upper)
	}
	return fmt.Sprintf("%s [%s, %s]", c.format(v.Estimate), low, high)
}

// allowed is the limit.
func (v *Verdict) allowed() string {
	c := v.Criterion
	switch {
	case v.Against != Bound && (math.IsNaN(v.Tolerated) || math.IsInf(v.Tolerated, 0)):
		return "–"
	case v.Against != Bound && (c.LargerIsBetter || c.Statistic.Form == Reliability || c.Statistic.Form == Availability):
		return "−" + c.format(v.Tolerated)
	case v.Against != Bound:
		return "+" + c.format(v.Tolerated)
	case c.Statistic.Form == Reliability || c.Statistic.Form == Availability:
		return "≥ " + formatShare(c.AtLeast)
	case c.LargerIsBetter:
		return "≥ " + c.format(c.Limit)
	}
	return "≤ " + c.format(c.Limit)
}

func (v *Verdict) samples() string {
	text := fmt.Sprint(v.Samples)
	if v.Effective > 0 && v.Effective < 0.95*float64(v.Samples) {
		text += fmt.Sprintf(" (as %.0f)", v.Effective)
	}
	return text
}

// WriteAnnotations writes workflow commands that GitHub shows beside the run: errors for what failed, warnings for what is
// inconclusive or has to be known.
func (r *Report) WriteAnnotations(w io.Writer) error {
	var b strings.Builder
	line := func(level, title, message string) {
		fmt.Fprintf(&b, "::%s title=%s::%s\n", level, escapeCommand(title, true), escapeCommand(message, false))
	}
	for i := range r.Verdicts {
		switch v := &r.Verdicts[i]; v.Outcome {
		case Fail:
			line("error", "Budget broken: "+v.title(), v.Reason)
		case Inconclusive:
			line("warning", "Budget inconclusive: "+v.title(), v.Reason)
		case Pass:
		}
	}
	for _, warning := range r.Warnings {
		line("warning", "nrprobe check", warning)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing annotations: %w", err)
	}
	return nil
}

// escapeCommand escapes text for a workflow command, as a property or as the message.
func escapeCommand(text string, property bool) string {
	pairs := []string{"%", "%25", "\r", "%0D", "\n", "%0A"}
	if property {
		pairs = append(pairs, ":", "%3A", ",", "%2C")
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
