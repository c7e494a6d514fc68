package probes

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func collect(results *[]*Result) func(*Result) {
	return func(r *Result) { *results = append(*results, r) }
}

func TestRunStampsWhatTheProbeDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pci := 94
		runner := &Runner{
			Agent: "van-07", Boot: "b1", Labels: map[string]string{"site": "nansha"},
			Radio: func() *RadioSample { return &RadioSample{RAT: "NR-SA", PCI: new(pci)} },
		}
		probe := ProbeFunc(func(_ context.Context, r *Recorder) error {
			r.ObserveDuration(RTT, Both, 20*time.Millisecond)
			r.Add(PacketsSent, Both, 1)
			time.Sleep(time.Second)
			pci = 112
			return nil
		})
		var got []*Result
		start := time.Now()
		for range 2 {
			runner.Run(t.Context(), Job{Kind: "stamp", Name: "edge", Target: "host:1", Probe: probe}, collect(&got))
			pci = 94
		}
		if len(got) != 2 || got[0].ID != (ID{"van-07", "b1", 1}) || got[1].ID.Seq != 2 {
			t.Fatalf("got %d results, first %+v", len(got), got[0].ID)
		}
		r := got[0]
		if !r.Start.Equal(start) || r.Elapsed != time.Second || r.Outcome != OK || r.Values["rtt_p50_seconds"] != 0.02 {
			t.Errorf("start %v, elapsed %v, outcome %v, p50 %v", r.Start, r.Elapsed, r.Outcome, r.Values["rtt_p50_seconds"])
		}
		if len(r.Events) != 1 || r.Events[0].Detail != "NR-SA pci 94 to NR-SA pci 112" {
			t.Errorf("events: %+v, want one handover", r.Events)
		}
	})
}

func TestRunKeepsWhatWasMeasuredBeforeAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partial := func(then func(context.Context) error) Probe {
			return ProbeFunc(func(ctx context.Context, r *Recorder) error {
				r.Add(PacketsSent, Both, 3)
				return then(ctx)
			})
		}
		for name, c := range map[string]struct {
			probe   Probe
			outcome Outcome
			text    string
		}{
			"panic":    {partial(func(context.Context) error { panic("boom") }), Error, "panic in probe: boom"},
			"deadline": {partial(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), Timeout, "not complete after 5s"},
			"failure":  {partial(func(context.Context) error { return Fail(Busy, "one at a time") }), Busy, "one at a time"},
			"wrapped":  {partial(func(context.Context) error { return errors.Join(context.Canceled) }), Canceled, "context canceled"},
		} {
			var got []*Result
			(&Runner{}).Run(t.Context(), Job{Probe: c.probe, Timeout: 5 * time.Second}, collect(&got))
			if len(got) != 1 || got[0].Outcome != c.outcome || !strings.Contains(got[0].Error, c.text) {
				t.Errorf("%s: got %+v", name, got[0])
				continue
			}
			if got[0].Values["packets_sent"] != 3 || !got[0].Quality.Has(Partial) {
				t.Errorf("%s: values %v, quality %v: want what was measured, marked partial", name, got[0].Values, got[0].Quality)
			}
		}
	})
}

func TestCutYieldsGaplessWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		probe := ProbeFunc(func(ctx context.Context, r *Recorder) error {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for n := 1; ; n++ {
				select {
				case <-tick.C:
					r.Add(PacketsSent, Both, 1)
					if n == 12 {
						r.Note("second", "window only")
					}
					if n%10 == 0 {
						r.Cut()
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		var got []*Result
		(&Runner{}).Run(ctx, Job{Probe: probe}, collect(&got))
		if len(got) != 3 {
			t.Fatalf("got %d windows, want 2 full ones and the rest", len(got))
		}
		total := 0.0
		for i, r := range got {
			total += r.Values["packets_sent"]
			if _, ok := r.Info["second"]; ok != (i == 1) {
				t.Errorf("window %d has the note of the second: %t", i, ok)
			}
			if i > 0 && !r.Start.Equal(got[i-1].End()) {
				t.Errorf("window %d starts at %v, the one before ended at %v", i, r.Start, got[i-1].End())
			}
		}
		if total != 24 && total != 25 {
			t.Errorf("windows hold %v packets in all, want each of the 24 or 25 once", total)
		}
	})
}

func TestResultJSONRoundTrip(t *testing.T) {
	rec := NewRecorder()
	rec.Observe(RTT, Both, 0.015)
	rec.Observe(OneWayDelay, Up, 0.009)
	rec.Add(PacketsLost, Up, 2)
	rec.Note("congestion_control", "cubic")
	rec.Flag(ScheduleLate | UserStamps)
	r := rec.Snapshot()
	r.ID, r.Kind, r.Outcome = ID{"a", "b", 7}, "stamp", OK
	r.Start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	r.Elapsed = 1500 * time.Millisecond
	r.Events = []Event{{Time: r.Start, Type: InterruptionEvent, Duration: 137 * time.Millisecond, Spike: &Spike{Before: 1, Peak: 2, Settled: 3}}, {Time: r.Start, Spike: &Spike{Settled: -1}}, {Time: r.Start}}
	rsrp := -91.5
	r.Radio = &Radio{Before: &RadioSample{Time: r.Start, RAT: "LTE", RSRP: &rsrp}}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"elapsed_seconds":1.5`, `"rtt_p999_seconds":0.015`, `"owd_up_mean_seconds":0.009`, `"packets_lost_up":2`, `"schedule_late":true`, `"rsrp_dbm":-91.5`, `"duration_seconds":0.137`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("JSON lacks %s:\n%s", want, text)
		}
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("round trip changed the result (-before +after):\n%s", diff)
	}
}

func TestNamesAreUniqueAndResolve(t *testing.T) {
	names := NewNames() // panics on a clash
	for name, want := range map[string]NamedValue{
		"rtt_p50_seconds":               {RTT, Both, P50},
		"owd_up_p999_seconds":           {OneWayDelay, Up, P999},
		"packets_lost_down":             {PacketsLost, Down, ""},
		"goodput_up_bytes_per_second":   {Goodput, Up, ""},
		"handshake_seconds":             {HandshakeTime, Both, ""},
		"interruption_max_seconds":      {Interruption, Both, ""},
		"transferred_down_bytes":        {Transferred, Down, ""},
		"retransmitted_segments":        {Retransmitted, Both, ""},
		"responsiveness_rpm":            {Responsiveness, Both, ""},
		"loss_ratio":                    {LossRatio, Both, ""},
		"pdv_down_p99_seconds":          {DelayVariation, Down, P99},
		"transport_rtt_seconds":         {TransportRTT, Both, ""},
		"interruption_max_up_seconds__": {},
	} {
		got, ok := names.Value(name)
		if ok != (want.Metric != nil) || got != want {
			t.Errorf("Value(%q) = %+v, %v; want %+v", name, got, ok, want)
		}
	}
	for _, m := range Vocabulary() {
		if m.Help == "" || m.Source == "" || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("metric %s: want a sentence of help and a source", m.Stem)
		}
		if m.Unit != Count && !strings.HasSuffix(m.Name, string(m.Unit)) {
			t.Errorf("metric %s: Prometheus name %s does not end in its unit", m.Stem, m.Name)
		}
	}
}

func TestTapSeesEveryObservedValueInOrder(t *testing.T) {
	r := NewRecorder()
	r.Observe(RTT, Both, 1)
	var seen []float64
	r.Tap(func(m *Metric, d Direction, v float64) {
		if m != RTT || d != Both {
			t.Errorf("tapped %s %v, want rtt", m.Stem, d)
		}
		seen = append(seen, v)
	})
	r.Observe(RTT, Both, 2)
	r.Cut()
	r.ObserveDuration(RTT, Both, 3*time.Second)
	r.ObserveAll(RTT, Both, &Hist{})
	r.Tap(nil)
	r.Observe(RTT, Both, 4)
	if want := []float64{2, 3}; !slices.Equal(seen, want) {
		t.Errorf("tapped %v, want %v", seen, want)
	}
	if n := r.Snapshot().Hists["rtt"].Count(); n != 2 {
		t.Errorf("the window after the cut holds %d values, want 2: the tap only looks on", n)
	}
}

func TestCutAtCoversWhatTheProbeSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		probe := ProbeFunc(func(_ context.Context, r *Recorder) error {
			for n := range 3 {
				time.Sleep(13 * time.Second) // a window of 10 s is known to be complete 3 s later
				r.Add(PacketsSent, Both, float64(n))
				begin := start.Add(time.Duration(n) * 10 * time.Second)
				r.CutAt(begin, begin.Add(10*time.Second), []error{nil, Fail(Timeout, "silence"), nil}[n])
			}
			return context.Canceled
		})
		var got []*Result
		(&Runner{}).Run(t.Context(), Job{Probe: probe}, collect(&got))
		for n, r := range got[:3] {
			if want := start.Add(time.Duration(n) * 10 * time.Second); !r.Start.Equal(want) || r.Elapsed != 10*time.Second || r.Values["packets_sent"] != float64(n) {
				t.Errorf("window %d: %v from %v with %v packets", n, r.Elapsed, r.Start, r.Values["packets_sent"])
			}
		}
		if got[0].Outcome != OK || got[1].Outcome != Timeout || got[1].Error != "silence" || got[2].Outcome != OK {
			t.Errorf("outcomes %s, %s (%s), %s", got[0].Outcome, got[1].Outcome, got[1].Error, got[2].Outcome)
		}
		if last := got[3]; !last.Start.Equal(start.Add(30*time.Second)) || last.Elapsed != 9*time.Second {
			t.Errorf("the rest covers %v from %v", last.Elapsed, last.Start)
		}
	})
}
