package throughput

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
)

func TestWorstCase(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   unit.Bytes
	}{
		"no bound":      {func(*Config) {}, 0},
		"max_bytes":     {func(c *Config) { c.MaxBytes = 100e6 }, 125e6 + 5*setupBytes + 1000},
		"shared by two": {func(c *Config) { c.MaxBytes, c.Direction = 100e6, "both" }, 125e6 + 9*setupBytes + 1000},
		"volume each":   {func(c *Config) { c.Volume, c.Direction = 100e6, "both" }, 250e6 + 9*setupBytes + 1000},
	} {
		config := defaults()
		c.change(&config)
		if got, known := Kind().WorstCase(&config); got != c.want || known != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, known, c.want)
		}
	}
}
