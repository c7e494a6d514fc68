package budget

import (
	"math"
	"slices"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// test is a statistical test of one criterion on one piece of evidence. Larger is worse in all of it.
type test interface {
	// passes says whether the criterion is shown to hold, fails whether it is shown to be broken, each with that
	// probability of error. Both may be false, never both true. A pass that is early, with more to come, is asked for more.
	passes(alpha float64, early bool) bool
	fails(alpha float64) bool
	// figures are what a report shows.
	figures(alpha float64) figures
	// settles is the number of values that it would take in all to decide, if the link went on as it was.
	settles(alpha float64) (total float64, ok bool)
}

// figures are an estimate, its one-sided bounds, and the design effect.
type figures struct{ estimate, lower, upper, effect float64 }

// quantileTest compares a quantile, or a share, with a limit.
type quantileTest struct {
	*stats.Quantile
	limit float64
	// shared turns figures into shares beyond the limit.
	shared bool
}

func (t quantileTest) fails(alpha float64) bool { return t.Above(t.limit, alpha) }

func (t quantileTest) passes(alpha float64, early bool) bool {
	if early {
		return t.AtMostStill(t.limit, alpha, 1)
	}
	return t.AtMostStill(t.limit, alpha, 1.5)
}

// rests says that the criterion would be shown to hold but for one burst of trouble that may come again.
func (t quantileTest) rests(alpha float64) bool { return t.AtMost(t.limit, alpha) }

func (t quantileTest) figures(alpha float64) figures {
	if t.shared {
		estimate, lower, upper := t.Share(t.limit, alpha)
		return figures{estimate, lower, upper, t.Effect}
	}
	return figures{t.Estimate(), t.Lower(alpha), t.Upper(alpha), t.Effect}
}

func (t quantileTest) settles(alpha float64) (total float64, ok bool) {
	return t.Settles(t.limit, alpha)
}

// meanTest compares a mean with a limit.
type meanTest struct {
	*stats.Mean
	limit float64
}

func (t meanTest) passes(alpha float64, _ bool) bool { return t.Upper(alpha) <= t.limit }
func (t meanTest) fails(alpha float64) bool          { return t.Lower(alpha) > t.limit }

func (t meanTest) figures(alpha float64) figures {
	return figures{t.Estimate(), t.Lower(alpha), t.Upper(alpha), t.Effect}
}

// settles uses that the width of the bounds falls with the square root of the number of values.
func (t meanTest) settles(alpha float64) (total float64, ok bool) {
	away := math.Abs(t.Estimate() - t.limit)
	width := t.Upper(alpha) - t.Estimate()
	if away == 0 || math.IsInf(width, 1) || width/away > 10 {
		return 0, false
	}
	return math.Ceil(t.N * width / away * width / away), true
}

// extremeTest compares the largest value of what was measured with a limit. Nothing is inferred.
type extremeTest struct {
	worst, limit float64
}

// passes is final only at the end: a value that is too large may still come.
func (t extremeTest) passes(_ float64, early bool) bool { return !early && t.worst <= t.limit }
func (t extremeTest) fails(float64) bool                { return t.worst > t.limit }
func (t extremeTest) settles(float64) (float64, bool)   { return 0, false }
func (t extremeTest) figures(float64) figures           { return figures{t.worst, t.worst, t.worst, 1} }

// bounded is a difference with its bounds: stats.Difference or stats.Paired.
type bounded = stats.Bounded

// differenceTest compares how much worse it is than a baseline with what is tolerated.
type differenceTest struct {
	bounded
	tolerated float64
	inflation float64
	n         float64
}

// hair keeps 17 ms − 16 ms from being more than 1 ms by rounding: many sources have whole milliseconds.
const hair = 1 + 1e-9

func (t differenceTest) passes(alpha float64, _ bool) bool {
	return t.Upper(alpha) <= t.tolerated*hair
}

// fails asks for both: a difference that is real, and one that is large enough to matter.
func (t differenceTest) fails(alpha float64) bool {
	return t.Estimate() > t.tolerated*hair && t.Lower(alpha) > 0
}

func (t differenceTest) figures(alpha float64) figures {
	return figures{t.Estimate(), t.Lower(alpha), t.Upper(alpha), t.inflation}
}

// settles uses that the width of the bounds falls about with the square root of the number of values.
func (t differenceTest) settles(alpha float64) (total float64, ok bool) {
	f := t.figures(alpha)
	width, away := f.upper-f.estimate, t.tolerated-f.estimate
	if away <= 0 {
		width, away = f.estimate-f.lower, f.estimate
	}
	if away <= 0 || math.IsInf(width, 0) || math.IsNaN(width) || width/away > 10 {
		return 0, false
	}
	return math.Ceil(t.n * width / away * width / away), true
}

// share is a share beyond a limit as a figure with bounds.
type share struct {
	*stats.Quantile
	limit float64
}

func (s share) Estimate() float64 { e, _, _ := s.Share(s.limit, 0.5); return e }

func (s share) Lower(alpha float64) float64 { _, low, _ := s.Share(s.limit, alpha); return low }

func (s share) Upper(alpha float64) float64 { _, _, high := s.Share(s.limit, alpha); return high }

// newTest makes the test of a criterion against its own limit.
func newTest(c *Criterion, e *Evidence) test {
	limit := c.worseLimit()
	switch c.Statistic.Form {
	case Mean:
		return meanTest{Mean: stats.NewMean(e.Means), limit: limit}
	case Extreme:
		_, worst := e.Record.AtRank(e.N())
		return extremeTest{worst: worst, limit: limit}
	case Quantile, Share, Reliability, Availability:
	}
	return quantileTest{Quantile: stats.NewQuantileTest(e.Record, c.q(), limit), limit: limit, shared: c.Shared()}
}

// newComparison makes the test of a criterion against a baseline that was measured apart from it.
func newComparison(c *Criterion, e, baseline *Evidence) test {
	t := differenceTest{n: e.N()}
	switch c.Statistic.Form {
	case Mean:
		now, base := stats.NewMean(e.Means), stats.NewMean(baseline.Means)
		t.bounded, t.inflation = stats.Difference{Now: now, Baseline: base}, max(now.Effect, base.Effect)
		t.tolerated = c.tolerance(base.Estimate())
	case Quantile, Extreme:
		q := c.q()
		theirs, _ := baseline.Record.AtRank(math.Ceil(q * baseline.N()))
		ours, _ := e.Record.AtRank(math.Ceil(q * e.N()))
		now, base := stats.NewQuantile(e.Record, q, theirs), stats.NewQuantile(baseline.Record, q, ours)
		t.bounded, t.inflation = stats.Difference{Now: now, Baseline: base}, max(now.Effect, base.Effect)
		t.tolerated = c.tolerance(base.Estimate())
	case Share, Reliability, Availability:
		limit := c.worseLimit()
		now, base := share{stats.NewQuantile(e.Record, c.q(), limit), limit}, share{stats.NewQuantile(baseline.Record, c.q(), limit), limit}
		t.bounded, t.inflation = stats.Difference{Now: now, Baseline: base}, max(now.Effect, base.Effect)
		t.tolerated = c.tolerance(base.Estimate())
	}
	return t
}

// newPair makes the test of a criterion between two targets that were measured in turns.
func newPair(c *Criterion, e, baseline *Evidence) test {
	if c.Statistic.Form != Quantile || e.Slices == nil || baseline.Slices == nil {
		return newComparison(c, e, baseline)
	}
	p := stats.NewPaired(c.q(), baseline.Slices, e.Slices)
	first := stats.NewQuantile(stats.NewValues(slices.Concat(baseline.Slices...)), c.q())
	return differenceTest{bounded: p, tolerated: c.tolerance(first.Estimate()), inflation: first.Effect, n: e.N()}
}

// worseLimit is the limit on the scale on which larger is worse.
func (c *Criterion) worseLimit() float64 {
	switch {
	case c.Statistic.Form == Share || c.Statistic.Form == Availability:
		return 0.5 // shares are counted already
	case c.LargerIsBetter:
		return -c.Limit
	}
	return c.Limit
}
