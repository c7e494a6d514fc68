package quic

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
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
			n := netsim.New(1)
			defer n.Close()
			edge, far := n.Host("edge", "192.0.2.2"), n.Host("far.example", "192.0.2.1")
			up, down := n.Connect(edge, far, tenMilliseconds(), tenMilliseconds())
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := echoServer().run(ctx, far); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			config := defaults()
			change(&config)
			probe, err := Kind().Build(&config, probetest.Env(t, edge), probes.Target{Host: "far.example", Port: farend.TLSPort, Text: "far.example"})
			if err != nil {
				t.Fatal(err)
			}
			var result *probes.Result
			(&probes.Runner{}).Run(t.Context(), probes.Job{Probe: probe, Timeout: config.Timeout()}, func(r *probes.Result) { result = r })
			cancel()
			wg.Wait()
			if result.Outcome != probes.OK {
				t.Fatalf("%s: %s: %s", name, result.Outcome, result.Error)
			}
			real := unit.Bytes(up.Stats().Bytes + down.Stats().Bytes + probes.HeaderUDP*(up.Stats().Sent+down.Stats().Sent))
			spent, _ := Kind().Spent(&config, result)
			worst, known := Kind().WorstCase(&config)
			t.Logf("%s: %d bytes on the link, %d charged, %d reserved", name, real, spent, worst)
			if !known || worst < spent || spent < real || spent > 2*real+5000 {
				t.Errorf("%s: %d bytes went over the link, %d are charged and %d were reserved", name, real, spent, worst)
			}
		})
	}
}
