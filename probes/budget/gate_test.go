package budget

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// gateSamples is the number of samples of a fixed-sample check in the simulation.
const gateSamples = 3000

func rttBudget(q, limit float64) *Criterion {
	return &Criterion{
		Name: fmt.Sprintf("p%g", q*100), Metric: probes.RTT, Statistic: Statistic{Text: fmt.Sprintf("p%g", q*100), Q: q},
		Limit: limit, Confidence: DefaultConfidence, Ratio: DefaultRatio, Floor: DefaultFloor, Probe: -1,
	}
}

func valuesOf(v []float64) *Evidence {
	return &Evidence{Record: stats.NewValues(v), Means: v, Slices: [][]float64{v}}
}

// gate runs a check over one record and says how it ends and after which part of the record.
func gate(s stats.Spending, now []float64, trials ...*Trial) (worst Outcome, stopped float64) {
	f := &Family{Trials: trials, MaxDoubtful: 0.1}
	plan := spending{plan: s}
	for _, fraction := range s.Looks {
		e := valuesOf(now[:int(fraction*float64(len(now)))])
		e.Span = time.Duration(len(e.Means)) * packetInterval
		turn, _ := plan.due(fraction)
		f.Look(turn, func(*Trial) *Evidence { return e })
		stopped = fraction
		if f.Settled() {
			break
		}
	}
	worst = Pass
	for _, t := range trials {
		if t.Outcome() == Fail {
			return Fail, stopped
		}
		if t.Outcome() == Inconclusive {
			worst = Inconclusive
		}
	}
	return worst, stopped
}

func boundTrials(limits []float64, qs ...float64) []*Trial {
	var list []*Trial
	for i, q := range qs {
		list = append(list, &Trial{Criterion: rttBudget(q, limits[i]), Against: Bound})
	}
	return list
}

func baselineTrials(base []float64, tolerant bool, qs ...float64) []*Trial {
	e := valuesOf(base)
	var list []*Trial
	for _, q := range qs {
		c := rttBudget(q, math.NaN())
		if !tolerant {
			c.Ratio, c.Floor = 0, 0
		}
		list = append(list, &Trial{Criterion: c, Against: Baseline, Baseline: e})
	}
	return list
}

// tally counts outcomes.
type tally struct{ runs, fail, pass int }

func (c *tally) add(o Outcome) {
	c.runs++
	switch o {
	case Fail:
		c.fail++
	case Pass:
		c.pass++
	case Inconclusive:
	}
}

// failed writes the rate of failures with its upper 95 % bound.
func (c *tally) failed() string {
	return fmt.Sprintf("%.1f %% (≤ %.1f %%)", 100*float64(c.fail)/float64(c.runs), 100*stats.UpperProportion(float64(c.fail), float64(c.runs), 0.05))
}

// passed writes the rate of passes with its upper 95 % bound.
func (c *tally) passed() string {
	return fmt.Sprintf("%.1f %% (≤ %.1f %%)", 100*float64(c.pass)/float64(c.runs), 100*stats.UpperProportion(float64(c.pass), float64(c.runs), 0.05))
}

// rate writes the rate of failures.
func (c *tally) rate() string { return fmt.Sprintf("%.1f %%", 100*float64(c.fail)/float64(c.runs)) }

// TestGateKeepsItsErrorRates is the short form of TestBenchGate: with so few runs it cannot tell 5 % from 6 %, and fails only
// when what it sees is at odds with what is promised, by a test of which chance fails one in a thousand. Seeds are fixed, so
// it is always the same runs; NRPROBE_GATE_RUNS makes them more.
func TestGateKeepsItsErrorRates(t *testing.T) {
	runs := 20
	if text := os.Getenv("NRPROBE_GATE_RUNS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 20 {
			t.Fatalf("NRPROBE_GATE_RUNS is %q: want a number of runs, 20 or more", text)
		}
		runs = n
	}
	const surprise = 0.001
	atMost := func(what string, k int, rate float64) {
		if stats.AtLeast(float64(k), float64(runs), rate) < surprise {
			t.Errorf("%s: %d of %d, which is more than a rate of %.0f %% gives", what, k, runs, 100*rate)
		}
	}
	found := atOnce(links(), func(link simulated) *errorRates { return falseAlarms(link, runs) })
	for i, link := range links() {
		e := found[i]
		for what, c := range e.fails() {
			atMost(link.name+", "+what+": wrong fails", c.fail, 0.05)
		}
		for what, c := range e.passes() {
			atMost(link.name+", "+what+": wrong passes", c.pass, 0.05)
		}
	}
	for _, p := range powers() {
		for i, right := range p.measure(runs) {
			atMost(p.what+" "+[]string{"once", "sequential"}[i]+": missed", runs-right, 0.1)
		}
	}
}

// TestBenchGate measures how often the gate errs and prints the tables of the README. It takes minutes, so it runs when
// NRPROBE_BENCH_GATE names the file that gets the tables, or is "-" for none.
func TestBenchGate(t *testing.T) {
	file := os.Getenv("NRPROBE_BENCH_GATE")
	if file == "" {
		t.Skip("set NRPROBE_BENCH_GATE to a file (or -) to measure error rates and power of the gate; TestGateKeepsItsErrorRates is its short form")
	}
	var b strings.Builder
	began := time.Now()
	tabulateErrors(t, &b)
	tabulatePower(t, &b)
	settling(t, &b)
	recorded(t, &b)
	t.Logf("%v\n%s", time.Since(began), b.String())
	if file != "-" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
