package budget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// settling measures how early sequential checks of links far from their budget end, as a share of the time of a check that
// looks once. That time has to be long enough to decide something: five minutes of packets, or as many as it takes to pass
// nine of ten links that are 20 % inside their budget. The shorter plan of the bursty link is there beside the oracle, and
// the target is not held against it.
func settling(t *testing.T, b *strings.Builder) {
	const runs = 100
	const plan, hour, short = 6000, 72000, 30000
	b.WriteString("\nTime until a sequential check is settled, of that of a fixed one (median), and checks that either settles at all:\n\n| link | samples planned | 30 % inside | … settled (fixed) | 30 % outside | … settled (fixed) | 20 % inside, fixed: passed |\n|---|---|---|---|---|---|---|\n")
	type row struct {
		link  simulated
		q     float64
		n     int
		bound float64 // the true figure
	}
	var rows []row
	for _, link := range links() {
		truth := link.truth(0.5, 0.95)
		rows = append(rows, row{link, 0.5, plan, truth[0]})
		if link.rare {
			rows = append(rows, row{link, 0.95, hour, truth[1]}, row{link, 0.95, short, truth[1]})
		} else {
			rows = append(rows, row{link, 0.95, plan, truth[1]})
		}
	}
	factors := []float64{1 / 0.7, 1 / 1.3, 1 / 0.8}
	found := atOnce(rows, func(r row) []settled {
		return atOnce(factors, func(factor float64) settled {
			return settle(r.link, rttBudget(r.q, r.bound*factor), r.n, runs)
		})
	})
	for i, r := range rows {
		var cells []string
		for k, s := range found[i][:2] {
			cells = append(cells, fmt.Sprintf("%.1f %% | %.0f %% (%.0f %%)", 100*s.median, 100*s.settled, 100*s.fixed))
			if s.median > 0.4 && r.n != short {
				t.Errorf("%s, p%g, limit at %.2f: settled after %.0f %% of the time, want at most 40 %%", r.link.name, r.q*100, factors[k], 100*s.median)
			}
		}
		planned := found[i][2].fixed
		if planned < 0.85 && r.n != short {
			t.Errorf("%s, p%g: %d samples pass %.0f %% of links 20 %% inside, so they are no plan", r.link.name, r.q*100, r.n, 100*planned)
		}
		fmt.Fprintf(b, "| %s, p%g | %d | %s | %.0f %% |\n", r.link.name, r.q*100, r.n, strings.Join(cells, " | "), 100*planned)
	}
	inside, outside := oracle(1/0.7), oracle(1/1.3)
	fmt.Fprintf(b, "\nThe time of a fixed check is five minutes of packets, or what it takes to pass nine of ten links that are 20 %% inside: an hour on the\n"+
		"bursty link, whose p95 is made of handovers, one each 20 s. Planned for %d packets, the check of that link misses the 40 %% that the others\n"+
		"keep. A test that knew all about the bursts but how often they come would take %.0f %% of that plan inside and %.0f %% outside; this one knows\n"+
		"nothing beforehand. Nothing passes within %.0f s unless its time is over: no test tells a calm link from one whose next handover is still\n"+
		"to come. So a check planned for less than %.0f s passes later than after 40 %% of it.\n",
		short, 100*inside/short, 100*outside/short, math.Ceil(patience(0.05).Seconds()), math.Ceil(patience(0.05).Seconds()/0.4))
}

// settled is how early, and how often at all, checks of one sort are settled.
type settled struct{ median, settled, fixed float64 }

func settle(link simulated, c *Criterion, n, runs int) settled {
	var times []float64
	var s settled
	r := rand.New(rand.NewPCG(2026, 3))
	trial := func() *Trial { return &Trial{Criterion: c, Against: Bound} }
	for range runs {
		v := link.draw(r, n)
		o, stopped := gate(stats.Sequential(), v, trial())
		if o == Inconclusive {
			stopped = math.Inf(1)
		} else {
			s.settled += 1 / float64(runs)
		}
		times = append(times, stopped)
		if o, _ = gate(stats.FixedSample(), v, trial()); o != Inconclusive {
			s.fixed += 1 / float64(runs)
		}
	}
	slices.Sort(times)
	s.median = times[runs/2]
	return s
}

