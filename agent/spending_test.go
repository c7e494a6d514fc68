package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/agent/plan"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// outcomes lists how the results of a probe ended, in order.
func (r *running) outcomes(probe string) (list []probes.Outcome) {
	for _, res := range r.got.results() {
		if res.Probe == probe {
			list = append(list, res.Outcome)
		}
	}
	return list
}

// withPlan runs an agent whose state is in a folder of the test.
func withPlan(t *testing.T, text string) *running {
	t.Helper()
	return run(t, fmt.Sprintf("agent: {name: a}\noutbox: {path: %q}\n", t.TempDir())+text, nil)
}

func TestSpentPlanRefusesLoadTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A transfer of 1360 kB takes 1468 kB with headers: three fit, and the worst case of a fourth does not.
		r := withPlan(t, `
probes: [{name: l, kind: load, target: load, interface: wwan0, every: 1m, takes: 5s, moves: 1360kB, max_bytes: 2MB}]
plan: {wwan0: {per_day: 5MB}}
`)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		want := []string{span("load", at("l", time.Minute, 0), 5), span("load", at("l", time.Minute, 1), 5), span("load", at("l", time.Minute, 2), 5)}
		if got := r.diary.sorted(); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("ran at %v, want %v", got, want)
		}
		ok, over := probes.OK, probes.OverPlan
		if got, want := r.outcomes("l"), []probes.Outcome{ok, ok, ok, over, over}; !slices.Equal(got, want) {
			t.Errorf("ended %v, want %v", got, want)
		}
		refused := r.got.results()[3]
		if refused.Elapsed != 0 || !strings.Contains(refused.Error, "allows 5MB a day: 4404kB are used") {
			t.Errorf("a refused run took %v and says %q", refused.Elapsed, refused.Error)
		}
		if got, want := r.plan.Usage(), []plan.Usage{{Interface: "wwan0", Period: plan.Day, Limit: 5e6, Used: 3 * 1468e3}}; !slices.Equal(got, want) {
			t.Errorf("the plan stands at %+v, want %+v", got, want)
		}
		larger := *r.config.Load()
		larger.Plan = map[string]plan.Limit{"wwan0": {PerDay: 50e6}}
		if err := r.Reload(&larger); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.stop(t)
		if got := r.outcomes("l"); got[len(got)-1] != ok {
			t.Errorf("with a larger plan runs end %v", got)
		}
	})
}

func TestSpentPlanPausesContinuousProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A window has 100 packets, which cost 286.4 kB with their replies, and has sent them all when it begins: so the worst
		// case is two windows, and the tenth, which begins before the ninth is told of, is the last that fits.
		r := withPlan(t, `
probes: [{name: s, kind: stream, target: s, window: 10s, max_bytes: 572800}]
plan: {"": {per_day: 2864000}}
`)
		night := 24 * time.Hour // a bubble begins at midnight
		time.Sleep(night - time.Second)
		synctest.Wait()
		want := slices.Repeat([]probes.Outcome{probes.OK}, 10)
		want = append(want, probes.OverPlan)
		if got := r.outcomes("s"); !slices.Equal(got, want) {
			t.Errorf("ended %v, want %v", got, want)
		}
		if got := r.plan.Usage()[0]; got.Used != got.Limit || got.Reserved != 0 {
			t.Errorf("the plan stands at %+v, want it used to the last byte", got)
		}
		time.Sleep(time.Minute + 30*time.Second)
		r.stop(t)
		spans := r.diary.sorted()
		if len(spans) != 2 || spans[0] != "s 0-90" || !strings.HasPrefix(spans[1], "s 864") {
			t.Errorf("measured at %v, want 0 to 90 s and again within a minute of midnight", spans)
		}
	})
}

func TestPlanOutlivesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := fmt.Sprintf(`
agent: {name: a}
outbox: {path: %q}
probes: [{name: l, kind: load, target: load, interface: wwan0, takes: 5s, moves: 1360kB, max_bytes: 2MB}]
plan: {wwan0: {per_month: 5MB}}
`, t.TempDir())
		var all []probes.Outcome
		for range 4 {
			d, got := newDiary(), &gather{}
			a, err := New(configOf(t, d, text), Deps{Kinds: d.kinds(), Network: noNet, OnResult: got.add})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			all = append(all, got.results()[0].Outcome)
		}
		ok := probes.OK
		if want := []probes.Outcome{ok, ok, ok, probes.OverPlan}; !slices.Equal(all, want) {
			t.Errorf("ended %v, want %v", all, want)
		}
	})
}

func TestReservationIsOnDiskWhileALoadTestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := withPlan(t, `
probes: [{name: l, kind: load, target: load, interface: wwan0, every: 1m, takes: 5s, max_bytes: 2MB}]
plan: {wwan0: {per_day: 5MB}}
`)
		file := filepath.Join(r.config.Load().Outbox.Path, "plan.json")
		begins := time.Duration(at("l", time.Minute, 0) * float64(time.Second))
		time.Sleep(begins + time.Second)
		synctest.Wait()
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), `"reserved":"2MB"`) {
			t.Errorf("while it runs the file has %s, %v", text, err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		text, err = os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), `"reserved":"0B"`) || !strings.Contains(string(text), `"10kB"`) {
			t.Errorf("after it the file has %s, %v", text, err)
		}
		r.stop(t)
	})
}

func TestCost(t *testing.T) {
	kinds := newDiary().kinds()
	load, err := kinds.Find("load")
	if err != nil {
		t.Fatal(err)
	}
	connected := map[string]*probes.Hist{probes.ConnectTime.HistName(probes.Both): {}}
	for name, c := range map[string]struct {
		result probes.Result
		want   unit.Bytes
	}{
		"complete":                {probes.Result{Outcome: probes.OK, Values: map[string]float64{"transferred_up_bytes": 1360e3}}, 1468e3},
		"never connected":         {probes.Result{Outcome: probes.Timeout, Values: map[string]float64{"transferred_up_bytes": 0}}, failedBytes},
		"busy":                    {probes.Result{Outcome: probes.Busy, Hists: connected}, failedBytes},
		"broke off at the start":  {probes.Result{Outcome: probes.Timeout, Hists: connected}, 2e6},
		"broke off in the middle": {probes.Result{Outcome: probes.Canceled, Values: map[string]float64{"transferred_up_bytes": 1360e3}}, 2e6},
	} {
		p := plan.New(map[string]plan.Limit{"": {PerDay: 1e9}}, plan.Options{
			Path: filepath.Join(t.TempDir(), "plan.json"), Clock: func() (time.Time, bool) { return time.Now(), true },
		})
		a := &Agent{plan: p}
		j := job{kind: load, entry: Probe{Settings: &fakeConfig{Max: 2e6}}}
		j.pass.Lane = probes.Load
		s, err := a.reserve(j)
		if err != nil {
			t.Fatal(err)
		}
		s.begin()
		if err := s.took(&c.result); err != nil {
			t.Error(err)
		}
		s.end()
		s.settle()
		if got := p.Usage()[0]; got.Used != c.want || got.Reserved != 0 {
			t.Errorf("%s: %+v, want %v used", name, got, c.want)
		}
	}
}

// pipes is a network whose other end swallows all and says nothing.
type pipes struct{ noNetwork }

func (pipes) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		b := make([]byte, 1<<16)
		if _, err := far.Read(b); err == nil {
			_, _ = far.Write(b[:10])
		}
	}()
	return near, nil
}

func TestUplinkIsCharged(t *testing.T) {
	var total unit.Bytes
	c, err := metered{pipes{}, func(n unit.Bytes) { total += n }}.Dial(t.Context(), "tcp", "192.0.2.1:8086")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if want := unit.Bytes(connectionBytes + 2000 + 2*108 + 10 + 108); total != want {
		t.Errorf("%d bytes are charged, want %d", total, want)
	}
}

func TestPlanMetrics(t *testing.T) {
	a := measuredOnce(t, fmt.Sprintf(`
agent: {name: a}
outbox: {path: %q}
probes: [{name: l, kind: load, target: load, interface: wwan0, takes: 1ms, moves: 1360kB, max_bytes: 2MB}]
plan: {wwan0: {per_day: 5MB, per_month: 100MB}, "": {per_month: 1GB}}
`, t.TempDir()))
	_, text := get(t, a.Handler(), "/metrics", "text/plain")
	for _, want := range []string{
		`nrprobe_agent_plan_limit_bytes{interface="wwan0",period="day"} 5e+06`,
		`nrprobe_agent_plan_limit_bytes{interface="",period="month"} 1e+09`,
		`nrprobe_agent_plan_used_bytes{interface="wwan0",period="day"} 1.468e+06`,
		`nrprobe_agent_plan_used_bytes{interface="wwan0",period="month"} 1.468e+06`,
		`nrprobe_agent_plan_reserved_bytes{interface="wwan0",period="month"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
