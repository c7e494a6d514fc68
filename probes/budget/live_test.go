package budget

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

const warmRTT = `
max_duration: 60s
budgets:
  - {name: warm RTT, probe: {kind: stamp, interval: 10ms}, metric: rtt, statistic: p95, bound: 20ms}
`

func TestALinkWellInsideItsBudgetPassesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), strings.Replace(warmRTT, "max_duration: 60s", "max_duration: 120s", 1), around(14*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if r.Outcome != Pass || r.ExitCode(InconclusiveIsOwn) != ExitPass {
			t.Errorf("%s: %s", r.Outcome, r.Verdicts[0].Reason)
		}
		if r.Elapsed != 90*time.Second {
			t.Errorf("took %v, want 90 s: three quarters of the time, the first look after %v", r.Elapsed, patience(0.05))
		}
		v := r.Verdicts[0]
		if v.Samples != 9000 || v.Results != 90 || v.Lost != 0 {
			t.Errorf("%d samples in %d results, %d lost; want 9000 in 90, none lost", v.Samples, v.Results, v.Lost)
		}
		if !(v.Lower <= v.Estimate && v.Estimate <= v.Upper && v.Upper <= 0.02) {
			t.Errorf("p95 = %v in [%v, %v]", v.Estimate, v.Lower, v.Upper)
		}
	})
}

func TestALinkThatGetsSlowerFailsAndSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r, err := checkLive(t.Context(), strings.Replace(warmRTT, "max_duration: 60s", "max_duration: 60s\nsequential: false", 1), func(_ string, at time.Duration, r *rand.Rand) (time.Duration, bool) {
			slow := 1.0
			if at >= 40*time.Second {
				slow = 1.3
			}
			return time.Duration((16 + r.NormFloat64()*1.6) * slow * 1e6), false
		})
		if err != nil {
			t.Fatal(err)
		}
		v := r.Verdicts[0]
		if r.Outcome != Fail || r.ExitCode(InconclusiveIsPass) != ExitFail {
			t.Fatalf("%s: %s", r.Outcome, v.Reason)
		}
		if v.Since == nil || v.Since.Sample < 3990 || v.Since.Sample > 4020 {
			t.Fatalf("since %+v, want about sample 4001", v.Since)
		}
		if after := v.Since.Time.Sub(began); after < 39900*time.Millisecond || after > 40200*time.Millisecond {
			t.Errorf("since %v after the start, want 40 s", after)
		}
		for _, word := range []string{"% above the 20 ms allowed", "95 % sure", "worse since sample 40", "independent"} {
			if !strings.Contains(v.Reason, word) {
				t.Errorf("the reason lacks %q: %s", word, v.Reason)
			}
		}
	})
}

func TestALinkOnTheLineIsInconclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), strings.Replace(warmRTT, "p95, bound: 20ms", "p50, bound: 20ms", 1), func(_ string, at time.Duration, _ *rand.Rand) (time.Duration, bool) {
			if at/(10*time.Millisecond)%2 == 0 {
				return 19 * time.Millisecond, false
			}
			return 21 * time.Millisecond, false
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Outcome != Inconclusive || r.Elapsed != time.Minute {
			t.Errorf("%s after %v: %s", r.Outcome, r.Elapsed, r.Verdicts[0].Reason)
		}
		for policy, want := range map[Policy]int{InconclusiveIsOwn: ExitInconclusive, InconclusiveIsPass: ExitPass, InconclusiveIsFail: ExitFail} {
			if got := r.ExitCode(policy); got != want {
				t.Errorf("policy %q: exit code %d, want %d", policy, got, want)
			}
		}
	})
}

func TestLostPacketsAreInfinitelyLate(t *testing.T) {
	lossy := func(_ string, _ time.Duration, r *rand.Rand) (time.Duration, bool) {
		return 10 * time.Millisecond, r.IntN(10) == 0
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), warmRTT, lossy)
		if err != nil {
			t.Fatal(err)
		}
		if r.Outcome != Fail || r.Verdicts[0].Lost == 0 || !math.IsInf(r.Verdicts[0].Estimate, 1) {
			t.Errorf("of sent: %s: %s", r.Outcome, r.Verdicts[0].Reason)
		}
		r, err = checkLive(t.Context(), strings.Replace(warmRTT, "bound: 20ms", "bound: 20ms, of: received", 1), lossy)
		if err != nil {
			t.Fatal(err)
		}
		if r.Outcome != Pass || r.Verdicts[0].Lost == 0 {
			t.Errorf("of received: %s: %s", r.Outcome, r.Verdicts[0].Reason)
		}
	})
}

