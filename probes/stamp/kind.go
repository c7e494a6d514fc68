package stamp

import (
	"fmt"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Name is the kind's name.
const Name = "stamp"

// Kind is the probe that sends STAMP packets.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    Name,
		Summary: "Delay, loss and interruption per direction, packet by packet (STAMP, RFC 8762 and RFC 8972)",
		Help: `Sends UDP packets on a fixed schedule to a STAMP or TWAMP-Light reflector and takes down when each
was sent, reached the far end, left it and came back. Gives round-trip time without the time spent at
the far end, delay variation per direction, loss per direction, duplicates, reordering, late packets
and interruptions. One-way delay is given with its error bound, or not at all while the bound is as
large as the delay. Against a reflector that keeps no count of its own, or has no extensions, the
result says which figures are missing. It does not fill the link: it finds no capacity.`,
		Example:    "nrprobe probe stamp 127.0.0.1 --count 100 --interval 10ms",
		Lane:       probes.Latency,
		Port:       farend.STAMPPort,
		Continuous: true,
		Metrics: []*probes.Metric{
			probes.RTT, probes.WakeUp, probes.OneWayDelay, probes.OWDErrorBound, probes.ClockOffset, probes.DelayVariation,
			probes.InterpacketVariation, probes.FarResidence, probes.ScheduleError, probes.PacketsSent,
			probes.PacketsReceived, probes.PacketsLost, probes.PacketsLate, probes.PacketsRecovered,
			probes.PacketsDuplicated, probes.PacketsReordered, probes.ReorderExtent, probes.PacketsRefused, probes.PacketsSkipped,
			probes.CongestionMarked, probes.LossRatio, probes.LossBurst, probes.Interruption,
		},
	}, defaults, build)
}

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	secret, err := c.secret()
	if err != nil {
		return nil, err
	}
	sign, err := newSigner(secret)
	if err != nil {
		return nil, err
	}
	if least := sign.mode().base(); c.Size < least {
		return nil, fmt.Errorf("size: %d is below the %d bytes of an authenticated STAMP packet", c.Size, least)
	}
	return &sender{config: c, env: env, target: target, secret: secret}, nil
}
