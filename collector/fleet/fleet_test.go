package fleet

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// now is in the middle of a slot, so that a few seconds this way and that stay in it.
var now = time.Unix(1_700_000_015, 0)

func result(agent string, end time.Time, lost float64, rtts ...time.Duration) *probes.Result {
	r := probes.NewRecorder()
	for _, rtt := range rtts {
		r.ObserveDuration(probes.RTT, probes.Both, rtt)
	}
	r.Add(probes.PacketsSent, probes.Both, 100)
	r.Add(probes.PacketsLost, probes.Both, lost)
	r.Add(probes.PacketsLost, probes.Up, lost)
	out := r.Snapshot()
	out.ID.Agent, out.Kind, out.Probe, out.Target, out.Outcome = agent, "stamp", "edge", "far", probes.OK
	out.Elapsed = time.Second
	out.Start = end.Add(-out.Elapsed)
	return out
}

func add(g *Registry, results ...*probes.Result) {
	for _, r := range results {
		g.Add(r, now)
	}
}

func TestWindowsAreSummedFromHistograms(t *testing.T) {
	g := NewRegistry(time.Hour)
	add(g,
		result("a", now.Add(-10*time.Minute), 50, 9*time.Second), // beyond every window
		result("a", now.Add(-4*time.Minute), 2, 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond),
		result("a", now.Add(-20*time.Second), 1, 10*time.Millisecond),
		result("a", now, 0, 30*time.Millisecond),
	)
	p := g.Snapshot(now, Selection{}).Agents[0].Probes[0]
	if p.Minute.Count != 2 || *p.Minute.P50 != 0.010 || *p.Minute.Max != 0.030 || *p.Minute.Lost != 1 || *p.Minute.Sent != 200 || p.Minute.LostDown != nil {
		t.Errorf("minute: %s", text(t, p.Minute))
	}
	if p.FiveMinutes.Count != 5 || *p.FiveMinutes.P95 != 0.100 || *p.FiveMinutes.LostUp != 3 {
		t.Errorf("five minutes: %s", text(t, p.FiveMinutes))
	}
	if p.History != nil {
		t.Error("history came without having been asked for")
	}
}

func TestHistoryMergesWithinAPoint(t *testing.T) {
	g := NewRegistry(time.Hour)
	add(g,
		result("a", now.Add(-20*time.Minute), 0, time.Second), // older than the drawing
		result("a", now.Add(-20*time.Second), 0, 10*time.Millisecond),
		result("a", now, 1, 20*time.Millisecond),
		result("a", now.Add(2*time.Second), 0, 40*time.Millisecond), // the same point
		result("a", now.Add(-60*time.Second), 9, time.Second),       // late: in the windows, not in the drawing
	)
	h := g.Snapshot(now.Add(2*time.Second), Selection{History: true}).Agents[0].Probes[0].History
	if got, want := fmt.Sprint(h.At), fmt.Sprint([]int64{now.Unix() - 20, now.Unix()}); got != want {
		t.Fatalf("at %s, want %s", got, want)
	}
	if *h.P50[0] != 0.010 || *h.P50[1] != 0.020 || *h.P99[1] != 0.040 || *h.Loss[1] != float32(1./200) || h.Down[1] != nil {
		t.Errorf("%s", text(t, h))
	}
}

func TestThroughputIsShownAsThroughput(t *testing.T) {
	g := NewRegistry(time.Hour)
	r := result("a", now, 0, time.Millisecond) // with the round trips of its own connections
	r.Values["goodput_down_bytes_per_second"] = 1e6
	add(g, r)
	p := g.Snapshot(now, Selection{History: true}).Agents[0].Probes[0]
	if p.Metric != "" || p.Minute.P50 != nil || p.History.P50[0] != nil || *p.History.Down[0] != 1e6 || p.History.Up[0] != nil {
		t.Errorf("%s", text(t, p))
	}
}

