package budget

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Statistic is what a budget is about: a quantile, a mean, or a share of packets or of time.
type Statistic struct {
	// Text is the word in the budgets file.
	Text string
	// Form says how it is taken.
	Form Form
	// Q is which quantile, in (0, 1); 0 for other forms.
	Q float64
}

// Form is how a statistic is taken.
type Form uint8

// The forms.
const (
	// Quantile is a quantile of the values; lost packets count as infinitely late unless the budget says otherwise.
	Quantile Form = iota
	// Mean is the mean of what was received.
	Mean
	// Extreme is the largest value, or the smallest: a statement about what was measured and not about the link.
	Extreme
	// Share is a counter over the packets it was counted in: lost over sent.
	Share
	// Reliability is the share of sent packets that arrived within a bound (TS 22.261 section 3.1).
	Reliability
	// Availability is the share of time in which no longer than the survival time had passed since the last packet that
	// arrived within the bound (TS 22.104 section 3.1).
	Availability
)

// statisticWords are the statistics that are no quantiles, and some that are, for suggestions.
func statisticWords() []string {
	return []string{"p50", "p90", "p95", "p99", "p999", "mean", "min", "max", "ratio", "reliability", "availability"}
}

// ParseStatistic reads "p95", "p999" (99.9 %), "p99.9", "mean", "min", "max", "ratio", "reliability" or "availability".
func ParseStatistic(text string) (Statistic, error) {
	s := Statistic{Text: text}
	switch text {
	case "mean":
		s.Form = Mean
	case "min", "max":
		s.Form = Extreme
	case "ratio":
		s.Form = Share
	case "reliability":
		s.Form = Reliability
	case "availability":
		s.Form = Availability
	default:
		return parseQuantile(text)
	}
	return s, nil
}

func parseQuantile(text string) (Statistic, error) {
	digits, ok := strings.CutPrefix(text, "p")
	if ok && len(digits) > 2 && !strings.Contains(digits, ".") {
		digits = digits[:2] + "." + digits[2:]
	}
	percent, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(percent > 0 && percent < 100) || len(digits) > 9 {
		return Statistic{}, fmt.Errorf("%q is not a statistic%s: one of %s, or another quantile like p75 or p9999",
			text, didYouMean(text, statisticWords()), strings.Join(statisticWords(), ", "))
	}
	return Statistic{Text: text, Form: Quantile, Q: math.Round(percent*1e9) / 1e11}, nil
}

// needs is the least number of independent samples that a verdict needs, or 1 where that depends on the data alone.
func (c *Criterion) needs(alpha float64) int {
	switch c.Statistic.Form {
	case Quantile, Reliability, Share, Availability:
		return stats.MinSamples(c.q(), alpha)
	case Mean:
		return stats.FewBatches
	case Extreme:
		return 1
	}
	return 1
}
