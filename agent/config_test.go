package agent

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"SITE": "nansha"}[name]
	return v, ok
}

func TestConfigHasDefaults(t *testing.T) {
	c, err := Parse("agent.yaml", []byte(`
agent: {name: van-07, labels: {site: "${SITE}", operator: op1}}
probes:
  - {name: a, kind: ping, target: "reflector.example"}
  - {name: b, kind: load, target: "reflector.example:99", interface: wwan0, ip_family: 6, takes: 10s, max_bytes: 1MB}
  - {name: c, kind: stream, target: "2001:db8::1", window: 5s, labels: {slice: embb}}
  - {name: d, kind: ping, target: "192.0.2.1", every: 5m, timeout: 20s}
plan: {wwan0: {per_month: 20GB, per_day: 1GB}}
uplink: {url: "https://collector.example:8086", org: lab}
`), lookup, newDiary().kinds())
	if err != nil {
		t.Fatal(err)
	}
	if c.Agent.Labels["site"] != "nansha" || c.Plan["wwan0"].PerMonth != 20e9 || c.Metrics.Listen != "127.0.0.1:9464" {
		t.Errorf("got %+v", c)
	}
	if c.Outbox != Default().Outbox || c.Uplink.Bucket != "nr" || !c.Uplink.Gzip || c.Uplink.Org != "lab" {
		t.Errorf("outbox %+v, uplink %+v", c.Outbox, c.Uplink)
	}
	every := []time.Duration{30 * time.Second, time.Hour, 0, 5 * time.Minute}
	for i, p := range c.Probes {
		if p.Every != every[i] {
			t.Errorf("probe %s runs every %v, want %v", p.Name, p.Every, every[i])
		}
	}
	if got := c.Probes[1].Settings.(*fakeConfig).Takes; got != 10*time.Second {
		t.Errorf("the kind's own key is %v, want 10s", got)
	}
	if c.Probes[0].IPFamily != "any" || c.Probes[1].IPFamily != "6" || c.Probes[3].Timeout != 20*time.Second {
		t.Errorf("probes %+v", c.Probes)
	}
}

// TestConfigListsEveryProblem holds testdata/*.yaml against testdata/*.problems.
func TestConfigListsEveryProblem(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse("agent.yaml", text, lookup, newDiary().kinds())
		if err == nil {
			t.Errorf("%s has no problems", file)
			continue
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".problems"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestLoadReadsFiles(t *testing.T) {
	kinds := newDiary().kinds()
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), kinds); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("probes: [{name: a, kind: ping, target: h}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, kinds)
	if err != nil || len(c.Probes) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("probes: &p [*p]"))
	f.Add([]byte("a: &a {name: x, kind: ping, target: y}\nprobes: [*a, *a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4096 {
			return
		}
		c, err := Parse("agent.yaml", text, lookup, newDiary().kinds())
		if err == nil && len(c.Probes) == 0 {
			t.Error("accepted a configuration without probes")
		}
	})
}
