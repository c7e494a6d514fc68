package budget_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/stamp"
)

// over runs a check of the real STAMP probe against the real reflector over an emulated link.
func over(t *testing.T, yaml string, oneWay netsim.Profile, baseline *budget.Input) *budget.Report {
	t.Helper()
	kinds := catalog.New("probe kind", stamp.Kind())
	plan, err := budget.Parse("budgets.yaml", []byte(yaml), nil, kinds)
	if err != nil {
		t.Fatal(err)
	}
	var report *budget.Report
	synctest.Test(t, func(t *testing.T) {
		network := netsim.New(1)
		van, edge := network.Host("van", "10.0.0.1"), network.Host("edge", "10.0.0.2")
		network.Connect(van, edge, oneWay, oneWay)
		ctx, cancel := context.WithCancel(t.Context())
		pc, err := edge.ListenPacket(ctx, "udp", ":8620")
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := stamp.FarEnd(log).Packets(ctx, pc); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		report, err = budget.Check(ctx, plan, budget.Options{Kinds: kinds, Baseline: baseline, Live: &budget.Live{
			Target: edge.Addr().String(), Runner: &probes.Runner{Agent: "ci", Boot: "b"},
			Env: probes.Env{Net: van, Log: log, Rand: rand.New(rand.NewPCG(1, 1))},
		}})
		cancel()
		serving.Wait()
		_ = pc.Close()
		_ = network.Close()
		if err != nil {
			t.Fatal(err)
		}
	})
	return report
}

// TestALinkThatBecameSlowerFailsWithAMessageForPeople is what a pipeline sees when the link got 30 % slower.
func TestALinkThatBecameSlowerFailsWithAMessageForPeople(t *testing.T) {
	const yaml = `
max_duration: 90s
sequential: false
budgets: [{name: warm RTT, probe: {kind: stamp, interval: 10ms}, metric: rtt, statistic: p95, bound: 25ms}]
`
	link := func(factor float64) netsim.State {
		ms := func(v float64) time.Duration { return time.Duration(v * factor * float64(time.Millisecond)) }
		return netsim.State{Delay: ms(6), Jitter: ms(6)}
	}
	good := over(t, yaml, link(1), nil)
	if good.Outcome != budget.Pass {
		t.Fatalf("as planned: %s: %s, %v, %+v", good.Outcome, good.Verdicts[0].Reason, good.Err, good.Pieces[0].Result)
	}
	slow := over(t, yaml, link(1.3), &budget.Input{Pieces: good.Pieces, Conditions: good.Conditions})
	for _, v := range slow.Verdicts {
		if v.Outcome != budget.Fail {
			t.Errorf("30 %% slower: %s against its %s: %s", v.Outcome, v.Against, v.Reason)
		}
		for _, word := range []string{"p95 of rtt is 28", " ms", "95 % sure", "samples", "from the first sample on"} {
			if !strings.Contains(v.Reason, word) {
				t.Errorf("the reason lacks %q: %s", word, v.Reason)
			}
		}
		t.Log(v.Reason)
	}
	if slow.ExitCode(budget.InconclusiveIsPass) != budget.ExitFail {
		t.Errorf("exit code %d", slow.ExitCode(budget.InconclusiveIsPass))
	}
	again := over(t, yaml, link(1), &budget.Input{Pieces: good.Pieces, Conditions: good.Conditions})
	if again.Outcome != budget.Pass {
		t.Errorf("nothing changed: %s: %s", again.Outcome, again.Verdicts[1].Reason)
	}
}

// TestALinkThatBecomesSlowerOnItsWayFailsAndSaysSince has the link of the README, 30 % slower from 45 s on.
func TestALinkThatBecomesSlowerOnItsWayFailsAndSaysSince(t *testing.T) {
	const yaml = `
max_duration: 100s
sequential: false
budgets: [{name: warm RTT, probe: {kind: stamp, interval: 10ms}, metric: rtt, statistic: p95, bound: 25ms}]
`
	report := over(t, yaml, netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
		factor := 1.0
		if elapsed >= 45*time.Second {
			factor = 1.3
		}
		ms := func(v float64) time.Duration { return time.Duration(v * factor * float64(time.Millisecond)) }
		return netsim.State{Delay: ms(6), Jitter: ms(6)}
	}), nil)
	v := report.Verdicts[0]
	if v.Outcome != budget.Fail || v.Since == nil || v.Since.Time.IsZero() {
		t.Fatalf("%s: %s", v.Outcome, v.Reason)
	}
	if at := v.Since.Time.Sub(report.Start); at < 44500*time.Millisecond || at > 45500*time.Millisecond {
		t.Errorf("worse since %v after the start, want 45 s: %s", at, v.Reason)
	}
	var b strings.Builder
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
}
