package iperf3

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// controlBytes is what a connection takes beside the data: its handshake, and the parameters and results of the control one.
const controlBytes = 20_000

// WorstCase implements probes.Priced: with a volume, or the rate of UDP streams, a quarter more than the data, for headers and
// for what is sent again.
func (c *Config) WorstCase() unit.Bytes {
	data := unit.Bytes(0)
	switch {
	case c.Volume > 0:
		data = c.Volume
	case c.Transport == "udp" && c.Rate > 0:
		payload := float64(c.Rate) * (c.Omit + c.Duration).Seconds() * float64(c.Streams)
		data = unit.Bytes(payload * float64(c.Size+probes.HeaderUDP) / float64(c.Size))
	default:
		return 0
	}
	ways := len(c.ways())
	data *= unit.Bytes(ways)
	return data + data/4 + unit.Bytes(ways*c.Streams+1)*controlBytes + probes.LookupBytes
}
