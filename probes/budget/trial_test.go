package budget

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

func TestPatienceIsThatOfAPoissonProcess(t *testing.T) {
	for _, alpha := range []float64{0.5, 0.05, 0.001} {
		unseen := math.Exp(-patience(alpha).Seconds() / seldom.Seconds())
		if math.Abs(unseen-stats.Unseen*alpha) > 1e-9 {
			t.Errorf("after %v trouble is still to come with probability %v, want %v", patience(alpha), unseen, stats.Unseen*alpha)
		}
	}
}

// TestWhatALookCannotSpendGoesToTheNext follows one trial through a plan: three looks come too early for a pass, or for
// anything.
func TestWhatALookCannotSpendGoesToTheNext(t *testing.T) {
	trial := boundTrials([]float64{0.02}, 0.95)[0]
	f := &Family{Trials: []*Trial{trial}, MaxDoubtful: 0.1}
	look := func(turn Turn, n int, span time.Duration) (fail, pass float64) {
		v := make([]float64, n)
		for i := range v { // on the line: 5 % above, evenly spread
			v[i] = 0.01 + 0.02*float64(i%20/19)
		}
		e := valuesOf(v)
		e.Span = span
		fail, pass = trial.fail.spent, trial.pass.spent
		f.Look(turn, func(*Trial) *Evidence { return e })
		return trial.fail.spent - fail, trial.pass.spent - pass
	}
	for i, c := range []struct {
		turn       Turn
		n          int
		span       time.Duration
		fail, pass float64
	}{
		{Turn{Fail: 0.1, Pass: 0.1, Early: true}, 100, time.Hour, 0, 0},      // too few samples
		{Turn{Fail: 0.1, Pass: 0.1, Early: true}, 1000, time.Minute, 0.2, 0}, // too early for a pass
		{Turn{Fail: 0.1, Pass: 0.1, Early: true}, 1000, 2 * time.Minute, 0.1, 0.3},
		{Turn{Fail: 0.7, Pass: 0.4}, 1000, 3 * time.Minute, 0.7, 0.4},
	} {
		if fail, pass := look(c.turn, c.n, c.span); math.Abs(fail-c.fail) > 1e-12 || math.Abs(pass-c.pass) > 1e-12 {
			t.Errorf("look %d spends %v and %v, want %v and %v", i+1, fail, pass, c.fail, c.pass)
		}
	}
	if o := trial.Outcome(); o != Inconclusive {
		t.Errorf("on the line: %s", o)
	}
	trial = boundTrials([]float64{0.02}, 0.95)[0]
	f.Trials[0] = trial
	if _, pass := look(Turn{Fail: 1, Pass: 0.75}, 1000, time.Minute); pass != 1 {
		t.Errorf("a look that is the first and the last spends %v, want all", pass)
	}
}

// TestAPassMustNotRestOnFewBursts looks for records of the bursty link that are inside by the count of what was seen, and
// would not be if the worst burst came once more.
func TestAPassMustNotRestOnFewBursts(t *testing.T) {
	limit := links()[2].truth(0.95)[0]
	r := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		v := links()[2].draw(r, gateSamples)
		q := stats.NewQuantileTest(stats.NewValues(v), 0.95, limit)
		if !q.AtMost(limit, 0.05) || q.AtMostStill(limit, 0.05, 1.5) {
			continue
		}
		trial := boundTrials([]float64{limit}, 0.95)[0]
		f := &Family{Trials: []*Trial{trial}, MaxDoubtful: 0.1}
		f.Look(Once(), func(*Trial) *Evidence { return valuesOf(v) })
		if verdict := f.Verdicts()[0]; verdict.Outcome != Inconclusive || !strings.Contains(verdict.Reason, "if its worst stretch were not to come once more") {
			t.Errorf("%s: %s", verdict.Outcome, verdict.Reason)
		}
		return
	}
	t.Error("no such record among 200: the rule has no effect")
}
