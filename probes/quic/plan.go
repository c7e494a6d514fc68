package quic

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// What a run takes beside its datagrams, in bytes. A handshake is padded both ways (RFC 9000 section 14.1) and carries the
// certificates of the far end, of which a chain has some kB; a resumed one has none. Each part is sent again at most once.
const (
	handshakeBytes = 9_000
	resumedBytes   = 7_000
	migrationBytes = 6_000                 // a challenge and its response each way, padded like a handshake (RFC 9000 section 8.2)
	packetOverhead = probes.HeaderUDP + 40 // short header, authentication tag, frames
)

// datagramBytes is what one datagram takes: a packet each way and an acknowledgement each way.
func (c *Config) datagramBytes() unit.Bytes { return unit.Bytes(2*c.Size + 4*packetOverhead) }

// echoBytes is what one echo on a stream takes, sent once: as much as a datagram, and now and then a frame that allows for
// more streams.
func (c *Config) echoBytes() unit.Bytes {
	if !c.Stream {
		return 0
	}
	return c.datagramBytes() + packetOverhead
}

// beside is what the connections take.
func (c *Config) beside() unit.Bytes {
	n := unit.Bytes(probes.LookupBytes + handshakeBytes)
	if c.Resume {
		n += resumedBytes
	}
	if c.MigrateTo != "" {
		n += migrationBytes
	}
	return n
}

// WorstCase implements probes.Priced. Datagrams are not sent again; of the echoes on streams, each may be.
func (c *Config) WorstCase() unit.Bytes {
	return 2*c.beside() + unit.Bytes(c.Count)*(c.datagramBytes()+2*c.echoBytes())
}

// Spent implements probes.Metered.
func (c *Config) Spent(r *probes.Result) unit.Bytes {
	sent := unit.Bytes(r.Values[probes.PacketsSent.ValueName(probes.Both, "")])
	return c.beside() + sent*(c.datagramBytes()+c.echoBytes())
}
