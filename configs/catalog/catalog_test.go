package catalog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

type entry string

func (e entry) CatalogName() string { return string(e) }

func TestFind(t *testing.T) {
	c := New("probe kind", entry("stamp"), entry("tcp"), entry("throughput"))
	if got, err := c.Find("tcp"); err != nil || got != "tcp" {
		t.Errorf("Find(tcp) = %v, %v", got, err)
	}
	for name, want := range map[string]string{
		"stmap": `unknown probe kind "stmap" (did you mean "stamp"?): one of stamp, tcp, throughput`,
		"xyzzy": `unknown probe kind "xyzzy": one of stamp, tcp, throughput`,
	} {
		if _, err := c.Find(name); err == nil || err.Error() != want {
			t.Errorf("Find(%s): got %v, want %s", name, err, want)
		}
	}
}

func TestNewRefusesDuplicates(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two entries share a name and nobody noticed")
		}
	}()
	New("kind", entry("a"), entry("a"))
}

type embedded struct {
	Count int `yaml:"count" help:"how many" min:"1" max:"10"`
}

type config struct {
	embedded
	Interval time.Duration     `yaml:"interval" min:"1ms"`
	Size     unit.Bytes        `yaml:"size" max:"1MiB"`
	Rate     unit.Rate         `yaml:"rate" max:"1Gbit/s"`
	Mode     string            `yaml:"mode" oneof:"up,down"`
	Port     uint16            `yaml:"port"`
	Share    float64           `yaml:"share" max:"1"`
	On       bool              `yaml:"on"`
	Labels   map[string]string `yaml:"labels"`
	hidden   int
	Ignored  int `yaml:"-"`
}

func TestFieldsSetWithinTheirBounds(t *testing.T) {
	c := config{hidden: 1}
	fields := map[string]Field{}
	var keys []string
	for _, f := range Fields(&c) {
		fields[f.Key] = f
		keys = append(keys, f.Key)
	}
	if want := []string{"count", "interval", "size", "rate", "mode", "port", "share", "on", "labels"}; !slices.Equal(keys, want) {
		t.Fatalf("keys are %v, want %v", keys, want)
	}
	for key, text := range map[string]string{"count": "3", "interval": "10ms", "size": "64KiB", "rate": "20Mbit/s", "mode": "up", "port": "862", "share": "0.5", "on": "true"} {
		if err := fields[key].Set(text); err != nil || fields[key].String() != text {
			t.Errorf("%s: set to %s, now %s, %v", key, text, fields[key].String(), err)
		}
	}
	if c.Count != 3 || c.Interval != 10*time.Millisecond || c.Size != 64<<10 || c.Rate != 2.5e6 || c.Mode != "up" || c.Port != 862 || !c.On {
		t.Errorf("the struct holds %+v", c)
	}
	for key, bad := range map[string]string{
		"count": "11", "interval": "50us", "size": "2MiB", "rate": "2Gbit/s", "mode": "upp", "port": "70000", "share": "NaN", "on": "maybe",
	} {
		before := fields[key].String()
		err := fields[key].Set(bad)
		if err == nil || fields[key].String() != before {
			t.Errorf("%s: %s was taken (%v), now %s", key, bad, err, fields[key].String())
		}
	}
	if err := fields["mode"].Set("dwn"); err == nil || !strings.Contains(err.Error(), `did you mean "down"`) {
		t.Errorf("mode: got %v, want a suggestion", err)
	}
	if fields["labels"].IsScalar() || !fields["on"].IsBool() || fields["labels"].String() != "" {
		t.Error("labels is no scalar, on is a switch")
	}
}
