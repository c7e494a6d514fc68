package stamp

import (
	"context"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
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

// serving is a far end that is a reflector alone.
func serving(r *Reflector) func(context.Context, probes.Network) error {
	return func(ctx context.Context, far probes.Network) error {
		r.Log = quiet()
		pc, err := far.ListenPacket(ctx, "udp", ":8620")
		if err != nil {
			return err
		}
		return r.Serve(ctx, pc)
	}
}
