package plan

import (
	"testing"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

func TestEstimate(t *testing.T) {
	for name, c := range map[string]struct {
		values map[string]float64
		want   unit.Bytes
		known  bool
	}{
		"nothing":      {nil, 0, false},
		"no data":      {map[string]float64{"transferred_down_bytes": 0}, 0, true},
		"both ways":    {map[string]float64{"transferred_down_bytes": 1360e3, "transferred_up_bytes": 1}, 1360e3 + 1000*108 + 109, true},
		"sent again":   {map[string]float64{"transferred_up_bytes": 1360, "retransmitted_segments": 2}, 1360 + 108 + 2*1432, true},
		"packets only": {map[string]float64{"packets_sent": 3}, 6 * 1432, true},
		"both counts":  {map[string]float64{"transferred_down_bytes": 1360, "packets_sent": 3}, 1468, true},
	} {
		if got, known := Estimate(&probes.Result{Values: c.values}); got != c.want || known != c.known {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, known, c.want, c.known)
		}
	}
}

func TestSettled(t *testing.T) {
	at := func(n uint64) Traffic { return Traffic{bytes: n, known: true} }
	for name, c := range map[string]struct {
		before, after Traffic
		want          unit.Bytes
	}{
		"no counters":             {Traffic{}, Traffic{}, 100},
		"gone meanwhile":          {at(5), Traffic{}, 100},
		"began anew":              {at(500), at(5), 100},
		"less than the estimate":  {at(500), at(510), 100},
		"more, lost behind them":  {at(500), at(650), 150},
		"others used it as well":  {at(500), at(9000), 200},
		"counters of an old host": {at(0), at(1 << 63), 200},
	} {
		if got := Settled(100, 200, c.before, c.after); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := Settled(300, 200, at(0), at(500)); got != 300 {
		t.Errorf("an estimate beyond the worst case became %d", got)
	}
}
