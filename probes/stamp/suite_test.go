package stamp

import (
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes/probetest"
)

func TestSuite(t *testing.T) {
	for name, window := range map[string]time.Duration{"one shot": 0, "windows": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			probetest.Suite{Kind: Kind(), FarEnd: FarEnd(quiet()), Config: func(c any) {
				config := c.(*Config)
				config.Count, config.Interval, config.Window = 50, 50*ms, window
			}}.Run(t)
		})
	}
}