func TestHistoryIsBounded(t *testing.T) {
	g := NewRegistry(time.Hour)
	for i := range 1000 {
		add(g, result("a", now.Add(time.Duration(i)*pointWidth), 0, time.Millisecond))
	}
	h := g.Snapshot(now.Add(999*pointWidth), Selection{History: true}).Agents[0].Probes[0].History
	if len(h.At) != maxPoints {
		t.Errorf("%d points, want %d", len(h.At), maxPoints)
	}
}

func TestLatestIsByMeasurementNotByArrival(t *testing.T) {
	g := NewRegistry(time.Hour)
	newer, older := result("a", now, 0, time.Millisecond), result("a", now.Add(-time.Minute), 0, time.Millisecond)
	newer.Labels = map[string]string{"site": "new"}
	older.Labels = map[string]string{"site": "old"}
	older.Outcome = probes.Timeout
	pci := 94
	newer.Radio = &probes.Radio{After: &probes.RadioSample{Time: now, RAT: "NR-SA", PCI: &pci}}
	older.Radio = &probes.Radio{After: &probes.RadioSample{Time: now.Add(-time.Minute), RAT: "LTE"}}
	add(g, newer, older)
	a := g.Snapshot(now, Selection{}).Agents[0]
	if a.Labels["site"] != "new" || a.Radio.RAT != "NR-SA" || a.Probes[0].Outcome != probes.OK || !a.Measured.Equal(now) {
		t.Errorf("%s", text(t, a))
	}
	if a.Probes[0].FiveMinutes.Failures != 1 {
		t.Error("the late failure is not counted")
	}
}

func TestEventsOfTwoProbesAreOne(t *testing.T) {
	g := NewRegistry(time.Hour)
	for i := range 30 {
		r := result("a", now, 0, time.Millisecond)
		at := now.Add(time.Duration(i/2) * time.Minute)
		r.Events = []probes.Event{{Time: at.Add(time.Duration(i%2) * 100 * time.Millisecond), Type: probes.Handover, Detail: fmt.Sprint("to ", i/2)}}
		add(g, r)
	}
	events := g.Snapshot(now, Selection{}).Agents[0].Events
	if len(events) != 15 || events[0].Detail != "to 14" {
		t.Errorf("%d events, the first %v; want 15, newest first", len(events), events[0])
	}
}

func TestSearchAndLimit(t *testing.T) {
	g := NewRegistry(time.Hour)
	for i := range 10 {
		r := result(fmt.Sprintf("van-%02d", i), now, 0, time.Millisecond)
		if i%2 == 0 {
			r.Labels = map[string]string{"site": "Nansha"}
		}
		add(g, r)
	}
	if f := g.Snapshot(now, Selection{Search: "nansha", Limit: 3}); f.Summary.Agents != 5 || len(f.Agents) != 3 || f.Agents[1].Name != "van-02" {
		t.Errorf("%d of %d agents", len(f.Agents), f.Summary.Agents)
	}
	if f := g.Snapshot(now, Selection{Search: "AN-07"}); f.Summary.Agents != 1 {
		t.Errorf("%d agents by name, want 1", f.Summary.Agents)
	}
}

func TestSummary(t *testing.T) {
	g := NewRegistry(time.Hour)
	failed, doubtful := result("failed", now, 0), result("doubtful", now, 0)
	failed.Outcome, failed.Quality = probes.Timeout, probes.UserStamps
	doubtful.Quality = probes.CPUStarved
	add(g, failed, doubtful, result("fine", now, 0))
	g.Add(result("silent", now, 0), now.Add(-2*time.Minute))
	f := g.Snapshot(now, Selection{Limit: 1})
	if want := (Summary{Agents: 4, Probes: 4, Silent: 1, Failing: 1, Flagged: 1}); f.Summary != want || len(f.Agents) != 1 {
		t.Errorf("%+v with %d agents listed, want %+v", f.Summary, len(f.Agents), want)
	}
}

func TestSweep(t *testing.T) {
	g := NewRegistry(time.Hour)
	g.Add(result("gone", now, 0), now.Add(-2*time.Hour))
	g.Add(result("here", now, 0), now)
	g.Sweep(now)
	if seen := g.LastSeen(); len(seen) != 1 || seen[0].Agent != "here" || !seen[0].Measured.Equal(now) {
		t.Errorf("%v", seen)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
