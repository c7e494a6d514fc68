package stamp

import (
	"math"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// packetBytes is a packet on the interface: requests and replies are of the same size.
func (c *Config) packetBytes() unit.Bytes { return unit.Bytes(c.Size + probes.HeaderUDP) }

// WorstCase implements probes.Priced: every packet planned, and its reply. A window is told of only after its last packet is
// answered or lost, so what leaves meanwhile counts as well.
func (c *Config) WorstCase() unit.Bytes { return c.worst() + c.worstOfMTU() }

func (c *Config) worst() unit.Bytes {
	if p := c.pattern(); p != nil {
		return c.worstOfPattern(p)
	}
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
	each := c.packetBytes()
	n := unit.Bytes(2*sent+copies) * each
	if p := c.pattern(); p != nil {
		n = unit.Bytes(sent * p.pairBytes(c.leastReply()))
	}
	if c.PathMTU {
		packets, _ := strconv.Atoi(r.Info[mtuNote]) // none when the search was not begun
		n += 2 * mtuPriced * unit.Bytes(packets)
	}
	if c.Window == 0 {
		n += probes.LookupBytes + 2*unit.Bytes(c.Warmup)*each
	}
	return n
}

// mtuPriced is what a packet of the search for the path MTU is reckoned with: longer ones do not leave by a mobile network's
// interface.
const mtuPriced unit.Bytes = 1500

// worstOfMTU is what the search for the path MTU takes at most, in both directions.
func (c *Config) worstOfMTU() unit.Bytes {
	if !c.PathMTU {
		return 0
	}
	return 2 * mtuPriced * (2*mtuTries + 1 + 2*(mtuBudget+mtuRound))
}

// worstOfPattern reckons with a reflector that does not shorten replies.
func (c *Config) worstOfPattern(p *pattern) unit.Bytes {
	length := c.length()
	if c.Window > 0 {
		length = c.Window + c.Wait
	}
	_, up := p.traffic(length, c.mode())
	return probes.LookupBytes + 2*up + 2*unit.Bytes(c.Warmup)*c.packetBytes()
}

// leastReply is how long a reply is that was to be as short as can be: the base packet and what our requests carry besides.
func (c *Config) leastReply() int {
	least := c.mode().base()
	if !c.TLVs {
		return fragment
	}
	for _, length := range [...]int{controlLength, followUpLength, directLength, locationLength, minTimestampInfoLength, conditionLength} {
		least += tlvHeader + length
	}
	if c.tos() != 0 {
		least += tlvHeader + classOfServiceLength
	}
	if c.mode() == authenticated {
		least += tlvHeader + hmacSize
	}
	return least
}

// mode is the layout that packets have with the configured key.
func (c *Config) mode() mode {
	if c.Key != "" || c.KeyFile != "" {
		return authenticated
	}
	return unauthenticated
}

// pairBytes is a packet of the pattern and its reply on the interface, on average of a cycle.
func (p *pattern) pairBytes(leastReply int) float64 {
	packets, bytes := 0, 0
	for _, ph := range p.phases {
		for _, f := range ph.flows {
			n := f.frames(ph.lasts) * f.packets()
			request := f.request(unauthenticated)
			reply := min(request, max(leastReply, f.reply(unauthenticated)))
			packets += n
			bytes += n * (request + reply + 2*probes.HeaderUDP)
		}
	}
	return float64(bytes) / float64(packets)
}
