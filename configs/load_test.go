package configs

import (
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

type probeConfig struct {
	Name     string        `yaml:"name" required:"true"`
	Interval time.Duration `yaml:"interval" min:"1ms" max:"1h"`
	Size     int           `yaml:"size" min:"44" max:"1472"`
	Way      string        `yaml:"direction" oneof:"up,down"`
}

type fileConfig struct {
	Probes   []probeConfig     `yaml:"probes"`
	Labels   map[string]string `yaml:"labels"`
	MaxBytes unit.Bytes        `yaml:"max_bytes" min:"1MiB"`
	MaxAge   time.Duration     `yaml:"max_age"`
	Sub      *struct {
		Listen string `yaml:"listen"`
	} `yaml:"metrics"`
}

func (c *fileConfig) Validate(r *Report, at At) {
	if c.MaxAge < 0 {
		r.Problem(at, "max_age", "must not be negative")
	}
	if len(c.Probes) == 0 {
		r.Problem(at, "probes", "is empty")
	}
	if c.MaxBytes < 8<<20 && c.MaxAge > time.Hour && r.Good(at, "max_bytes") {
		r.Problem(at, "max_age", "is more than max_bytes has room for")
	}
	if c.MaxBytes == 0 && c.MaxAge == 0 {
		r.Problem(at, "", "limits nothing")
	}
}

func (c *probeConfig) Validate(r *Report, at At) {
	if c.Name == "bad" {
		r.Problem(at, "name", "is bad")
	}
	if c.Size > 1000 {
		r.Problem(at, "size", "is large")
	}
}

func env(name string) (string, bool) {
	v, ok := map[string]string{"SITE": "nansha"}[name]
	return v, ok
}

func TestLoad(t *testing.T) {
	c := fileConfig{MaxBytes: 64 << 20}
	err := Load("agent.yaml", []byte(`
probes:
  - {name: a, interval: 10ms, size: 200, direction: up}
labels: {site: "${SITE}-$${x}"}
max_age: 7d
metrics: {listen: ":9464"}
`), env, &c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Probes[0].Interval != 10*time.Millisecond || c.Labels["site"] != "nansha-${x}" || c.MaxAge != 168*time.Hour || c.MaxBytes != 64<<20 || c.Sub.Listen != ":9464" {
		t.Errorf("got %+v", c)
	}
}

func TestLoadListsEveryProblem(t *testing.T) {
	var c fileConfig
	err := Load("agent.yaml", []byte(`probes:
  - {name: a, interval: 50us, direction: left}
  - {intervall: 10ms, size: big}
  - 12
labels: {site: "${NOPE}"}
max_bytes: 10kbit
max_bytes: 2MiB
extra: true
metrics:
`), env, &c)
	want := `agent.yaml:2: probes[0].interval: 50µs is below the minimum of 1ms
agent.yaml:2: probes[0].direction: "left" is not one of up, down
agent.yaml:3: probes[1].intervall: unknown key (did you mean "interval"?)
agent.yaml:3: probes[1].size: "big" is not a whole number
agent.yaml:3: probes[1].name: is required
agent.yaml:4: probes[2]: want keys with values here, not the value "12"
agent.yaml:5: labels.site: environment variable NOPE is not set
agent.yaml:6: max_bytes: "10kbit" is not a size: write it like 512KiB, 64MiB or 20GB
agent.yaml:7: max_bytes: is given twice: keep one
agent.yaml:8: extra: unknown key: one of probes, labels, max_bytes, max_age, metrics
agent.yaml:9: metrics: want keys with values here, not nothing`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// TestLoadValidatesBesideProblems: what a mapping checks as a whole shows together with what is wrong with its keys, where
// the one does not follow from the other.
func TestLoadValidatesBesideProblems(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"probes: [{name: bad, interval: 1}]\nmax_age: -1s", `agent.yaml:1: probes[0].interval: "1" is not a duration: write it like 10ms, 30s, 1h or 7d
agent.yaml:1: probes[0].name: is bad
agent.yaml:2: max_age: must not be negative`},
		{"probes: [{name: a, size: 99999}]\nmax_age: -1s", `agent.yaml:1: probes[0].size: 99999 is above the maximum of 1472
agent.yaml:2: max_age: must not be negative`},
		{"probes: 12\nmax_age: -1s", `agent.yaml:1: probes: want a list here, not the value "12"
agent.yaml:2: max_age: must not be negative`},
		{"probe: []\nmax_age: -1s", `agent.yaml:1: probe: unknown key (did you mean "probes"?)
agent.yaml:2: max_age: must not be negative`},
		{"probes: [7]\nmax_age: -1s", `agent.yaml:1: probes[0]: want keys with values here, not the value "7"
agent.yaml:2: max_age: must not be negative`},
		{"probes: [{name: a}]\nmax_age: 2h\nmax_bytes: 2MiB", "agent.yaml:2: max_age: is more than max_bytes has room for"},
		{"probes: [{name: a}]\nmax_age: 2h\nmax_bytes: 2parsecs", `agent.yaml:3: max_bytes: "2parsecs" is not a size: write it like 512KiB, 64MiB or 20GB`},
		{"probes: [{name: a}]", "agent.yaml:1: limits nothing"},
		{"probes: [{name: a}]\nmax_age: 10", `agent.yaml:2: max_age: "10" is not a duration: write it like 10ms, 30s, 1h or 7d`},
	} {
		var c fileConfig
		if err := Load("agent.yaml", []byte(test.text), env, &c); err == nil || err.Error() != test.want {
			t.Errorf("%q: got:\n%v\nwant:\n%s", test.text, err, test.want)
		}
	}
}

func TestLoadValidatesAndSurvives(t *testing.T) {
	for text, want := range map[string]string{
		"max_age: -1s":       "agent.yaml:1: max_age: must not be negative",
		"a: [":               "agent.yaml:1: did not find expected node content",
		"- 1":                "agent.yaml:1: want keys with values here, not a list",
		"labels: &a {x: *a}": "agent.yaml:1: labels.x: want a value here, not keys with values",
	} {
		var c fileConfig
		err := Load("agent.yaml", []byte(text), env, &c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("probes: [{name: a, interval: 10ms}]\nlabels: {a: b}")
	f.Add("a: &a [*a, *a]")
	f.Add("labels: {? [a] : b}")
	f.Fuzz(func(_ *testing.T, text string) {
		var c fileConfig
		_ = Load("fuzz.yaml", []byte(text), env, &c) // must neither panic nor hang
	})
}
