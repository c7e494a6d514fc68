package stamp

import (
	"math"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// packetBytes is a packet on the interface: requests and replies are of the same size.
func (c *Config) packetBytes() unit.Bytes { return unit.Bytes(c.Size + probes.HeaderUDP) }

// WorstCase implements probes.Priced: every packet planned, and its reply. A window is told of only after its last packet is
// answered or lost, so what leaves meanwhile counts as well.
func (c *Config) WorstCase() unit.Bytes {
	during := func(d time.Duration) float64 { return float64(d)/float64(c.Interval) + 1 }
	packets := float64(c.Count)
	switch {
	case c.Window > 0:
		packets = during(c.Window + c.Wait)
	case c.Duration > 0:
		packets = during(c.Duration)
	}
	if c.Spacing == poisson && (c.Window > 0 || c.Duration > 0) {
		packets += 5*math.Sqrt(packets) + 5 // chance exceeds this once in a million runs
	}
	return probes.LookupBytes + 2*unit.Bytes(math.Ceil(packets)+float64(c.Warmup))*c.packetBytes()
}

// Spent implements probes.Metered: every packet sent, and its reply even where that was lost, for it may have been lost behind
// the meter of the operator.
func (c *Config) Spent(r *probes.Result) unit.Bytes {
	sent := r.Values[probes.PacketsSent.ValueName(probes.Both, "")]
	copies := 0.
	for _, d := range probes.Directions() {
		copies = max(copies, r.Values[probes.PacketsDuplicated.ValueName(d, "")])
	}
	n := unit.Bytes(2*sent+copies) * c.packetBytes()
	if c.Window == 0 {
		n += probes.LookupBytes + 2*unit.Bytes(c.Warmup)*c.packetBytes()
	}
	return n
}
