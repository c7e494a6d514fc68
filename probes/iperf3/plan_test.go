package iperf3

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
)

func TestWorstCase(t *testing.T) {
	const rest = 2*controlBytes + 1000
	for name, c := range map[string]struct {
		change func(*Config)
		want   unit.Bytes
	}{
		"no bound":        {func(*Config) {}, 0},
		"volume":          {func(c *Config) { c.Volume = 100e6 }, (100e6+windowBytes)*5/4 + rest},
		"volume up":       {func(c *Config) { c.Volume, c.Direction = 100e6, "up" }, 125e6 + rest},
		"volume each way": {func(c *Config) { c.Volume, c.Direction = 100e6, "both" }, 0}, // the quick way goes on for as long as the slow one takes
		"max_bytes":       {func(c *Config) { c.MaxBytes, c.Streams = 100e6, 4 }, (100e6+4*windowBytes)*5/4 + 5*controlBytes + 1000},
		"max_bytes up":    {func(c *Config) { c.MaxBytes, c.Direction = 100e6, "up" }, 125e6 + rest},
		"max_bytes of both": {
			func(c *Config) { c.MaxBytes, c.Volume, c.Direction, c.Streams = 100e6, 80e6, "both", 2 },
			(100e6+4*windowBytes)*5/4 + 5*controlBytes + 1000,
		},
		"the lower of two": {func(c *Config) { c.MaxBytes, c.Volume = 100e6, 80e6 }, (80e6+windowBytes)*5/4 + rest},
		// 1 Mbit/s for 10 s in datagrams of 1200 and 48 bytes, and a quarter more
		"UDP at a rate":           {func(c *Config) { c.Transport = "udp" }, 1.625e6 + rest},
		"UDP at a rate, no more":  {func(c *Config) { c.Transport, c.MaxBytes = "udp", 500e3 }, 812_500 + rest}, // and a second at the rate
		"UDP at a rate, above it": {func(c *Config) { c.Transport, c.MaxBytes = "udp", 5e6 }, 1.625e6 + rest},
		"UDP, small datagrams":    {func(c *Config) { c.Transport, c.Size, c.MaxBytes, c.Direction = "udp", 16, 100e3, "up" }, 500e3 + rest},
		"UDP at full":             {func(c *Config) { c.Transport, c.Rate, c.MaxBytes = "udp", 0, 1e6 }, 0},
		"UDP up at full":          {func(c *Config) { c.Transport, c.Rate, c.MaxBytes, c.Direction = "udp", 0, 1.2e6, "up" }, 1.56e6 + rest},
	} {
		config := defaults()
		c.change(&config)
		if got, known := Kind().WorstCase(&config); got != c.want || known != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, known, c.want)
		}
	}
}
