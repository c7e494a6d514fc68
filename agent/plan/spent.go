package plan

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// segment is how much data one packet of a transfer carries, in bytes, and packet what it takes beside: headers of IPv6 and
// TCP with time stamps (those of QUIC are of the same size), and half an acknowledgement, which answers two.
const (
	segment = 1360
	packet  = probes.HeaderTCP + probes.HeaderTCP/2
)

// Transfer is what it takes to move n bytes of data over one connection in one direction.
func Transfer(n int64) unit.Bytes {
	return unit.Bytes(n + (n+segment-1)/segment*packet)
}

// Estimate is what was moved for a Result of a kind that does not tell itself: the data that its receivers counted and what was
// sent again, with headers; without such a count, the packets sent and as many replies, each as large as packets get. known is
// false where the Result tells of neither.
func Estimate(r *probes.Result) (n unit.Bytes, known bool) {
	for _, d := range probes.Directions() {
		if v, ok := r.Values[probes.Transferred.ValueName(d, "")]; ok {
			n, known = n+Transfer(int64(v)), true
		}
	}
	packets := 0.
	for _, m := range []*probes.Metric{probes.Retransmitted, probes.TransportLost} {
		packets += r.Values[m.ValueName(probes.Both, "")]
	}
	if sent, ok := r.Values[probes.PacketsSent.ValueName(probes.Both, "")]; ok && !known {
		packets, known = packets+2*sent, true
	}
	return n + unit.Bytes(packets)*(segment+probes.HeaderTCP), known
}

// Traffic is what an interface has carried since the system started, both directions, with the headers of the network layer.
type Traffic struct {
	bytes uint64
	known bool
}

// Settled is the rule by which a load test is charged. estimated is what its Results tell, worst what was reserved, and before
// and after are looks at the interface's own counters.
//
// The counters see all that the operator sees, what was sent again and what was lost behind them too, but the traffic of
// others as well. So what they counted is charged where it is more than the estimate, up to the worst case: the rest was
// somebody else's.
func Settled(estimated, worst unit.Bytes, before, after Traffic) unit.Bytes {
	if !before.known || !after.known || after.bytes < before.bytes {
		return estimated // not there, or it was taken away meanwhile and came back
	}
	carried := unit.Bytes(min(after.bytes-before.bytes, maxUsed))
	return max(estimated, min(carried, worst))
}

// Carried says whether the counters were there to be read, before and after a run.
func Carried(before, after Traffic) bool {
	return before.known && after.known && after.bytes >= before.bytes
}
