package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/agent/schedule"
	"github.com/nrprobe/nrprobe/probes"
)

// running is an agent in a bubble.
type running struct {
	*Agent
	diary  *diary
	got    *gather
	cancel context.CancelFunc
	done   chan error
}

// run starts an agent with a configuration of fake kinds.
func run(t *testing.T, text string, change func(*Deps)) *running {
	t.Helper()
	r := &running{diary: newDiary(), got: &gather{}, done: make(chan error, 1)}
	deps := Deps{Kinds: r.diary.kinds(), Network: noNet, OnResult: r.got.add, Boot: "boot", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&deps)
	}
	a, err := New(configOf(t, r.diary, text), deps)
	if err != nil {
		t.Fatal(err)
	}
	r.Agent = a
	offset := 30 * 365 * 24 * time.Hour // a bubble begins in 2000, which no clock shows that was ever set
	a.clock = stepped(&offset)
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.done <- a.Run(ctx) }()
	return r
}

// stop ends the agent and returns how long that took.
func (r *running) stop(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return time.Since(began)
}

// at is when a probe of agent "a" starts in the nth period after midnight, as the diary writes it.
func at(probe string, every time.Duration, n int) float64 {
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a bubble begins
	return schedule.NewStarts(midnight, "a", probe, every).At(n).Sub(midnight).Seconds()
}

func span(name string, from, length float64) string {
	return fmt.Sprintf("%s %g-%g", name, from, from+length)
}

func TestRunsOnScheduleAndStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, `
agent: {name: a, labels: {site: nansha, slice: embb}}
probes:
  - {name: p1, kind: ping, target: one, every: 1m, labels: {slice: urllc}}
  - {name: p2, kind: ping, target: two, every: 1m, fails: true}
`, nil)
		time.Sleep(2 * time.Minute)
		r.stop(t)
		want := []string{
			span("one", at("p1", time.Minute, 0), 1), span("one", at("p1", time.Minute, 1), 1),
			span("two", at("p2", time.Minute, 0), 1), span("two", at("p2", time.Minute, 1), 1),
		}
		if got := r.diary.sorted(); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("ran at %v, want %v", got, want)
		}
		results := r.got.results()
		if len(results) != 4 {
			t.Fatalf("%d results, want 4", len(results))
		}
		for i, res := range results {
			if res.ID != (probes.ID{Agent: "a", Boot: "boot", Seq: uint64(i + 1)}) || res.Elapsed != time.Second {
				t.Errorf("result %d has id %v and took %v", i, res.ID, res.Elapsed)
			}
			slice, outcome := "urllc", probes.OK
			if res.Probe == "p2" {
				slice, outcome = "embb", probes.Error
			}
			if res.Labels["slice"] != slice || res.Labels["site"] != "nansha" || res.Outcome != outcome {
				t.Errorf("result of %s has labels %v and outcome %s", res.Probe, res.Labels, res.Outcome)
			}
		}
	})
}

func TestLoadNeverOverlapsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, `
agent: {name: a}
probes:
  - {name: s, kind: stream, target: stream, window: 10s}
  - {name: load, kind: load, target: load, every: 1m, takes: 5s}
`, nil)
		time.Sleep(time.Minute)
		r.stop(t)
		o := at("load", time.Minute, 0)
		want := []string{span("load", o, 5), span("stream", 0, o), span("stream", o+5, 60-o-5)}
		if got := r.diary.sorted(); !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
		for _, res := range r.got.results() {
			full := res.Elapsed == 10*time.Second
			switch {
			case res.Probe != "s":
			case full && (res.Outcome != probes.OK || res.Quality.Has(probes.Partial)):
				t.Errorf("a full window is %s with %v", res.Outcome, res.Quality)
			case !full && res.Outcome == probes.OK && !res.Quality.Has(probes.Partial):
				t.Errorf("a window of %v is %s with %v", res.Elapsed, res.Outcome, res.Quality)
			}
		}
		if got := r.lanes.Stats(probes.Latency).Waits; got != 1 {
			t.Errorf("latency probes waited %d times, want once", got)
		}
	})
}

func TestContinuousProbeThatFailsIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, "agent: {name: a}\nprobes: [{name: s, kind: stream, target: s, window: 1s, fails: true}]", nil)
		time.Sleep(9 * time.Second)
		r.stop(t)
		want := []string{"s 0-1", "s 2-3", "s 5-6"}
		if got := r.diary.sorted(); !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
	})
}

func TestSkipsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, "agent: {name: a}\nprobes: [{name: p, kind: ping, target: p, every: 10s, takes: 30s}]", nil)
		time.Sleep(45 * time.Second) // the first run took from the first period into the fourth, in which the second one began
		synctest.Wait()
		if got := r.health.skips["p"]; got != 2 {
			t.Errorf("%d starts were skipped, want 2", got)
		}
		r.stop(t)
	})
}

func TestShutdownKeepsWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, "agent: {name: a}\nprobes: [{name: s, kind: stream, target: s, window: 10s}]", nil)
		time.Sleep(14 * time.Second)
		if took := r.stop(t); took != 0 {
			t.Errorf("stopping took %v", took)
		}
		results := r.got.results()
		if len(results) != 2 || results[1].Elapsed != 4*time.Second || results[1].Outcome != probes.Canceled {
			t.Errorf("got %+v, want a window of 10 s and one of 4 s that was cut off", results)
		}
		if err := r.Reload(r.config.Load()); !errors.Is(err, errNotRunning) {
			t.Errorf("a reload after the end: %v", err)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const before = `
agent: {name: a}
probes:
  - {name: same, kind: stream, target: same, window: 10s}
  - {name: changed, kind: stream, target: changed, window: 10s}
  - {name: gone, kind: stream, target: gone, window: 10s}
`
		const after = `
agent: {name: a, labels: {site: nansha}}
probes:
  - {name: changed, kind: stream, target: changed, window: 5s}
  - {name: fresh, kind: stream, target: fresh, window: 10s}
  - {name: same, kind: stream, target: same, window: 10s}
`
		r := run(t, before, nil)
		time.Sleep(15 * time.Second)
		if err := r.Reload(configOf(t, r.diary, after)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		r.stop(t)
		want := []string{"changed 0-15", "changed 15-30", "fresh 15-30", "gone 0-15", "same 0-30"}
		if got := r.diary.sorted(); !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
		for _, res := range r.got.results() {
			if end := res.End().Sub(r.diary.zero); (end > 15*time.Second) != (res.Labels["site"] == "nansha") {
				t.Errorf("a result of %s that ended after %v has labels %v", res.Probe, end, res.Labels)
			}
		}
	})
}

func TestReloadKeepsTheOldConfigurationOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const probe = "probes: [{name: s, kind: stream, target: s}]\n"
		r := run(t, "agent: {name: a}\n"+probe, nil)
		time.Sleep(time.Second)
		bad := configOf(t, r.diary, "agent: {name: a}\n"+probe)
		bad.Probes[0].Kind = "pong"
		for want, c := range map[string]*Config{
			"agent.name":   configOf(t, r.diary, "agent: {name: b}\n"+probe),
			"outbox":       configOf(t, r.diary, "agent: {name: a}\noutbox: {max_age: 1h}\n"+probe),
			"uplink.url":   configOf(t, r.diary, "agent: {name: a}\nuplink: {url: \"http://h\"}\n"+probe),
			`kind "pong"`:  bad,
			"any_ca.pem":   configOf(t, r.diary, "agent: {name: a}\nprobes: [{name: s, kind: stream, target: s, ca: any_ca.pem}]"),
			"token_file: ": configOf(t, r.diary, "agent: {name: a}\nuplink: {url: \"http://h\", token_file: none}\n"+probe),
		} {
			err := r.Reload(c)
			if want == "token_file: " {
				want = "uplink.url" // what cannot change comes first
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the old configuration stays in force") {
				t.Errorf("got %v, want an error about %s", err, want)
			}
			if r.health.reloadOK {
				t.Error("the failure is not on /metrics")
			}
		}
		if err := r.Reload(configOf(t, r.diary, "agent: {name: a}\n"+probe)); err != nil || !r.health.reloadOK {
			t.Errorf("a reload of the same: %v", err)
		}
		r.ReloadFailed(errors.New("no such file"))
		if r.health.reloadOK {
			t.Error("a file that could not be read is not on /metrics")
		}
		time.Sleep(9 * time.Second)
		r.stop(t)
		if got, want := r.diary.sorted(), []string{"s 0-10"}; !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v: nothing was to be disturbed", got, want)
		}
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := newDiary(), &gather{}
		a, err := New(configOf(t, d, `
agent: {name: a}
probes:
  - {name: p, kind: ping, target: ping, takes: 2s}
  - {name: s, kind: stream, target: stream, window: 10s}
  - {name: l, kind: load, target: load, takes: 5s}
  - {name: bad, kind: ping, target: bad, takes: 2s, fails: true}
`), Deps{Kinds: d.kinds(), Network: noNet, OnResult: got.add})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Once(t.Context()); err != nil {
			t.Error(err)
		}
		outcomes := map[string]probes.Outcome{}
		for _, r := range got.results() {
			outcomes[r.Probe] = r.Outcome
		}
		if len(got.results()) != 4 || outcomes["p"] != probes.OK || outcomes["s"] != probes.OK || outcomes["l"] != probes.OK || outcomes["bad"] != probes.Error {
			t.Errorf("got %v", outcomes)
		}
		for _, span := range d.sorted() {
			if strings.HasPrefix(span, "load ") {
				continue
			}
			var from, to, loadFrom, loadTo float64
			load := d.sorted()[slices.IndexFunc(d.sorted(), func(s string) bool { return strings.HasPrefix(s, "load ") })]
			_, _ = fmt.Sscanf(load, "load %g-%g", &loadFrom, &loadTo)
			_, times, _ := strings.Cut(span, " ")
			_, _ = fmt.Sscanf(times, "%g-%g", &from, &to)
			if from < loadTo && loadFrom < to {
				t.Errorf("%s overlaps %s", span, load)
			}
		}
	})
}

func TestNewRefusesWhatCannotBeBuilt(t *testing.T) {
	d := newDiary()
	c := configOf(t, d, "probes: [{name: a, kind: ping, target: h}, {name: b, kind: ping, target: h}]")
	c.Probes[0].Kind, c.Probes[1].Target = "pong", ""
	_, err := New(c, Deps{Kinds: d.kinds(), Network: noNet})
	if err == nil || !strings.Contains(err.Error(), `probe "a": unknown probe kind "pong"`) || !strings.Contains(err.Error(), `probe "b": "" is not a target`) {
		t.Errorf("got %v, want both problems", err)
	}
	refuse := func(w Way) (probes.Network, error) { return nil, fmt.Errorf("no interface %q", w.Interface) }
	c = configOf(t, d, "probes: [{name: a, kind: ping, target: h, interface: wwan9}]")
	if _, err := New(c, Deps{Kinds: d.kinds(), Network: refuse}); err == nil || !strings.Contains(err.Error(), `no interface "wwan9"`) {
		t.Errorf("got %v", err)
	}
}
