package budget

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Outcome is what a check finds. There is no fourth.
type Outcome string

// The outcomes.
const (
	// Pass says that the budget is shown to hold.
	Pass Outcome = "pass"
	// Fail says that the budget is shown to be broken.
	Fail Outcome = "fail"
	// Inconclusive says that what was measured shows neither.
	Inconclusive Outcome = "inconclusive"
)

// Against is what a criterion is compared with.
type Against string

// What criteria are compared with.
const (
	Bound    Against = "bound"    // the budget's own limit
	Baseline Against = "baseline" // a measurement that was saved before
	Pair     Against = "pair"     // another target, measured in turns
)

// Trial is one criterion on its way to a verdict.
type Trial struct {
	Criterion *Criterion
	Against   Against
	// Baseline is the evidence to compare with, unless Against is Bound.
	Baseline *Evidence

	outcome  Outcome
	look     look  // the last one, or the one that decided
	fail     purse // of the probability of a wrong failure
	pass     purse // of the probability of a wrong pass
	strength int   // the number of hypotheses among which the failure would stand (see Family.resolve); 0 for no failure
	shown    look  // the look that gave it that strength
}

// look is what a trial saw when it was last looked at, or when it was decided.
type look struct {
	test     test
	evidence *Evidence
	alpha    float64
	passing  float64 // the probability of a wrong pass that it spent
	weight   float64
	family   int    // number of trials among which a failure has to stand
	obstacle string // why no verdict may be given
}

// Family is all the trials of one check. A wrong fail of any of them fails the pipeline, so the error probability of
// failures is shared among them (Holm's method); a pass needs all of them to pass, and no correction (Berger,
// Technometrics 24 (1982) 295).
type Family struct {
	Trials []*Trial
	// MaxDoubtful is the largest share of doubtful Results at which a verdict is still given.
	MaxDoubtful float64
}

// A session that shall be compared with another one has to last for a while: what a link does within half a minute depends
// on where it is, and p95 of the 30-second runs of one drive differ threefold (PAM 2025 multi-carrier drives). Where a
// source has no times, the number of samples stands in.
const (
	MinSession        = 60 * time.Second
	MinSessionSamples = 500
)

// seldom is how long a link may go on well, on average, until trouble comes that a verdict must not miss: a van in a city
// meets a handover about each 20 s.
const seldom = 20 * time.Second

// patience is the least time after which a check may pass before its end. Statistics know nothing of what has not happened
// yet: no test tells a calm link from one whose next handover is still to come. By then one that comes at random once each
// seldom has come, but for a probability of exp(−patience/seldom), the part of alpha that stats.Sequential keeps in reserve.
func patience(alpha float64) time.Duration {
	return time.Duration(float64(seldom) * -math.Log(stats.Unseen*alpha))
}

// MinStream is the least number of packets of one stream from which their dependence can be told: ten batches (see
// stats.FewBatches) of twenty, so that a batch spans several times what neighbouring packets share. A quantile may need
// more; runs with a pause between them may be fewer.
const MinStream = 200

// Turn is what one look may spend: parts of the probabilities of a wrong failure and of a wrong pass (see stats.Spending).
type Turn struct {
	Fail, Pass float64
	// Early says that more looks are to come; then a pass is asked for more.
	Early bool
}

// Once is the turn of the only look.
func Once() Turn { return Turn{Fail: 1, Pass: 1} }

// Look looks at what came in so far.
func (f *Family) Look(turn Turn, evidence func(*Trial) *Evidence) {
	for _, t := range f.Trials {
		if t.outcome == Pass || t.outcome == Fail {
			continue
		}
		f.see(t, turn, evidence(t))
	}
	f.resolve()
}

func (f *Family) see(t *Trial, turn Turn, e *Evidence) {
	alpha := 1 - t.Criterion.Confidence
	t.fail.due += turn.Fail
	t.pass.due += turn.Pass
	t.look = look{evidence: e, alpha: alpha * turn.Fail, weight: turn.Fail, family: len(f.Trials), obstacle: f.obstacle(t, e)}
	if e.Record != nil && e.N() > 0 && (t.Baseline == nil || t.Baseline.Record != nil) {
		t.look.test = t.test(e)
	}
	if t.look.obstacle != "" || t.look.test == nil {
		return
	}
	if !turn.Early || e.Span >= patience(alpha) {
		if t.look.passing = alpha * t.pass.spend(turn.Early); t.look.passing > 0 && t.look.test.passes(t.look.passing, turn.Early) {
			t.outcome, t.look.alpha = Pass, t.look.passing
			return
		}
	}
	if t.look.weight = t.fail.spend(turn.Early); t.look.weight == 0 {
		return
	}
	t.look.alpha = alpha * t.look.weight
	for j := len(f.Trials); j > t.strength; j-- {
		if t.look.test.fails(t.look.alpha / float64(j)) {
			t.strength, t.shown = j, t.look
			t.shown.alpha /= float64(j)
		}
	}
}

// purse keeps count of how much of an error probability looks were given and have spent. What a look could not spend, for
// too few samples or because it was too early, goes to the next.
type purse struct{ due, spent float64 }

// spend is the part that a look may spend. The only look may spend everything, the reserve of a sequential plan included.
func (p *purse) spend(early bool) float64 {
	part := p.due - p.spent
	if !early && p.spent == 0 {
		part = 1
	}
	p.spent += part
	return part
}

