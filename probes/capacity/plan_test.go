package capacity

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
)

func TestWorstCase(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   unit.Bytes
	}{
		"search without bound": {func(*Config) {}, 0},
		"max_bytes":            {func(c *Config) { c.MaxBytes = 40e6 }, 50e6 + controlBytes + 1000},
		"trains":               {func(c *Config) { c.Mode = "train" }, 2.5e6 + controlBytes + 1000},
	} {
		config := defaults()
		c.change(&config)
		if got, known := Kind().WorstCase(&config); got != c.want || known != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, known, c.want)
		}
	}
}
