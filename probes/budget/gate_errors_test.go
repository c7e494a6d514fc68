package budget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// rates are outcomes of one method, once and sequentially.
type rates struct{ once, sequential tally }

func (r *rates) add(now []float64, trials func() []*Trial) {
	o, _ := gate(stats.FixedSample(), now, trials()...)
	r.once.add(o)
	o, _ = gate(stats.Sequential(), now, trials()...)
	r.sequential.add(o)
}

// errorRates are how often gates err on one link: on budgets whose bounds are the true figures to the digit, where a gate
// errs most, and in comparisons of two records of the same link.
type errorRates struct {
	line, base, pass rates
	pass90           rates // passes of p90 instead of p95
	longer           rates // passes of records twice as long
	strict           tally // comparisons in which nothing is tolerated
	// What naive gates say of the same records.
	threshold, single, tolerant, rank, peeked tally
}

// fails are the tallies of which failures are wrong.
func (e *errorRates) fails() map[string]*tally {
	return map[string]*tally{"bound": &e.line.once, "bound, sequential": &e.line.sequential, "baseline": &e.base.once, "baseline, sequential": &e.base.sequential, "strict baseline": &e.strict}
}

// passes are the tallies of which passes are wrong.
func (e *errorRates) passes() map[string]*tally {
	return map[string]*tally{"bound": &e.pass.once, "bound, sequential": &e.pass.sequential, "p90": &e.pass90.once, "p90, sequential": &e.pass90.sequential, "twice as long": &e.longer.once, "twice as long, sequential": &e.longer.sequential}
}

// falseAlarms runs A against A. Each check has two budgets, p50 and p95, and fails when either does; wrong passes are of p90 and
// of p95 a hair above their bounds.
func falseAlarms(link simulated, runs int) *errorRates {
	e := &errorRates{}
	truth := link.truth(0.5, 0.95, 0.9)
	hair90 := func() []*Trial { return boundTrials([]float64{truth[2] * 0.9999}, 0.9) }
	hair := func() []*Trial { return boundTrials([]float64{truth[1] * 0.9999}, 0.95) }
	r := rand.New(rand.NewPCG(2026, 1))
	for range runs {
		x, y := link.draw(r, gateSamples), link.draw(r, gateSamples)
		e.line.add(y, func() []*Trial { return boundTrials(truth[:2], 0.5, 0.95) })
		e.base.add(y, func() []*Trial { return baselineTrials(x, true, 0.5, 0.95) })
		e.pass.add(y, hair)
		e.pass90.add(y, hair90)
		e.longer.add(link.draw(r, 2*gateSamples), hair)
		o, _ := gate(stats.FixedSample(), y, baselineTrials(x, false, 0.5, 0.95)...)
		e.strict.add(o)
		e.threshold.add(naive(p95(y) > truth[1]))
		e.single.add(naive(p95(y) > p95(x)))
		e.tolerant.add(naive(p95(y) > 1.05*p95(x)))
		e.rank.add(naive(stats.RankSum(x, y) < 0.05))
		e.peeked.add(naive(slices.ContainsFunc(stats.Sequential().Looks, func(f float64) bool {
			n := int(f * gateSamples)
			return stats.RankSum(x[:n], y[:n]) < 0.05
		})))
	}
	return e
}

