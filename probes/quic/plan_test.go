package quic

import (
	"testing"
	"testing/synctest"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestPlanCoversWhatIsSent holds what the data plan is told against the packets that really went over a link.
func TestPlanCoversWhatIsSent(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"defaults":     func(*Config) {},
		"no resume":    func(c *Config) { c.Resume = false },
		"no streams":   func(c *Config) { c.Stream = false },
		"one datagram": func(c *Config) { c.Count = 1 },
		"large ones":   func(c *Config) { c.Count, c.Size = 200, 1000 },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := probetest.NewBench(t, nil, nil)
			b.Serve(echoServer().run)
			config := defaults()
			change(&config)
			result := b.Measure(t.Context(), Kind(), &config, probetest.FarName)
			b.Kill()
			synctest.Wait() // for the far end's last packet
			if result.Outcome != probes.OK {
				t.Fatalf("%s: %s: %s", name, result.Outcome, result.Error)
			}
			real := unit.Bytes(b.Up.Stats().Bytes + b.Down.Stats().Bytes + probes.HeaderUDP*(b.Up.Stats().Sent+b.Down.Stats().Sent))
			spent, _ := Kind().Spent(&config, result)
			worst, known := Kind().WorstCase(&config)
			t.Logf("%s: %d bytes on the link, %d charged, %d reserved", name, real, spent, worst)
			if !known || worst < spent || spent < real || spent > 2*real+5000 {
				t.Errorf("%s: %d bytes went over the link, %d are charged and %d were reserved", name, real, spent, worst)
			}
		})
	}
}
