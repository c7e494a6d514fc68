// Package all lists the kinds of probes that a build of nrprobe has. A new kind is one package and one line in each
// list here.
package all

import (
	"log/slog"
	"net"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/capacity"
	"github.com/nrprobe/nrprobe/probes/dns"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/http"
	"github.com/nrprobe/nrprobe/probes/icmp"
	"github.com/nrprobe/nrprobe/probes/iperf3"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/quic"
	"github.com/nrprobe/nrprobe/probes/responsiveness"
	"github.com/nrprobe/nrprobe/probes/stamp"
	"github.com/nrprobe/nrprobe/probes/tcp"
	"github.com/nrprobe/nrprobe/probes/throughput"
)

// Kinds lists every kind of probe.
func Kinds() catalog.Catalog[probes.Kind] {
	return catalog.New("probe kind",
		stamp.Kind(),
		icmp.Kind(),
		tcp.Kind(),
		quic.Kind(),
		http.Kind(),
		dns.Kind(),
		throughput.Kind(),
		capacity.Kind(),
		responsiveness.Kind(),
		iperf3.Kind(),
	)
}

// FarEnds lists what a reflector serves. Leases for load are granted out of the book; with nil there are none.
func FarEnds(log *slog.Logger, leases *lease.Book) []farend.Service {
	throughputLimits, capacityLimits, iperf3Limits := throughput.DefaultLimits(), capacity.DefaultLimits(), iperf3.DefaultLimits()
	throughputLimits.Leases, capacityLimits.Leases, iperf3Limits.Leases = leases, leases, leases
	reflector := &stamp.Reflector{Log: log}
	if leases != nil {
		reflector.Leases = leases.Active
	}
	list := []farend.Service{
		reflector.FarEnd(),
		tcp.FarEnd(log),
		quic.FarEnd(log),
		throughput.FarEndWithin(throughputLimits, log),
		capacity.FarEndWithin(capacityLimits, (&net.ListenConfig{}).ListenPacket, log),
		responsiveness.FarEndLeased(leases, log),
		iperf3.FarEndWithin(iperf3Limits, log),
	}
	if leases != nil {
		list = append(list, leases.FarEnd())
	}
	return list
}
