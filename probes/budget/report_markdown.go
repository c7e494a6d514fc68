package budget

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// WriteMarkdown writes the report for the summary of a job: a table, reasons, and a small chart of each distribution.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	icon := map[Outcome]string{Pass: "✅", Fail: "❌", Inconclusive: "❔"}
	fmt.Fprintf(&b, "## %s nrprobe check: %s\n\n", icon[r.Outcome], escapeMarkdown(r.summary()))
	b.WriteString("| | budget | found [bounds] | allowed | samples (independent) |\n|---|---|---|---|---|\n")
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		samples := fmt.Sprint(v.Samples)
		if v.Effective > 0 {
			samples += fmt.Sprintf(" (%.0f)", v.Effective)
		}
		fmt.Fprintf(&b, "| %s %s | %s | %s | %s | %s |\n", icon[v.Outcome], v.Outcome, escapeMarkdown(v.title()), escapeMarkdown(v.found()), escapeMarkdown(v.allowed()), samples)
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		fmt.Fprintf(&b, "\n**%s**: %s.\n", escapeMarkdown(v.title()), escapeMarkdown(v.Reason))
		if chart := v.chart(); chart != "" {
			fmt.Fprintf(&b, "\n```text\n%s```\n", chart)
		}
		if v.Criterion.Note != "" {
			fmt.Fprintf(&b, "\n<sub>%s</sub>\n", escapeMarkdown(v.Criterion.Note))
		}
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "\n> ⚠️ %s.\n", escapeMarkdown(warning))
	}
	fmt.Fprintf(&b, "\n<sub>%s, %.1f s", r.Start.UTC().Format("2006-01-02 15:04:05 UTC"), r.Elapsed.Seconds())
	if len(r.Conditions.Targets) > 0 {
		fmt.Fprintf(&b, ", target %s", escapeMarkdown(several(r.Conditions.Targets)))
	}
	b.WriteString("</sub>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// escapeMarkdown keeps foreign text from becoming markup.
func escapeMarkdown(text string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "\n", " ", "\r", " ").Replace(printable(text))
}

// Sizes of a chart.
const (
	chartBins  = 48
	chartLeast = 20 // values; fewer make no distribution
)

// chart draws how the values are distributed, in one line of bars with the limit marked below; comparisons have a line of
// the baseline's above. It is "" when there is nothing to draw. Bins are equally wide on a logarithmic scale, as those of
// histograms are.
func (v *Verdict) chart() string {
	c := v.Criterion
	if c.LargerIsBetter || c.Statistic.Form == Share || c.Statistic.Form == Availability {
		return ""
	}
	var rows []stats.Record
	low, high := math.Inf(1), 0.0
	for _, r := range []stats.Record{v.Before, v.Values} {
		if r != nil && stats.Total(r) >= chartLeast {
			from, to := extent(r)
			low, high, rows = min(low, from), max(high, to), append(rows, r)
		}
	}
	mark := c.Limit
	if v.Against != Bound {
		mark = v.Reference
	}
	if mark > low && mark < 2*high {
		high = max(high, mark*1.02)
	}
	if len(rows) == 0 || v.Values != rows[len(rows)-1] || low <= 0 || math.IsInf(high, 1) || high <= low*1.001 {
		return ""
	}
	var chart strings.Builder
	for i, r := range rows {
		chart.WriteString(bars(r, low, high))
		if len(rows) == 2 {
			chart.WriteString([]string{"  baseline", "  now"}[i])
		}
		chart.WriteString("\n")
	}
	chart.WriteString(v.scale(low, high, mark))
	return chart.String()
}

// extent is from where to where a distribution is drawn: the highest thousandth, and what was lost, is left out.
func extent(r stats.Record) (low, high float64) {
	n := stats.Total(r)
	low, _ = r.AtRank(1)
	for rank := 0.999; rank > 0.5; rank -= 0.01 {
		if high, _ = r.AtRank(math.Ceil(rank * n)); !math.IsInf(high, 1) {
			break
		}
	}
	return low, high
}

// bars are the columns of a distribution.
func bars(r stats.Record, low, high float64) string {
	edge := func(i int) float64 { return low * math.Pow(high/low, float64(i)/chartBins) }
	counts, most := make([]float64, chartBins), 1.0
	above, _ := stats.OverAll(r, low*(1-1e-6))
	for i := range counts {
		over, _ := stats.OverAll(r, edge(i+1)*(1+1e-6))
		counts[i], above = above-over, over
		most = max(most, counts[i])
	}
	levels := []rune(" ▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, count := range counts {
		level := 0
		if count > 0 { // the square root keeps tails visible
			level = 1 + int(math.Sqrt(count/most)*float64(len(levels)-2)+0.5)
		}
		b.WriteRune(levels[min(level, len(levels)-1)])
	}
	return b.String()
}

// scale is the line below the bars: both ends, and ▲ at the limit or at the baseline's figure.
func (v *Verdict) scale(low, high, mark float64) string {
	c := v.Criterion
	line := ""
	if mark >= low && mark <= high {
		at := min(int(math.Log(mark/low)/math.Log(high/low)*chartBins), chartBins-1)
		what := "limit"
		if v.Against != Bound {
			what = "baseline"
		}
		line = strings.Repeat(" ", at) + "▲ " + what + " " + formatQuantity(c.Metric.Unit, mark) + "\n"
	}
	left, right := formatQuantity(c.Metric.Unit, low), formatQuantity(c.Metric.Unit, high)
	return line + left + strings.Repeat(" ", max(1, chartBins-len([]rune(left))-len([]rune(right)))) + right + "\n"
}
