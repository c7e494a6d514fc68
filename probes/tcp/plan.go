package tcp

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// connectionBytes is what a connection takes beside its data: seven segments open and close it, and some are sent again.
const connectionBytes = 10 * probes.HeaderTCP

// echoBytes is what one echo takes: a segment each way and an acknowledgement of its own.
func (c *Config) echoBytes() unit.Bytes { return unit.Bytes(2*c.Size + 3*probes.HeaderTCP) }

// WorstCase implements probes.Priced. Of the echoes as many may be sent again as there are.
func (c *Config) WorstCase() unit.Bytes {
	if !c.Echo {
		return probes.LookupBytes + unit.Bytes(c.Count)*connectionBytes
	}
	return probes.LookupBytes + connectionBytes + 2*unit.Bytes(c.Count)*c.echoBytes()
}

// Spent implements probes.Metered.
func (c *Config) Spent(r *probes.Result) unit.Bytes {
	sent := unit.Bytes(r.Values[probes.PacketsSent.ValueName(probes.Both, "")])
	again := unit.Bytes(r.Values[probes.Retransmitted.ValueName(probes.Both, "")])
	n := probes.LookupBytes + max(1, sent)*connectionBytes // a run that got nowhere tried to connect
	if c.Echo {
		n = probes.LookupBytes + connectionBytes + sent*c.echoBytes()
	}
	return n + again*unit.Bytes(c.Size+probes.HeaderTCP)
}
