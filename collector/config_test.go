package collector

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/collector/sinks/all"
	"github.com/nrprobe/nrprobe/collector/sinks/influx"
	"github.com/nrprobe/nrprobe/collector/sinks/tsdb"
)

func TestExampleIsTheDefault(t *testing.T) {
	got, err := Load("../configs/collector.yaml", all.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	want, err := Default("/var/lib/nrprobe-collector", all.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sinks.List) != 1 || !reflect.DeepEqual(got.Sinks.List[0].Config, want.Sinks.List[0].Config) {
		t.Errorf("sinks: got %+v", got.Sinks.List)
	}
	got.Sinks, want.Sinks = Sinks{}, Sinks{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadReadsBothKinds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.yaml")
	text := `queue: {path: /q}
sinks:
  - {kind: tsdb, path: /t, retention: 30d}
  - {kind: influx, url: "http://influx.example:8086", org: lab, bucket: nr, token_file: /etc/nrprobe/influx-token}
  - {kind: influx, name: second, url: "http://other.example:8086"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, all.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, s := range c.Sinks.List {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "tsdb influx second" {
		t.Errorf("names: %s", got)
	}
	if got := c.Sinks.List[0].Config.(*tsdb.Config); got.Path != "/t" || got.MaxSeries != tsdb.Defaults().MaxSeries {
		t.Errorf("tsdb: %+v", got)
	}
	if got := c.Sinks.List[1].Config.(*influx.Config); got.Org != "lab" || got.Bucket != "nr" {
		t.Errorf("influx: %+v", got)
	}
}

func TestLoadListsEveryProblem(t *testing.T) {
	for text, want := range map[string]string{
		`listenn: ":1"
queue: {max_age: -1s, max_bytes: 10kbit}
sinks:
  - {kind: tsbd, path: /t}
  - {kind: influx, url: "influx.example:8086"}
  - {kind: influx, url: "http://influx.example:8086", timeout: 1ms}
  - {path: /t}
  - nothing
tls: {cert: a}
reading: maybe
`: `FILE:1: listenn: unknown key (did you mean "listen"?)
FILE:2: queue.max_age: -1s is below the minimum of 0s
FILE:2: queue.max_bytes: "10kbit" is not a size: write it like 512KiB, 64MiB or 20GB
FILE:4: sinks[0].kind: unknown sink kind "tsbd" (did you mean "tsdb"?): one of tsdb, influx
FILE:5: sinks[1].url: "influx.example:8086" is not an address: write it like http://influx.example:8086
FILE:6: sinks[2].timeout: 1ms is below the minimum of 1s
FILE:6: sinks[2].name: two sinks are named influx: give each its own name
FILE:7: sinks[3]: want a mapping with the key kind
FILE:8: sinks[4]: want a mapping with the key kind
FILE:9: tls: want both cert and key, or none of them
FILE:10: reading: "maybe" is not one of token, open`,
		"listen: :1\n": `FILE:1: queue: path is required: the folder in which accepted data is kept until every sink has it
FILE:1: sinks: want at least one sink, such as {kind: tsdb, path: /var/lib/nrprobe-collector/tsdb}`,
		"queue: {path: /q}\nsinks: {kind: tsdb}\n":                                                 "FILE:2: sinks: want a list of sinks here",
		"queue: {path: /q}\nsinks:\n  - {kind: tsdb}\n":                                            "FILE:3: sinks[0].path: is required",
		"queue: {path: /q}\nsinks:\n  - {kind: tsdb, path: /t, retention: 2h, out_of_order: 3h}\n": "FILE:3: sinks[0].out_of_order: 3h is longer than the retention of 2h",
	} {
		path := filepath.Join(t.TempDir(), "collector.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, all.Kinds())
		if err == nil {
			t.Errorf("%s\nwas accepted", text)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
}
