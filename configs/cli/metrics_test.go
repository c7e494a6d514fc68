package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

var update = flag.Bool("update", false, "rewrite the generated parts of files")

const readme = "../../README.md"

// TestReadmeMetrics holds the reference of metrics in the README against the vocabulary.
func TestReadmeMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString("| value (JSON, InfluxDB field) | Prometheus | what | source |\n|---|---|---|---|\n")
	for _, m := range probes.Vocabulary() {
		fmt.Fprintf(&b, "| %s | `%s`%s %s | %s | %s |\n", valueNames(m), m.PrometheusName(), labels(m), m.Type, m.Help, m.Source)
	}
	checkSection(t, "metrics", b.String())
}

// valueNames writes the names of a metric's values in short: `owd_{up,down}_{min,…,max}_seconds`.
func valueNames(m *probes.Metric) string {
	name := m.Stem
	if m.Directed {
		name += "[_up,_down]"
	}
	unit := ""
	if m.Unit != probes.Count {
		unit = "_" + string(m.Unit)
	}
	switch {
	case m.Type != probes.Distribution:
		return "`" + name + unit + "`"
	case m.Plain:
		return "`" + name + "[_STAT]" + unit + "`"
	default:
		return "`" + name + "_STAT" + unit + "`"
	}
}

func labels(m *probes.Metric) string {
	if m.Directed {
		return "`{direction}`"
	}
	return ""
}

// checkSection compares, or rewrites under -update, what stands between <!-- name --> and <!-- /name --> in the README.
func checkSection(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- /"+name+" -->")
	before, rest, ok := bytes.Cut(text, begin)
	got, after, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no section %q", name)
	}
	if string(got) == want {
		return
	}
	if !*update {
		t.Fatalf("section %q of README.md is stale: run make golden", name)
	}
	fresh := bytes.Join([][]byte{before, begin, []byte(want), end, after}, nil)
	if err := os.WriteFile(readme, fresh, 0o644); err != nil {
		t.Fatal(err)
	}
}
