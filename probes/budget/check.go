package budget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// Options say what Check judges: exactly one of Live and Input.
type Options struct {
	// Live measures now.
	Live *Live
	// Input is what was read from a file or from a store.
	Input *Input
	// Baseline is what to compare with; nil for no comparison.
	Baseline *Input
	// Kinds finds a probe for budgets that name none. Live only.
	Kinds catalog.Catalog[probes.Kind]
	// Now is the time of the report; the zero Time stands for the moment of the call.
	Now time.Time
}

// Report is what a check found.
type Report struct {
	Verdicts   []Verdict
	Outcome    Outcome
	Conditions Conditions
	// Warnings are what a reader has to know: unlike conditions, lines that could not be read.
	Warnings []string
	// Err is why the measurement ended before its time; nil when it did not.
	Err        error
	Start      time.Time
	Elapsed    time.Duration
	Sequential bool
	// Pieces is the evidence, to be saved as a baseline.
	Pieces []Piece
}

// Check judges every criterion of a plan. It returns a report as soon as there is anything to report, even when the
// measurement failed on the way; Report.Err says so then. The error is about the options and the plan: then there is no
// report.
func Check(ctx context.Context, plan *Plan, o Options) (*Report, error) {
	if (o.Live == nil) == (o.Input == nil) {
		return nil, errors.New("a check either measures or reads: give one source")
	}
	if len(plan.Criteria) == 0 {
		return nil, errors.New("no budgets: there is nothing to judge")
	}
	report := &Report{Start: o.Now, Sequential: o.Live != nil && plan.Sequential}
	if report.Start.IsZero() {
		report.Start = time.Now()
	}
	plan = plan.clone()
	if o.Live != nil {
		return report, live(ctx, plan, o, report)
	}
	return report, judge(plan, o, report)
}

// clone copies what a check changes.
func (p *Plan) clone() *Plan {
	c := *p
	c.Criteria, c.Probes = slices.Clone(p.Criteria), slices.Clone(p.Probes)
	return &c
}

// judge looks once at what was read.
func judge(plan *Plan, o Options, report *Report) error {
	family, err := newFamily(plan, o)
	if err != nil {
		return err
	}
	family.Look(Once(), func(t *Trial) *Evidence { return t.Criterion.Gather(o.Input.Pieces) })
	report.Conditions, report.Pieces = o.Input.Conditions, o.Input.Pieces
	report.Warnings = append(report.Warnings, o.Input.Warnings...)
	report.Warnings = append(report.Warnings, mixed(plan, o.Input.Pieces)...)
	report.conclude(family, o)
	if first, last := o.Input.Pieces[0].Result, o.Input.Pieces[len(o.Input.Pieces)-1].Result; !first.Start.IsZero() {
		report.Start, report.Elapsed = first.Start, last.End().Sub(first.Start)
	}
	return nil
}

// mixed warns of criteria that judge several populations as one.
func mixed(plan *Plan, pieces []Piece) []string {
	var list []string
	for i := range plan.Criteria {
		c := &plan.Criteria[i]
		var chosen []Piece
		for _, p := range pieces {
			if c.selects(p.Result) && (p.Result.Hists[c.Metric.HistName(c.Direction)] != nil || c.Metric.Type != probes.Distribution) {
				chosen = append(chosen, p)
			}
		}
		for what, words := range map[string][]string{"targets": ConditionsOf(chosen, "", "").Targets, "kinds of probe": ConditionsOf(chosen, "", "").Kinds, "agents": ConditionsOf(chosen, "", "").Agents} {
			if len(words) > 1 {
				list = append(list, fmt.Sprintf("%s: %d %s are judged together (%s): choose by target, probe or tags", c.Name, len(words), what, several(words)))
			}
		}
	}
	slices.Sort(list)
	return list
}

// live measures and judges.
func live(ctx context.Context, plan *Plan, o Options, report *Report) error {
	if err := plan.assign(o.Kinds); err != nil {
		return err
	}
	stations, err := o.Live.stations(plan)
	if err != nil {
		return err
	}
	family, err := newFamily(plan, o)
	if err != nil {
		return err
	}
	m := &measurement{live: o.Live, plan: plan, stations: stations, family: family, spending: newSpending(plan.Sequential)}
	for i := range plan.Criteria {
		plan.Criteria[i].Target, plan.Criteria[i].Tags = "", nil // chosen by the station already
	}
	report.Err = m.measure(ctx)
	report.Elapsed = time.Since(m.began)
	report.Pieces = m.all(false)
	report.Conditions = ConditionsOf(report.Pieces, o.Live.Interface, o.Live.Version)
	report.conclude(family, o)
	if report.Err != nil {
		report.Warnings = append(report.Warnings, "the measurement ended early: "+report.Err.Error())
	}
	return nil
}