// tabulateErrors writes the rates of both errors, beside those of naive gates.
func tabulateErrors(t *testing.T, b *strings.Builder) {
	const runs = 2000
	fmt.Fprintf(b, "Wrong fails in %d checks of p50 and p95 at 95 %% confidence, %d samples each (upper 95 %% bound of the rate):\n\n", runs, gateSamples)
	b.WriteString("| link | bound on the line | … sequential | baseline | … sequential | baseline, nothing tolerated |\n|---|---|---|---|---|---|\n")
	var passed, naively strings.Builder
	passed.WriteString("\nWrong passes of p90 and of p95, a hair above its bound:\n\n")
	fmt.Fprintf(&passed, "| link | p90, %d samples | … sequential | p95, %d samples | … sequential | p95, %d samples | … sequential |\n|---|---|---|---|---|---|---|\n", gateSamples, gateSamples, 2*gateSamples)
	fmt.Fprintf(&naively, "\nNaive gates on the same records:\n\n| link | p95 above a threshold on the line | p95 above the baseline's | p95 5 %% above it | Mann-Whitney (α = 5 %%) | … looked at %d times |\n|---|---|---|---|---|---|\n", len(stats.Sequential().Looks))
	found := atOnce(links(), func(link simulated) *errorRates { return falseAlarms(link, runs) })
	for i, link := range links() {
		e := found[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", link.name, e.line.once.failed(), e.line.sequential.failed(),
			e.base.once.failed(), e.base.sequential.failed(), e.strict.failed())
		fmt.Fprintf(&passed, "| %s | %s | %s | %s | %s | %s | %s |\n", link.name, e.pass90.once.passed(), e.pass90.sequential.passed(), e.pass.once.passed(), e.pass.sequential.passed(), e.longer.once.passed(), e.longer.sequential.passed())
		fmt.Fprintf(&naively, "| %s | %s | %s | %s | %s | %s |\n", link.name, e.threshold.rate(), e.single.rate(), e.tolerant.rate(), e.rank.rate(), e.peeked.rate())
		for what, c := range e.fails() {
			if stats.UpperProportion(float64(c.fail), runs, 0.05) > 0.065 {
				t.Errorf("%s, %s: %s false alarms, want an upper bound of at most 6.5 %%", link.name, what, c.failed())
			}
		}
		for what, c := range e.passes() {
			if stats.LowerProportion(float64(c.pass), runs, 0.05) > 0.05 {
				t.Errorf("%s, %s: %s wrong passes, which is more than 5 %%", link.name, what, c.passed())
			}
		}
	}
	passed.WriteString("\n3000 samples of the bursty link hold seven handovers: what rests on so few may err a little more often than it should.\n")
	b.WriteString(passed.String() + naively.String())
}

// atOnce is f of each, on all processors.
func atOnce[T, R any](list []T, f func(T) R) []R {
	results := make([]R, len(list))
	var running sync.WaitGroup
	for i, x := range list {
		running.Go(func() { results[i] = f(x) })
	}
	running.Wait()
	return results
}

func naive(fails bool) Outcome {
	if fails {
		return Fail
	}
	return Pass
}

func p95(v []float64) float64 {
	return stats.NewValues(v).Ascending()[int(math.Ceil(0.95*float64(len(v))))-1]
}

// effectOfShift is a shift that has to be seen, or not to matter.
type effectOfShift struct {
	what   string
	caught bool // whether the right verdict is fail
	trial  func(x []float64) *Trial
}

// powers are what is true and how it is judged, on the link with ρ = 0.6.
func powers() []effectOfShift {
	var list []effectOfShift
	truth := links()[1].truth(0.5, 0.95)
	for i, q := range []float64{0.5, 0.95} {
		list = append(list,
			effectOfShift{fmt.Sprintf("p%g 10 %% above the baseline's: caught", q*100), true, func(x []float64) *Trial { return baselineTrials(x, true, q)[0] }},
			effectOfShift{fmt.Sprintf("p%g 10 %% above its budget: caught", q*100), true, func([]float64) *Trial { return boundTrials([]float64{truth[i] / 1.1}, q)[0] }},
			effectOfShift{fmt.Sprintf("p%g 20 %% inside its budget: passed", q*100), false, func([]float64) *Trial { return boundTrials([]float64{truth[i] / 0.8}, q)[0] }})
	}
	return list
}

// measure counts right verdicts, once and sequentially.
func (p effectOfShift) measure(runs int) (right [2]int) {
	link := links()[1]
	for k, s := range []stats.Spending{stats.FixedSample(), stats.Sequential()} {
		r := rand.New(rand.NewPCG(2026, 2))
		for range runs {
			x, y := link.draw(r, gateSamples), link.draw(r, gateSamples)
			if p.caught && math.IsNaN(p.trial(x).Criterion.Limit) {
				y = scaled(y, 1.1)
			}
			if o, _ := gate(s, y, p.trial(x)); o == Fail && p.caught || o == Pass && !p.caught {
				right[k]++
			}
		}
	}
	return right
}

func tabulatePower(t *testing.T, b *strings.Builder) {
	const runs = 500
	b.WriteString("\nRight verdicts at ρ = 0.6:\n\n| what is true | once | sequential |\n|---|---|---|\n")
	found := atOnce(powers(), func(p effectOfShift) [2]int { return p.measure(runs) })
	for i, p := range powers() {
		right := found[i]
		fmt.Fprintf(b, "| %s | %.1f %% | %.1f %% |\n", p.what, 100*float64(right[0])/runs, 100*float64(right[1])/runs)
		if min(right[0], right[1]) < 0.9*runs {
			t.Errorf("%s: %v of %d, want at least 90 %%", p.what, right, runs)
		}
	}
}
