package tcp

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// TestPlan holds the figures of the data plan against packets counted by hand: 64 bytes of payload make segments of 136 bytes,
// an echo takes two of them and an acknowledgement of 72, and a connection with its end seven segments of 72.
func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		config      Config
		values      map[string]float64
		byHand      unit.Bytes
		most, worst unit.Bytes
	}{
		"echoes":      {defaults(), map[string]float64{"packets_sent": 10}, 7*72 + 10*344, 1000 + 10*72 + 10*344, 1000 + 10*72 + 20*344},
		"sent again":  {defaults(), map[string]float64{"packets_sent": 10, "retransmitted_segments": 3}, 7*72 + 10*344 + 3*136, 1000 + 10*72 + 10*344 + 3*136, 1000 + 10*72 + 20*344},
		"unreachable": {defaults(), nil, 3 * 72, 1000 + 10*72, 1000 + 10*72 + 20*344},
		"connections": {Config{Count: 5}, map[string]float64{"packets_sent": 5}, 5 * 7 * 72, 1000 + 5*10*72, 1000 + 5*10*72},
	} {
		spent, _ := Kind().Spent(&c.config, &probes.Result{Values: c.values})
		worst, known := Kind().WorstCase(&c.config)
		if spent != c.most || spent < c.byHand || !known || worst != c.worst || worst < spent {
			t.Errorf("%s: %d charged, want %d (%d by hand); %d reserved, want %d", name, spent, c.most, c.byHand, worst, c.worst)
		}
	}
}
