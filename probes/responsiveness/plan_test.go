package responsiveness

import (
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

func TestWorstCase(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   unit.Bytes
	}{
		"no bound":  {func(*Config) {}, 0},
		"max_bytes": {func(c *Config) { c.MaxBytes, c.Direction, c.Duration = 100e6, "down", 10*time.Second }, 125e6 + 18*setupBytes + 1001*7000 + 1000},
		"both ways": {func(c *Config) { c.MaxBytes, c.Duration, c.ProbeRate = 100e6, time.Second, 2 }, 125e6 + 34*setupBytes + 3*7000 + 1000},
	} {
		config := defaults()
		c.change(&config)
		if got, known := Kind().WorstCase(&config); got != c.want || known != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, known, c.want)
		}
	}
}