func (t *Trial) test(e *Evidence) test {
	switch t.Against {
	case Baseline:
		return newComparison(t.Criterion, e, t.Baseline)
	case Pair:
		return newPair(t.Criterion, e, t.Baseline)
	case Bound:
	}
	return newTest(t.Criterion, e)
}

// resolve applies Holm's step-down to the failures seen so far. The i-th strongest of m, counted from 0, stands when it
// was seen at an error probability of 1/(m−i) of its own, and all stronger ones stand.
func (f *Family) resolve() {
	byStrength := slices.SortedStableFunc(slices.Values(f.Trials), func(a, b *Trial) int { return b.strength - a.strength })
	for i, t := range byStrength {
		if t.strength < len(byStrength)-i {
			return
		}
		if t.outcome == "" {
			t.outcome, t.look = Fail, t.shown
		}
	}
}

// Settled says whether every trial has its verdict.
func (f *Family) Settled() bool {
	return !slices.ContainsFunc(f.Trials, func(t *Trial) bool { return t.Outcome() == Inconclusive })
}

// Outcome is the verdict of the trial as it stands.
func (t *Trial) Outcome() Outcome {
	if t.outcome == "" {
		return Inconclusive
	}
	return t.outcome
}

// obstacle says in words why no verdict may be given on this evidence, "" when one may.
func (f *Family) obstacle(t *Trial, e *Evidence) string {
	if o := f.unfit(t.Criterion, e); o != "" {
		return o
	}
	if t.Against == Bound {
		return ""
	}
	if t.Baseline == nil || t.Baseline.Record == nil {
		return "the baseline has nothing to compare with"
	}
	if o := f.unfit(t.Criterion, t.Baseline); o != "" {
		return "baseline: " + o
	}
	if t.Against == Pair {
		if n := min(len(e.Slices), len(t.Baseline.Slices)); e.Slices != nil && n < stats.FewBatches {
			return fmt.Sprintf("%d pairs of measurements are too few: at least %d are needed", n, stats.FewBatches)
		}
		return ""
	}
	if o := tooShort(e); o != "" {
		return o
	}
	if o := tooShort(t.Baseline); o != "" {
		return "baseline: " + o
	}
	return ""
}

func (f *Family) unfit(c *Criterion, e *Evidence) string {
	total := e.Results + e.Doubtful
	switch {
	case e.Doubtful > 0 && float64(e.Doubtful) > f.MaxDoubtful*float64(total):
		return fmt.Sprintf("%d of %d results are doubtful (%s), more than the %s allowed: they tell of the machines that measure and not of the network; take other work off them, or measure at a longer interval",
			e.Doubtful, total, flagText(e.Flags), formatShare(f.MaxDoubtful))
	case e.Record == nil:
		return e.Gap
	case c.Statistic.Form == Extreme:
		return ""
	}
	// A quantile that cannot be seen at all is neither kept nor broken. A share can be broken long before it could be kept.
	if n, least := e.N(), c.needs(1-c.Confidence); n < float64(least) && !c.Shared() {
		return fmt.Sprintf("%.0f samples are too few: %s at %s confidence needs at least %d", n, c.Statistic.Text, formatShare(c.Confidence), least)
	}
	if n := e.N(); n < MinStream && !e.Coarse && !e.Runs {
		return fmt.Sprintf("%.0f samples of one stream are too few to tell how much they hang together: at least %d are needed", n, MinStream)
	}
	if n := e.Record.Len(); n < stats.FewBatches && !e.Runs {
		return fmt.Sprintf("%d results are too few to tell how much they vary with time: at least %d are needed (measure in shorter windows, or for longer)", n, stats.FewBatches)
	}
	return ""
}

// tooShort says in words that a session is too short to be compared with another one.
func tooShort(e *Evidence) string {
	switch {
	case e.Runs:
		return ""
	case e.Span > 0 && e.Span < MinSession:
		return fmt.Sprintf("%v are too short to tell a change of the link from its ordinary ups and downs: measure for at least %v, or both in turns", e.Span.Round(time.Second), MinSession)
	case e.Span == 0 && e.N() < MinSessionSamples:
		return fmt.Sprintf("%.0f samples without times are too few to tell a change of the link from its ordinary ups and downs: at least %d are needed", e.N(), MinSessionSamples)
	}
	return ""
}

// flagText says why results are doubtful, in words.
func flagText(flags map[string]int) string {
	words := map[probes.Quality]string{
		probes.ScheduleLate: "packets left late", probes.KernelRefused: "the kernel refused packets", probes.CPUStarved: "no processor time",
		probes.ClockStepped: "the clock stepped", probes.ClockUnset: "the clock was not set", probes.Suspended: "the host slept",
		probes.CrossTraffic: "other traffic on the interface", probes.FarEndLate: "the far end was overloaded",
	}
	var parts []string
	for name, n := range flags {
		text := name
		if name == skippedSlots {
			text = "too many packets not sent in time"
		}
		if q, err := probes.ParseQuality(name); err == nil && words[q] != "" {
			text = words[q]
		}
		parts = append(parts, fmt.Sprintf("%s: %d", text, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// settlesAt is how many more values the trial would need, whichever way it falls.
func (l *look) settlesAt() (more float64, ok bool) {
	if l.test == nil {
		return 0, false
	}
	total, ok := l.test.settles(l.alpha / float64(l.family))
	if !ok || math.IsInf(total, 0) {
		return 0, false
	}
	return max(1, total-l.evidence.N()), true
}
