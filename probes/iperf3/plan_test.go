package iperf3

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
)

func TestWorstCase(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   unit.Bytes
	}{
		"no bound":  {func(*Config) {}, 0},
		"volume":    {func(c *Config) { c.Volume = 100e6 }, 125e6 + 2*controlBytes + 1000},
		"both ways": {func(c *Config) { c.Volume, c.Direction, c.Streams = 100e6, "both", 2 }, 250e6 + 5*controlBytes + 1000},
		// 1 Mbit/s for 10 s in datagrams of 1200 and 48 bytes, and a quarter more
		"UDP at a rate": {func(c *Config) { c.Transport, c.Size = "udp", 1200 }, 1.625e6 + 2*controlBytes + 1000},
		"UDP at full":   {func(c *Config) { c.Transport, c.Rate = "udp", 0 }, 0},
	} {
		config := defaults()
		c.change(&config)
		if got, known := Kind().WorstCase(&config); got != c.want || known != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, known, c.want)
		}
	}
}
