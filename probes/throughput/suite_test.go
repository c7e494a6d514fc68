package throughput

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

func TestSuiteTCP(t *testing.T) {
	for _, direction := range []string{"down", "up", "both"} {
		t.Run(direction, func(t *testing.T) {
			probetest.Suite{
				Kind: Kind(), FarEnd: FarEnd(slog.New(slog.DiscardHandler)), Closed: probes.Refused,
				Config: func(config any) {
					c := config.(*Config)
					c.Direction, c.Streams, c.Duration, c.Interval = direction, 2, 500*time.Millisecond, 20*time.Millisecond
				},
			}.Run(t)
		})
	}
}
