package radio_test

import (
	"testing"

	"github.com/nrprobe/nrprobe/agent/radio"
	"github.com/nrprobe/nrprobe/probes"
)

func TestSources(t *testing.T) {
	reading := &probes.RadioSample{RAT: "NR-SA"}
	for name, c := range map[string]struct {
		source radio.Source
		want   *probes.RadioSample
	}{
		"none":       {radio.None{}, nil},
		"function":   {radio.Func(func() *probes.RadioSample { return reading }), reading},
		"nil":        {radio.Func(nil), nil},
		"no reading": {radio.Func(func() *probes.RadioSample { return nil }), nil},
	} {
		if got := c.source.Sample(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
