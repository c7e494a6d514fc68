// Package all lists the kinds of probes that a build of nrprobe has. A new kind is one package and one line in each
// list here.
package all

import (
	"log/slog"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/capacity"
	"github.com/nrprobe/nrprobe/probes/dns"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/http"
	"github.com/nrprobe/nrprobe/probes/icmp"
	"github.com/nrprobe/nrprobe/probes/iperf3"
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

// FarEnds lists what a reflector serves.
func FarEnds(log *slog.Logger) []farend.Service {
	return []farend.Service{
		stamp.FarEnd(log),
		tcp.FarEnd(log),
		quic.FarEnd(log),
		throughput.FarEnd(log),
		capacity.FarEnd(log),
		responsiveness.FarEnd(log),
		iperf3.FarEnd(log),
	}
}