// assign gives a probe to criteria that name none: the first kind that measures their metric, with its defaults.
func (p *Plan) assign(kinds catalog.Catalog[probes.Kind]) error {
	for i := range p.Criteria {
		c := &p.Criteria[i]
		if c.Probe >= 0 {
			continue
		}
		at := slices.IndexFunc(kinds.All(), func(k probes.Kind) bool {
			return slices.Contains(k.Metrics, c.Metric) || sharesPackets(k, c)
		})
		if at < 0 {
			return fmt.Errorf("budget %q: no kind of probe measures %s", c.Name, c.Metric.Stem)
		}
		kind := kinds.All()[at]
		c.Probe = slices.IndexFunc(p.Probes, func(s ProbeSpec) bool { return s.Kind.Name == kind.Name && s.Target == c.Target })
		if c.Probe < 0 {
			c.Probe = len(p.Probes)
			p.Probes = append(p.Probes, ProbeSpec{Kind: kind, Config: kind.NewConfig(), Target: c.Target})
		}
		c.Kind = kind.Name
	}
	return nil
}

// newFamily makes the trials of a plan.
func newFamily(plan *Plan, o Options) (*Family, error) {
	f := &Family{MaxDoubtful: plan.MaxDoubtful}
	pair := o.Live != nil && o.Live.Compare != ""
	for i := range plan.Criteria {
		c := &plan.Criteria[i]
		if c.Limit == c.Limit {
			f.Trials = append(f.Trials, &Trial{Criterion: c, Against: Bound})
		}
		if o.Baseline != nil {
			f.Trials = append(f.Trials, &Trial{Criterion: c, Against: Baseline, Baseline: c.Gather(o.Baseline.Pieces)})
		}
		if pair {
			f.Trials = append(f.Trials, &Trial{Criterion: c, Against: Pair, Baseline: &Evidence{Gap: "nothing was measured"}})
		}
		if c.Limit != c.Limit && o.Baseline == nil && !pair {
			return nil, fmt.Errorf("budget %q has no bound, and there is no baseline to compare with: give one of them", c.Name)
		}
	}
	return f, nil
}

// conclude fills in what was found.
func (r *Report) conclude(f *Family, o Options) {
	r.Verdicts = f.Verdicts()
	r.Outcome = Pass
	for _, v := range r.Verdicts {
		if v.Outcome == Fail {
			r.Outcome = Fail
		}
		if v.Outcome == Inconclusive && r.Outcome == Pass {
			r.Outcome = Inconclusive
		}
	}
	if o.Baseline != nil {
		r.Warnings = append(r.Warnings, r.Conditions.Unlike(o.Baseline.Conditions)...)
		r.Warnings = append(r.Warnings, o.Baseline.Warnings...)
	}
}

// Policy says what an inconclusive check means to a pipeline.
type Policy string

// The policies.
const (
	InconclusiveIsOwn  Policy = ""     // an exit code of its own
	InconclusiveIsPass Policy = "pass" // like a pass
	InconclusiveIsFail Policy = "fail" // like a failure
)

// ParsePolicy reads the words of the command line.
func ParsePolicy(text string) (Policy, error) {
	switch p := Policy(text); p {
	case InconclusiveIsOwn, InconclusiveIsPass, InconclusiveIsFail:
		return p, nil
	}
	return "", fmt.Errorf("%q is no policy: want pass or fail, or leave it out", text)
}

// The exit codes of a check. Usage and configuration errors are 2, which callers know before there is a report.
const (
	ExitPass         = 0
	ExitFail         = 1
	ExitUsage        = 2
	ExitInconclusive = 3
	ExitUnreachable  = 4
	ExitInterrupted  = 130
)

// ExitCode is how the process should end. A budget that was shown to be broken counts even when the measurement was cut
// short afterwards.
func (r *Report) ExitCode(p Policy) int {
	switch {
	case r.Outcome == Fail:
		return ExitFail
	case r.Err != nil && probes.Classify(r.Err) == probes.Canceled:
		return ExitInterrupted
	case r.Err != nil:
		return ExitUnreachable
	case r.Outcome == Pass || p == InconclusiveIsPass:
		return ExitPass
	case p == InconclusiveIsFail:
		return ExitFail
	}
	return ExitInconclusive
}

// spending keeps count of the looks that were taken.
type spending struct {
	plan  stats.Spending
	taken int
}

func newSpending(sequential bool) spending {
	if sequential {
		return spending{plan: stats.Sequential()}
	}
	return spending{plan: stats.FixedSample()}
}

// due is what the looks that became due by a fraction of the time may spend, taken as one; ok is false when none did.
func (s *spending) due(fraction float64) (turn Turn, ok bool) {
	for n := s.plan.Due(fraction); s.taken < n; s.taken++ {
		turn.Fail += s.plan.Fail[s.taken]
		turn.Pass += s.plan.Pass[s.taken]
		ok = true
	}
	turn.Early = s.taken < len(s.plan.Looks)
	return turn, ok
}

// summary is the outcome in one line: "1 of 3 budgets is broken: warm RTT".
func (r *Report) summary() string {
	names := map[Outcome][]string{}
	for _, v := range r.Verdicts {
		names[v.Outcome] = append(names[v.Outcome], v.title())
	}
	switch r.Outcome {
	case Fail:
		return fmt.Sprintf("%d of %d broken: %s", len(names[Fail]), len(r.Verdicts), strings.Join(names[Fail], ", "))
	case Inconclusive:
		return fmt.Sprintf("%d of %d inconclusive: %s", len(names[Inconclusive]), len(r.Verdicts), strings.Join(names[Inconclusive], ", "))
	case Pass:
	}
	return fmt.Sprintf("all %d kept", len(r.Verdicts))
}