func TestSharesReliabilityAndAvailability(t *testing.T) {
	const yaml = `
max_duration: 5m
budgets:
  - {name: loss, metric: loss, statistic: ratio, bound: 1%}
  - {name: reliable, metric: rtt, statistic: reliability, bound: 15ms, at_least: 99%}
  - {name: available, metric: rtt, statistic: availability, bound: 15ms, at_least: 99%, survival: 50ms}
`
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), yaml, func(_ string, _ time.Duration, r *rand.Rand) (time.Duration, bool) {
			return 10 * time.Millisecond, r.IntN(1000) == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Verdicts {
			if v.Outcome != Pass {
				t.Errorf("%s: %s: %s", v.Name, v.Outcome, v.Reason)
			}
		}
		r, err = checkLive(t.Context(), yaml, func(_ string, at time.Duration, _ *rand.Rand) (time.Duration, bool) {
			if at%(2*time.Second) < 200*time.Millisecond { // a tenth of the time, in rows of 20 packets
				return 30 * time.Millisecond, false
			}
			return 10 * time.Millisecond, false
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []Outcome{Pass, Fail, Fail} {
			if v := r.Verdicts[i]; v.Outcome != want {
				t.Errorf("%s: %s, want %s: %s", v.Name, v.Outcome, want, v.Reason)
			}
		}
		// Of 200 ms late, the first 50 ms are survived: 150 ms of 2 s.
		if v := r.Verdicts[2]; math.Abs(v.Estimate-(1-0.075)) > 0.01 {
			t.Errorf("available for %v of the time, want 0.925", v.Estimate)
		}
	})
}

func TestDoubtfulResultsAreLeftOutAndTooManyDecideNothing(t *testing.T) {
	run := func(share float64) *Report {
		plan, err := Parse("b.yaml", []byte("budgets: [{metric: rtt, statistic: p95, bound: 20ms}]"), nil, kinds(nil))
		if err != nil {
			t.Fatal(err)
		}
		in := &Input{}
		r := rand.New(rand.NewPCG(1, 1))
		for i := range 100 {
			rec := probes.NewRecorder()
			for range 100 {
				rec.Observe(probes.RTT, probes.Both, 0.010+0.001*r.Float64())
			}
			if float64(i) < share*100 {
				rec.Observe(probes.RTT, probes.Both, 1)
				rec.Flag(probes.CPUStarved)
			}
			in.Pieces = append(in.Pieces, Piece{Result: rec.Snapshot()})
		}
		report, err := Check(t.Context(), plan, Options{Input: in})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if r := run(0.1); r.Outcome != Pass || r.Verdicts[0].Doubtful != 10 || r.Verdicts[0].Results != 90 {
		t.Errorf("a tenth doubtful: %s, %d left out: %s", r.Outcome, r.Verdicts[0].Doubtful, r.Verdicts[0].Reason)
	}
	if r := run(0.11); r.Outcome != Inconclusive || !strings.Contains(r.Verdicts[0].Reason, "no processor time: 11") {
		t.Errorf("more than a tenth doubtful: %s: %s", r.Outcome, r.Verdicts[0].Reason)
	}
}

func TestInTurnsDriftCancels(t *testing.T) {
	const yaml = "max_duration: 4m\nbudgets: [{name: shift, probe: {kind: stamp}, metric: rtt, statistic: p50}]"
	drifting := func(factor float64) fakeLink {
		return func(target string, at time.Duration, r *rand.Rand) (time.Duration, bool) {
			ms := 20 + 10*math.Sin(at.Seconds()/20) + r.NormFloat64()
			if target == "b.example" {
				ms *= factor
			}
			return time.Duration(ms * 1e6), false
		}
	}
	compare := func(factor float64) *Report {
		var r *Report
		synctest.Test(t, func(t *testing.T) {
			var err error
			r, err = checkLive(t.Context(), yaml, drifting(factor), func(o *Options) { o.Live.Target, o.Live.Compare = "b.example", "a.example" })
			if err != nil {
				t.Fatal(err)
			}
		})
		return r
	}
	if r := compare(1.3); r.Outcome != Fail || !strings.Contains(r.Verdicts[0].Reason, "the other target's") {
		t.Errorf("30 %% slower: %s: %s", r.Outcome, r.Verdicts[0].Reason)
	}
	if r := compare(1); r.Outcome == Fail {
		t.Errorf("the same: %s", r.Verdicts[0].Reason)
	}
}

func TestBaselineSavedAndCompared(t *testing.T) {
	const yaml = "max_duration: 2m\nsequential: false\nbudgets: [{name: median, probe: {kind: stamp}, metric: rtt, statistic: p50}, {name: tail, probe: {kind: stamp}, metric: rtt, statistic: p95, bound: 30ms}]"
	file := filepath.Join(t.TempDir(), "base.json")
	with := func(middle time.Duration, baseline *Input, version string) (report *Report) {
		synctest.Test(t, func(t *testing.T) {
			var err error
			report, err = checkLive(t.Context(), yaml, around(middle), func(o *Options) { o.Baseline, o.Live.Version = baseline, version })
			if baseline == nil && err == nil {
				t.Error("a budget without a bound is judged without a baseline")
			}
			if baseline == nil {
				report, err = checkLive(t.Context(), strings.Replace(yaml, "statistic: p50", "statistic: p50, bound: 25ms", 1), around(middle))
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		return report
	}
	first := with(16*time.Millisecond, nil, "v1")
	if err := SaveBaseline(file, first.Pieces, first.Conditions, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	baseline, err := ReadFile(file, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(baseline.Pieces), len(first.Pieces); got != want {
		t.Fatalf("%d pieces came back, want %d", got, want)
	}
	same := with(16*time.Millisecond, baseline, "v1")
	if same.Outcome != Pass || len(same.Verdicts) != 3 || len(same.Warnings) != 0 {
		t.Errorf("nothing changed: %s with %d verdicts and %q", same.Outcome, len(same.Verdicts), same.Warnings)
	}
	slower := with(18*time.Millisecond, baseline, "v2")
	if slower.Outcome != Fail || slower.Verdicts[0].Outcome != Fail || slower.Verdicts[1].Outcome != Pass || slower.Verdicts[2].Outcome != Fail {
		for _, v := range slower.Verdicts {
			t.Errorf("12 %% slower: %s %s: %s", v.title(), v.Outcome, v.Reason)
		}
	}
	if len(slower.Warnings) != 1 || !strings.Contains(slower.Warnings[0], "version of nrprobe is v2, in the baseline v1") {
		t.Errorf("warnings %q, want that the versions differ", slower.Warnings)
	}
}

func TestATargetThatDoesNotAnswerEndsTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), warmRTT, func(string, time.Duration, *rand.Rand) (time.Duration, bool) { return 0, true })
		if err != nil {
			t.Fatal(err)
		}
		if got := r.ExitCode(InconclusiveIsPass); got != ExitUnreachable {
			t.Errorf("exit code %d, want %d: %v", got, ExitUnreachable, r.Err)
		}
		if r.Err == nil || !strings.Contains(r.Err.Error(), "edge.example does not answer the probe stamp: no reply to 100 packets") {
			t.Errorf("error %v", r.Err)
		}
		if r.Elapsed > 10*time.Second || len(r.Verdicts) != 1 {
			t.Errorf("took %v with %d verdicts, want to give up after some runs with a report", r.Elapsed, len(r.Verdicts))
		}
		r, err = checkLive(t.Context(), "budgets: [{metric: connect, statistic: p95, bound: 1s}]", nil)
		if err != nil || r.ExitCode("") != ExitUnreachable {
			t.Errorf("refused connections: %v, %v", err, r.Err)
		}
	})
}

func TestABusyTargetSaysNothingAboutTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), "max_duration: 1m\nbudgets: [{metric: goodput_down, statistic: p50, at_least: 10Mbit/s}]", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.ExitCode(InconclusiveIsOwn); got != ExitInconclusive || r.Err != nil {
			t.Errorf("exit code %d, want %d: %v", got, ExitInconclusive, r.Err)
		}
		if want := "no results with goodput_down: another load test has the lease"; r.Verdicts[0].Reason != want {
			t.Errorf("reason %q, want %q", r.Verdicts[0].Reason, want)
		}
	})
}

func TestALinkThatDiesFailsWithoutAFigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := checkLive(t.Context(), warmRTT, func(_ string, at time.Duration, _ *rand.Rand) (time.Duration, bool) {
			return 10 * time.Millisecond, at > 3*time.Second
		})
		if err != nil {
			t.Fatal(err)
		}
		want := "p95 of rtt is unbounded, as more than 5 % were lost, above the 20 ms allowed (95 % sure of that); "
		if r.Outcome != Fail || !strings.HasPrefix(r.Verdicts[0].Reason, want) {
			t.Errorf("%s: %q, want %q", r.Outcome, r.Verdicts[0].Reason, want)
		}
	})
}

func TestAnInterruptKeepsWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5500*time.Millisecond, cancel)
		r, err := checkLive(ctx, warmRTT, around(14*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(r.Err, context.Canceled) || r.Verdicts[0].Samples < 500 {
			t.Errorf("%v with %d samples, want an interrupt with 5 s of them", r.Err, r.Verdicts[0].Samples)
		}
		if got := r.ExitCode(""); got != ExitInterrupted {
			t.Errorf("exit code %d, want %d", got, ExitInterrupted)
		}
	})
}

func TestDataBoundsTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last Progress
		r, err := checkLive(t.Context(), strings.Replace(warmRTT, "max_duration: 60s", "max_duration: 60s\nmax_bytes: 100kB\nsequential: false", 1), around(14*time.Millisecond),
			func(o *Options) { o.Live.Progress = func(p Progress) { last = p } })
		if err != nil {
			t.Fatal(err)
		}
		if last.Bytes > 100_000 || last.Bytes < 70_000 {
			t.Errorf("used %v, want just below 100 kB", last.Bytes)
		}
		if r.Elapsed >= 10*time.Second || r.Outcome != Pass {
			t.Errorf("%s after %v", r.Outcome, r.Elapsed)
		}
	})
}
