package budget

import (
	"math"
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
