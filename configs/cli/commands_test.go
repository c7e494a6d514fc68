//go:build !edge

package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigCheckListsAllThatIsWrong(t *testing.T) {
	for role, c := range map[string]struct {
		text string
		want []string
	}{
		"agent": {"agent: {name: a, colour: red}\nprobes:\n  - {name: x, kind: tcp, target: h, every: -1s}\n  - {name: y, kind: tpc, target: h}\nuplink: {url: ftp://h}\n", []string{
			"agent.yaml:1: agent.colour: unknown key", "agent.yaml:3: probes[0].every: -1s is below", "agent.yaml:4: probes[1].kind: unknown probe kind \"tpc\" (did you mean \"tcp\"?)", "agent.yaml:5: uplink.url: ",
		}},
		"collector": {"lisn: 8086\nqueue: {max_bytes: 3 sacks}\nsinks:\n  - {kind: sqlite}\n", []string{
			"collector.yaml:1: lisn: unknown key (did you mean \"listen\"?)", "collector.yaml:2: queue.max_bytes: \"3 sacks\" is not a size", "collector.yaml:4: sinks[0].kind: ",
		}},
		"reflector": {"stamp: here\nlimits: {duration: -1h, bites: 3}\n", []string{
			"reflector.yaml:1: stamp: want keys with values here", "reflector.yaml:2: limits.duration: -1h is below", "reflector.yaml:2: limits.bites: unknown key (did you mean \"bytes\"?)",
		}},
	} {
		t.Run(role, func(t *testing.T) {
			stdout, stderr, code := run(t, "config", "check", file(t, role+".yaml", c.text))
			if code != 2 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("lacks %q:\n%s", want, stderr)
				}
			}
			if lines := strings.Count(stderr, "\n"); lines != len(c.want) {
				t.Errorf("%d lines for %d problems:\n%s", lines, len(c.want), stderr)
			}
		})
	}
}

func TestFilesThatAreShippedAreGood(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "compose", "collector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "collector.yaml", strings.ReplaceAll(string(text), "${INFLUX_TOKEN}", "secret"))
	if _, stderr, code := run(t, "config", "check", path); code != 0 {
		t.Errorf("compose/collector.yaml: exit code %d\n%s", code, stderr)
	}
}

// TestOncePrintsForAPerson runs an agent that has neither a home nor an uplink, as on a router.
func TestOncePrintsForAPerson(t *testing.T) {
	far := startFarEnd(t, farEnds()...)
	config := file(t, "agent.yaml", fmt.Sprintf(`probes:
  - {name: delay, kind: tcp, target: %q, every: 1m, count: 3, interval: 10ms}
  - {name: safe, kind: quic, target: %q, every: 1m, count: 1}
outbox: {path: %q}
metrics: {listen: "off"}
`, far.Addrs().Streams[0], far.Addrs().QUIC[0], t.TempDir()))
	var out, errs strings.Builder
	if code := Run(process("", &out, &errs, "agent", "--once", "-c", config)); code != 0 || errs.String() != "" {
		t.Fatalf("exit code %d\n%s%s", code, &errs, &out)
	}
	for _, want := range []string{
		"tcp " + far.Addrs().Streams[0].String() + ": ok in ", "quic " + far.Addrs().QUIC[0].String() + ": ok in ",
		"p999", "rtt  3", "packets sent 3,  packets received 3", "handshake  1",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}

func TestVersion(t *testing.T) {
	stdout, _, code := run(t, "version")
	if code != 0 || !strings.HasPrefix(stdout, "nrprobe test (go1.") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	stdout, _, code = run(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 {
		t.Fatalf("exit code %d: %v\n%s", code, err, stdout)
	}
	if keys := slices.Sorted(maps.Keys(v)); !slices.Equal(keys, []string{"arch", "go", "os", "quic_go", "version"}) || v["version"] != "test" {
		t.Errorf("got %v", v)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if stdout, stderr, code := run(t, "completion", shell); code != 0 || !strings.Contains(stdout, "nrprobe") {
			t.Errorf("%s: exit code %d\n%s", shell, code, stderr)
		}
	}
	for words, want := range map[string]string{
		"col":                    "collector\t",
		"probe st":               "stamp\t",
		"probe stamp --interv":   "--interval\t",
		"agent --on":             "--once\t",
		"probe quic --ip-family": "--ip-family\t",
	} {
		stdout, _, code := run(t, append([]string{"__complete"}, strings.Fields(words)...)...)
		if code != 0 || !strings.Contains("\n"+stdout, "\n"+want) {
			t.Errorf("%q: exit code %d, lacks %q:\n%s", words, code, want, stdout)
		}
	}
}
