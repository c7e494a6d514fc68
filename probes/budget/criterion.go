package budget

import (
	"fmt"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Criterion is one thing to be judged: a budget that was checked and put into base units, or one of those that a profile
// stands for. It is immutable.
type Criterion struct {
	// Name is distinct within a plan.
	Name string
	// Metric and Direction are the word of the vocabulary and which way.
	Metric    *probes.Metric
	Direction probes.Direction
	Statistic Statistic
	// Limit is the bound in the metric's base unit; NaN when only a comparison with a baseline is wanted.
	Limit float64
	// AtLeast is the share of packets or of time that Reliability and Availability ask for.
	AtLeast float64
	// LargerIsBetter turns the comparison round: Limit is the least value allowed.
	LargerIsBetter bool
	// Confidence is 1 less the probability of a wrong pass, and of a wrong fail.
	Confidence float64
	// OfReceived leaves lost packets out instead of counting them as infinitely late.
	OfReceived bool
	// Survival is the survival time of Availability.
	Survival time.Duration
	// Ratio and Floor are how much worse than a baseline is tolerated: the larger of Ratio times the baseline and Floor.
	Ratio, Floor float64

	// Target, Kind and Tags choose among the Results of a file or store; empty ones take all.
	Target, Kind string
	Tags         map[string]string
	// Probe is which of the plan's probes measures it; −1 when no probe is named.
	Probe int
	// Note says what a reader should know about the budget: the document it comes from, what the test cannot see.
	Note string
}

// Defaults of budgets. Runs of one modem on one test track, hours apart, differ by about 1 ms and 5 % in p50 and p95
// (CICV5G, six runs): a smaller difference says nothing about what changed.
const (
	DefaultConfidence = 0.95
	DefaultRatio      = 0.05
	DefaultFloor      = 0.001 // seconds
	// DefaultShareFloor is the floor of shares: half a percent of packets.
	DefaultShareFloor = 0.005
)

// q is the quantile that a criterion's test is about: a share of at most 1−q beyond the limit.
func (c *Criterion) q() float64 {
	switch c.Statistic.Form {
	case Quantile:
		if c.LargerIsBetter {
			return 1 - c.Statistic.Q
		}
		return c.Statistic.Q
	case Reliability, Availability:
		return c.AtLeast
	case Share:
		return 1 - c.Limit
	case Mean, Extreme:
		return 0
	}
	return 0
}

// Asks says in words what the criterion asks for: "p95 of rtt at most 20 ms".
func (c *Criterion) Asks() string {
	what := c.Metric.HistName(c.Direction)
	switch {
	case c.Statistic.Form == Reliability:
		return fmt.Sprintf("at least %s of packets with %s within %s", formatShare(c.AtLeast), what, formatQuantity(c.Metric.Unit, c.Limit))
	case c.Statistic.Form == Availability:
		return fmt.Sprintf("available for at least %s of the time (%s within %s, survival time %v)", formatShare(c.AtLeast), what, formatQuantity(c.Metric.Unit, c.Limit), c.Survival)
	case c.Limit != c.Limit:
		return fmt.Sprintf("%s of %s like the baseline", c.Statistic.Text, what)
	case c.LargerIsBetter:
		return fmt.Sprintf("%s of %s at least %s", c.Statistic.Text, what, c.format(c.Limit))
	default:
		return fmt.Sprintf("%s of %s at most %s", c.Statistic.Text, what, c.format(c.Limit))
	}
}

// what is the criterion's figure in words.
func (c *Criterion) what() string {
	text := c.Statistic.Text + " of " + c.Metric.HistName(c.Direction)
	if c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
		text += " within " + formatQuantity(c.Metric.Unit, c.Limit)
	}
	return text
}

// Shared says that the figures of the criterion are shares: of packets or of time.
func (c *Criterion) Shared() bool {
	return slices.Contains([]Form{Share, Reliability, Availability}, c.Statistic.Form)
}

// format writes one of the criterion's figures for a person.
func (c *Criterion) format(v float64) string {
	if c.Shared() {
		return formatShare(v)
	}
	return formatQuantity(c.Metric.Unit, v)
}

// tolerance is how much worse than this figure of a baseline is still tolerated.
func (c *Criterion) tolerance(baseline float64) float64 {
	if baseline < 0 {
		baseline = -baseline
	}
	return max(c.Ratio*baseline, c.Floor)
}
