package iperf3

import (
	"cmp"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// controlBytes is what a connection takes beside the data: its handshake, and the parameters and results of the control one.
const controlBytes = 20_000

// windowBytes is what may be on its way on one TCP stream when a test ends: what Linux lets a receive buffer grow to by
// default (tcp_rmem), and more than it lets a send buffer.
const windowBytes = 6 << 20

// sendLimit is how much this end sends at most, above TCP or UDP; 0 is no limit.
func (c *Config) sendLimit() int64 {
	if c.Volume > 0 && c.MaxBytes > 0 {
		return int64(min(c.Volume, c.MaxBytes))
	}
	return int64(cmp.Or(c.Volume, c.MaxBytes))
}

// WorstCase implements probes.Priced: the least of what max_bytes, volume and the rate of UDP streams allow, with what is on
// its way when they end the test, and a quarter more for headers and for what is sent again. A volume bounds one direction
// alone: both ways, the quick one goes on until the slow one has its volume.
func (c *Config) WorstCase() unit.Bytes {
	ways := unit.Bytes(len(c.ways()))
	streams := ways * unit.Bytes(c.Streams)
	late, known := unit.Bytes(0), true
	switch {
	case c.Direction == "up": // the sender stops by its own count
	case c.Transport == "tcp":
		late = streams * windowBytes
	case c.Rate > 0:
		late = streams * unit.Bytes(c.Rate) // a second of it: the word to stop may get lost once
	default:
		known = false
	}
	var bounds []unit.Bytes
	if c.MaxBytes > 0 && known {
		bounds = append(bounds, c.MaxBytes+late)
	}
	if c.Volume > 0 && known && ways == 1 {
		bounds = append(bounds, c.Volume+late)
	}
	if c.Transport == "udp" && c.Rate > 0 {
		bounds = append(bounds, streams*unit.Bytes(float64(c.Rate)*(c.Omit+c.Duration).Seconds()))
	}
	data := unit.Bytes(0)
	for _, b := range bounds {
		if data == 0 || b < data {
			data = b
		}
	}
	if data == 0 {
		return 0
	}
	if c.Transport == "udp" {
		data = unit.Bytes(float64(data) * float64(c.Size+probes.HeaderUDP) / float64(c.Size))
	}
	return data + data/4 + (streams+1)*controlBytes + probes.LookupBytes
}
