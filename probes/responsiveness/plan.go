package responsiveness

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// What it takes beside the load, in bytes: setting up a connection with the certificates of a public server, and a request for
// one byte with its answer.
const (
	setupBytes   = 12_000
	requestBytes = 1_000
)

// WorstCase implements probes.Priced: with max_bytes, a quarter more than them for headers, for acknowledgements, for what is
// sent again and for what was under way when as many had been counted; the connections that carry it, and two that ask what
// there is; and the probes, of which every other one makes a connection of its own.
func (c *Config) WorstCase() unit.Bytes {
	if c.MaxBytes == 0 {
		return 0
	}
	data := int64(c.MaxBytes) + int64(c.MaxBytes)/4
	connections := int64(2 + c.Connections*len(c.ways()))
	probesSent := int64(c.Duration.Seconds()*float64(c.ProbeRate)) + 1
	return unit.Bytes(data+connections*setupBytes+probesSent*(setupBytes/2+requestBytes)) + probes.LookupBytes
}
