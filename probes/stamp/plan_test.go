package stamp

import (
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// TestPlan holds the figures of the data plan against packets of 200 bytes behind 48 of headers, both ways.
func TestPlan(t *testing.T) {
	const pair = 2 * 248
	for name, c := range map[string]struct {
		change       func(*Config)
		values       map[string]float64
		spent, worst unit.Bytes
	}{
		"count":    {func(*Config) {}, map[string]float64{"packets_sent": 100}, 1000 + 100*pair, 1000 + 100*pair},
		"warm-up":  {func(c *Config) { c.Warmup = 5 }, map[string]float64{"packets_sent": 100, "packets_duplicated": 2}, 1000 + 105*pair + pair, 1000 + 105*pair},
		"duration": {func(c *Config) { c.Duration = 5 * time.Second }, map[string]float64{"packets_sent": 500}, 1000 + 500*pair, 1000 + 501*pair},
		"window":   {func(c *Config) { c.Window = 10 * time.Second }, map[string]float64{"packets_sent": 1000}, 1000 * pair, 1000 + 1301*pair},
		"random":   {func(c *Config) { c.Window, c.Spacing = 10*time.Second, poisson }, map[string]float64{"packets_sent": 900}, 900 * pair, 1000 + 1487*pair},
	} {
		config := defaults()
		c.change(&config)
		spent, _ := Kind().Spent(&config, &probes.Result{Values: c.values})
		worst, known := Kind().WorstCase(&config)
		if spent != c.spent || !known || worst != c.worst {
			t.Errorf("%s: %d charged, want %d; %d reserved (%v), want %d", name, spent, c.spent, worst, known, c.worst)
		}
	}
}
