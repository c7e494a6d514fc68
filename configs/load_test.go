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