// oracle is the median number of samples that it takes to be sure that the p95 of the bursty link is on its side of the true
// p95 times factor, for a test that knows the law of the bursts and only asks how often they come: a sequential likelihood
// ratio test of one Poisson process against the nearest one that breaks (or keeps) the budget. It may err in 5 %, needs no
// power against anything else and stops at any sample (Wald, Annals of Mathematical Statistics 16 (1945) 117; the threshold
// is that of Ville's inequality).
func oracle(factor float64) float64 {
	limit := links()[2].truth(0.95)[0] * factor
	low, high := 50.0, 5000.0 // the rarer the bursts, the fewer values beyond the limit
	for range 12 {
		gap := math.Sqrt(low * high)
		over := 0
		v := handovers(rand.New(rand.NewPCG(5, 5)), 1_000_000, gap)
		for _, x := range v {
			if x > limit {
				over++
			}
		}
		if float64(over) > 0.05*float64(len(v)) {
			low = gap
		} else {
			high = gap
		}
	}
	null, truth := 1/math.Sqrt(low*high), 1.0/handoverGap
	const runs, burst = 4001, 30 // samples of a burst, in the mean
	times := make([]float64, runs)
	r := rand.New(rand.NewPCG(2026, 4))
	for i := range times {
		at, missing := 0.0, math.Log(20) // of evidence
		for {
			gap := r.ExpFloat64() / truth
			if step := (null - truth) * gap; step >= missing { // within a gap, when quiet is the evidence
				at += missing / (null - truth)
				break
			}
			missing -= (null-truth)*gap + math.Log(truth/null)
			if at += gap; missing <= 0 {
				break
			}
			at += burst
		}
		times[i] = at
	}
	slices.Sort(times)
	return times[runs/2]
}

// recorded tries the gate and the naive ones on recorded drives, where there are any (see table).
func recorded(t *testing.T, b *strings.Builder) {
	if !recordings() {
		b.WriteString("\nNo recorded drives at hand (NRPROBE_DATA names their folder).\n")
		return
	}
	b.WriteString("\nRecorded drives; each comparison has p50, p95 and p99, the naive gates have p95 and all samples:\n\n| compared | comparisons | pass | fail | inconclusive | p95 5 % above it | Mann-Whitney (α = 5 %) |\n|---|---|---|---|---|---|---|\n")
	row := func(what string, pairs [][2]*Evidence) {
		count := map[Outcome]int{}
		var tolerant, rank tally
		for _, p := range pairs {
			for _, v := range compare(p[0], p[1]) {
				count[v.Outcome]++
			}
			x, y := p[0].Slices[0], p[1].Slices[0]
			tolerant.add(naive(p95(y) > 1.05*p95(x)))
			rank.add(naive(stats.RankSum(x, y) < 0.05))
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d of %d fail | %d of %d fail |\n", what, 3*len(pairs), count[Pass], count[Fail], count[Inconclusive],
			tolerant.fail, len(pairs), rank.fail, len(pairs))
	}
	var halves [][2]*Evidence
	for _, name := range cicv5gRuns() {
		v, at := cicv5g(t, name)
		m := len(v) / 2
		first, second := session(v[:m], at[:m]), session(v[m:], at[m:])
		halves = append(halves, [2]*Evidence{first, second}, [2]*Evidence{second, first})
	}
	row("halves of one CICV5G run", halves)
	n78, n8 := session(cicv5g(t, "urban_n78_v30_run01.csv")), session(cicv5g(t, "urban_n8_v30_run01.csv"))
	row("n8 against n78", [][2]*Evidence{{n78, n8}})
	for _, carrier := range []string{"atnt", "verizon"} {
		runs := pam25(t, "ping_20230808_"+carrier+".csv")
		var following, whole [][2]*Evidence
		for i := 1; i < len(runs); i++ {
			following = append(following, [2]*Evidence{drive(runs[i-1]), drive(runs[i])})
		}
		row(carrier+", each run of 150 against the one before", following)
		even, odd := drive(every(runs, 0)), drive(every(runs, 1))
		whole = append(whole, [2]*Evidence{even, odd}, [2]*Evidence{odd, even})
		row(carrier+", every other run against the rest", whole)
	}
}

// every joins every other run.
func every(runs [][]float64, from int) []float64 {
	var all []float64
	for i := from; i < len(runs); i += 2 {
		all = append(all, runs[i]...)
	}
	return all
}
