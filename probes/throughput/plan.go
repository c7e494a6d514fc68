package throughput

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// setupBytes is what a connection takes beside the data: handshake, certificates, control messages.
const setupBytes = 40_000

// WorstCase implements probes.Priced: with volume or max_bytes, a quarter more than the data. Headers and acknowledgements are
// a tenth of it, and the rest leaves room for what is sent again.
func (c *Config) WorstCase() unit.Bytes {
	if c.target() == 0 {
		return 0
	}
	data := c.target() * int64(len(c.ways()))
	connections := int64(max(c.Streams*len(c.ways()), c.Connections) + 1)
	return unit.Bytes(data+data/4+connections*setupBytes) + probes.LookupBytes
}
