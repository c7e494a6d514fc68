package budget

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/probes"
)

func parse(t *testing.T, yaml string) (*Plan, error) {
	t.Helper()
	return Parse("b.yaml", []byte(yaml), func(string) (string, bool) { return "", false }, kinds(nil))
}

// TestProblemsOfBudgetsFiles has the exact text of what is wrong with a file.
func TestProblemsOfBudgetsFiles(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown metric", "budgets: [{metric: rtd, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].metric: unknown metric "rtd" (did you mean "rtt"?): one of `},
		{"unknown statistic", "budgets: [{metric: rtt, statistic: p0, bound: 20ms}]", `b.yaml:1: budgets[0].statistic: "p0" is not a statistic`},
		{"no statistic", "budgets: [{metric: rtt, bound: 20ms}]", `b.yaml:1: budgets[0].statistic: is required`},
		{"wrong unit", "budgets: [{metric: rtt, statistic: p95, bound: 20Mbit/s}]", `b.yaml:1: budgets[0].bound: "20Mbit/s" is not a duration`},
		{"unknown key", "budgets: [{metrik: rtt}]", `b.yaml:1: budgets[0].metrik: unknown key (did you mean "metric"?)`},
		{"unknown kind", "budgets: [{probe: {kind: stomp}, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].probe.kind: unknown probe kind "stomp" (did you mean "stamp"?)`},
		{"unknown setting of the kind", "budgets: [{probe: {kind: stamp, intervall: 1ms}, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].probe.intervall: unknown key (did you mean "interval"?)`},
		{"setting out of range", "budgets: [{probe: {kind: stamp, interval: 50us}, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].probe.interval: 50µs is below the minimum of 1ms`},
		{"kind without the metric", "budgets: [{probe: tcp, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].metric: "rtt" is not among what the kind tcp measures`},
		{"both limits", "budgets: [{metric: goodput_down, statistic: p50, bound: 1Mbit/s, at_least: 2Mbit/s}]", `b.yaml:1: budgets[0].at_least: contradicts bound`},
		{"wrong way", "budgets: [{metric: goodput_down, statistic: p50, bound: 1Mbit/s}]", `b.yaml:1: budgets[0].bound: more of goodput is better: write at_least`},
		{"wrong way too", "budgets: [{metric: rtt, statistic: p50, at_least: 1ms}]", `b.yaml:1: budgets[0].at_least: less of rtt is better: write bound`},
		{"two limits for one figure", "budgets:\n- {name: a, metric: rtt, statistic: p95, bound: 20ms}\n- {name: b, metric: rtt, statistic: p95, bound: 30ms}", `b.yaml:3: budgets[1]: contradicts the budget "a", which has another limit (20 ms) for the same figure: keep one`},
		{"p99 below p50", "budgets:\n- {name: a, metric: rtt, statistic: p50, bound: 20ms}\n- {name: b, metric: rtt, statistic: p99, bound: 10ms}", `b.yaml:3: budgets[1]: contradicts the budget "a": p99 is never below p50, so it cannot be held to less (10 ms and 20 ms)`},
		{"same name", "budgets:\n- {name: a, metric: rtt, statistic: p95, bound: 20ms}\n- {name: a, metric: rtt, statistic: p50, bound: 10ms}", `b.yaml:3: budgets[1].name: "a" is the name of another budget`},
		{"loss of nothing", "budgets: [{metric: loss, statistic: ratio, bound: 0}]", `b.yaml:1: budgets[0].bound: 0 can never be shown by samples`},
		{"certainty", "budgets: [{metric: rtt, statistic: reliability, bound: 10ms, at_least: 100%}]", `b.yaml:1: budgets[0].at_least: 100% can never be shown by samples`},
		{"reliability without a share", "budgets: [{metric: rtt, statistic: reliability, bound: 10ms}]", `b.yaml:1: budgets[0].bound: reliability needs both`},
		{"availability without survival", "budgets: [{metric: rtt, statistic: availability, bound: 10ms, at_least: 99%}]", `b.yaml:1: budgets[0].survival: goes with the statistic availability`},
		{"ratio of a delay", "budgets: [{metric: rtt, statistic: ratio, bound: 1%}]", `b.yaml:1: budgets[0].statistic: a ratio is of loss, packets_lost`},
		{"quantile of a counter", "budgets: [{metric: packets_lost, statistic: p95, bound: 1%}]", `b.yaml:1: budgets[0].statistic: packets_lost is a counter`},
		{"two directions", "budgets: [{metric: owd_up, direction: down, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].direction: "down" contradicts the metric "owd_up": keep one`},
		{"no direction", "budgets: [{metric: rtt, direction: down, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].direction: "rtt" has no direction`},
		{"unknown profile", "budgets: [{profile: 5qi-81}]", `b.yaml:1: budgets[0].profile: unknown profile "5qi-81" (did you mean `},
		{"profile and bound", "budgets: [{profile: 5qi-80, bound: 1ms}]", `b.yaml:1: budgets[0].bound: contradicts the profile 5qi-80`},
		{"transport of nothing", "budgets: [{transport: 1ms, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].profile: is required beside transport`},
		{"confidence", "budgets: [{confidence: 1, metric: rtt, statistic: p95, bound: 20ms}]", `b.yaml:1: budgets[0].confidence: 1 is above the maximum of 0.9999`},
		{"no budgets", "budgets: []", `b.yaml:1: budgets: want a list of budgets`},
		{"empty file", "", `b.yaml:1: budgets: is required`},
		{"best value", "budgets: [{metric: rtt, statistic: min, bound: 1ms}]", `b.yaml:1: budgets[0].statistic: the min of rtt is its best value`},
		{"tolerance", "budgets: [{metric: rtt, statistic: p95, bound: 1ms, ratio: 5ms, floor: 3%}]", `b.yaml:1: budgets[0].ratio: "5ms" is not a share`},
		{"window of loss", "budgets: [{metric: loss, direction: up, statistic: p95, bound: 1%}]", `b.yaml:1: budgets[0].statistic: loss by direction is known as a ratio only`},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := parse(t, c.yaml)
			if err == nil {
				t.Fatalf("accepted as %+v", plan.Criteria)
			}
			if _, ok := errors.AsType[configs.Problems](err); !ok || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := parse(t, "budgets:\n- {metric: rtd, statistic: q95, bound: 1ms}\n- {metric: rtt, statistic: p95, bound: 20parsec}\n- {profile: nothing}\n")
	problems, _ := errors.AsType[configs.Problems](err)
	if len(problems) != 4 {
		t.Errorf("%d problems, want 4:\n%v", len(problems), err)
	}
	_, err = parse(t, `max_doubtful: 2
budgets:
- {metric: rtt, statistic: p95, bound: 20parsec, confidence: 1, probe: {kind: stamp, intervall: 1ms}}
- {metrik: rtt, statistic: min, bound: 20ms}
- {profile: 5qi-80, bound: 1ms, survival: soon, floor: 1ms, probe: {kind: stomp}}
- 7
`)
	want := `b.yaml:1: max_doubtful: 2 is above the maximum of 1
b.yaml:3: budgets[0].confidence: 1 is above the maximum of 0.9999
b.yaml:3: budgets[0].probe.intervall: unknown key (did you mean "interval"?)
b.yaml:3: budgets[0].bound: "20parsec" is not a duration: write it like 10ms, 30s, 1h or 7d
b.yaml:4: budgets[1].metrik: unknown key (did you mean "metric"?)
b.yaml:5: budgets[2].survival: "soon" is not a duration: write it like 10ms, 30s, 1h or 7d
b.yaml:5: budgets[2].probe.kind: unknown probe kind "stomp" (did you mean "stamp"?): one of stamp, tcp, throughput
b.yaml:5: budgets[2].bound: contradicts the profile 5qi-80, which says it itself: keep one
b.yaml:5: budgets[2].floor: contradicts the profile 5qi-80, which says it itself: keep one
b.yaml:6: budgets[3]: want keys with values here, not the value "7"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestBudgetsBecomeCriteria(t *testing.T) {
	plan, err := parse(t, `
target: edge.example
max_duration: 5m
budgets:
  - {metric: rtt, statistic: p999, bound: 20ms, confidence: 0.99, tags: {site: nansha}}
  - {name: down, metric: goodput, direction: down, statistic: p5, at_least: 100Mbit/s, ratio: 10%}
  - {name: loss, metric: loss, direction: up, statistic: ratio, bound: 0.1%, probe: stamp}
  - {name: both, metric: rtt, statistic: p50, bound: 10ms, probe: {kind: stamp, count: 50}}
  - {name: again, metric: rtt, statistic: p95, bound: 20ms, probe: {kind: stamp, count: 50}, floor: 2ms}
`)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Target != "edge.example" || plan.MaxDuration != 5*time.Minute || !plan.Sequential {
		t.Errorf("settings %+v", plan.Settings)
	}
	c := plan.Criteria
	if c[0].Name != "p999 of rtt at most 20 ms" || c[0].Statistic.Q != 0.999 || c[0].Limit != 0.02 || c[0].Probe != -1 || c[0].Floor != DefaultFloor {
		t.Errorf("first %+v", c[0])
	}
	if !c[1].LargerIsBetter || c[1].Limit != 12.5e6 || math.Abs(c[1].q()-0.95) > 1e-12 || c[1].Ratio != 0.1 || c[1].Direction != probes.Down {
		t.Errorf("second %+v with q %v", c[1], c[1].q())
	}
	if c[2].Statistic.Form != Share || c[2].q() != 0.999 || c[2].Floor != DefaultShareFloor || c[2].Direction != probes.Up {
		t.Errorf("third %+v", c[2])
	}
	if len(plan.Probes) != 2 || c[3].Probe != c[4].Probe || c[2].Probe == c[3].Probe || c[4].Floor != 0.002 {
		t.Errorf("%d probes, want 2: equal ones are shared", len(plan.Probes))
	}
}

func TestEveryProfileCanBeJudged(t *testing.T) {
	for _, p := range Profiles() {
		for _, suffix := range []string{"", ", one_way: true, transport: 2ms"} {
			plan, err := parse(t, "budgets: [{profile: "+p.Name+suffix+"}]")
			if err != nil {
				t.Errorf("%s: %v", p.Name, err)
				continue
			}
			for _, c := range plan.Criteria {
				if q := c.q(); !(q > 0 && q < 1) || c.Note == "" || c.Asks() == "" {
					t.Errorf("%s: criterion %+v", p.Name, c)
				}
			}
		}
	}
	plan, err := parse(t, "budgets: [{name: drive, profile: ts22186-remote-driving, transport: 3ms}]")
	if err != nil {
		t.Fatal(err)
	}
	if c := plan.Criteria[0]; c.Limit != 0.016 || c.AtLeast != 0.99999 || c.Name != "drive: delay" {
		t.Errorf("%+v, want 16 ms for the round trip: 5 ms and 3 ms in both directions", c)
	}
	plan, err = parse(t, "budgets: [{profile: teleop-practical, one_way: true}]")
	if err != nil {
		t.Fatal(err)
	}
	if up, down := plan.Criteria[0], plan.Criteria[1]; up.Limit != 0.1 || down.Limit != 0.02 || up.Direction != probes.Up {
		t.Errorf("%+v %+v, want 100 ms up and 20 ms down", up, down)
	}
}

func TestStatisticsAreRead(t *testing.T) {
	for text, q := range map[string]float64{"p50": 0.5, "p5": 0.05, "p05": 0.05, "p99": 0.99, "p999": 0.999, "p9999": 0.9999, "p99.9": 0.999} {
		s, err := ParseStatistic(text)
		if err != nil || math.Abs(s.Q-q) > 1e-12 {
			t.Errorf("%s is %v (%v), want %v", text, s.Q, err, q)
		}
	}
	for _, text := range []string{"", "p", "p0", "p-5", "pNaN", "p1e9", "p00", "median", "p99.99999999999"} {
		if s, err := ParseStatistic(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, s)
		}
	}
}

func TestQuantitiesAreWrittenForPeople(t *testing.T) {
	for _, c := range []struct {
		unit probes.Unit
		v    float64
		want string
	}{
		{probes.Seconds, 0.0201234, "20.12 ms"},
		{probes.Seconds, 0.00000512, "5.12 µs"},
		{probes.Seconds, 12.5, "12.5 s"},
		{probes.Seconds, 0, "0 ms"},
		{probes.Seconds, -0.002, "-2 ms"},
		{probes.Seconds, math.Inf(1), "unbounded"},
		{probes.Seconds, math.NaN(), "–"},
		{probes.BytesPerSecond, 12.5e6, "100 Mbit/s"},
		{probes.BytesPerSecond, 100, "0.8 kbit/s"},
		{probes.Ratio, 0.99999, "99.999 %"},
		{probes.Ratio, 0.000012, "0.0012 %"},
		{probes.Ratio, 0.5, "50 %"},
		{probes.Ratio, 0, "0 %"},
		{probes.Ratio, 1, "100 %"},
		{probes.RPM, 1234.5, "1234 RPM"},
		{probes.DBm, -95.25, "-95.25 dBm"},
	} {
		if got := formatQuantity(c.unit, c.v); got != c.want {
			t.Errorf("%v %s is written %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

// TestTheExampleFile holds the commented example to what can be read.
func TestTheExampleFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "budgets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := parse(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Criteria) < 4 {
		t.Errorf("%d budgets in the example, want some of each sort", len(plan.Criteria))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("budgets: [{metric: rtt, statistic: p95, bound: 20ms, probe: {kind: stamp}}]"))
	f.Add([]byte("budgets: [{profile: 5qi-80, one_way: true}]"))
	f.Add([]byte("budgets:\n- probe: [1]\n  metric: rtt\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := Parse("f.yaml", text, nil, kinds(nil))
		if err == nil && len(plan.Criteria) == 0 {
			t.Error("accepted without a budget")
		}
	})
}
