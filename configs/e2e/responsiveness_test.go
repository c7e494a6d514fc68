//go:build netns

package e2e

import "testing"

// TestNetnsSelfProbesWaitForTheLinkAlone: with 50 ms in the queue of a link of 50 Mbit/s, a byte on a loaded connection takes
// 60 ms down and 210 ms up, and 290 and 560 ms where megabytes wait in the kernel of the sender.
func TestNetnsSelfProbesWaitForTheLinkAlone(t *testing.T) {
	l := newFaultyLink(t)
	for direction, most := range map[string]float64{"down": 0.18, "up": 0.45} {
		r := l.probe(t, "responsiveness", "10.77.0.2", "--direction", direction, "--duration", "10s")
		latency, rate := r.Values["loaded_latency_p50_seconds"], r.Values["goodput_"+direction+"_bytes_per_second"]
		t.Logf("%s: %.0f ms and %.1f Mbit/s, %.0f rpm, confidence %s", direction, 1e3*latency, 8*rate/1e6, r.Values["responsiveness_rpm"], r.Info["confidence"])
		if latency == 0 || latency > most || rate < 4e6 {
			t.Errorf("%s: %v s on a loaded connection at %v bytes/s", direction, latency, rate)
		}
	}
}
