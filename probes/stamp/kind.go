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
result says which figures are missing. It does not fill the link: it finds no capacity.

An interruption is an event that tells the round trip before it, the longest around it, and when it was back. With burst
and idle the schedule pauses, and the first packet behind a pause measures how long the radio takes to wake: several
pauses, as in idle 0.1s,1s,5s,15s,30s, are made in turn and told apart. trace NAME.pcapng captures every packet with the
time the kernel sent or received it, for Wireshark.

A pattern sends the traffic of an application in its phases, in the style of ITU-T G.1051 and without claiming to be one
of its test cases: frames of one packet or several, each of which has to be there by its deadline. A late frame counts as
lost. A frame is judged on its way there and back together, and on each way where the clocks are known well enough.
  gaming          100 to 500 bytes each 40 to 8 ms both ways, 50 ms a way; 10 s of lobby, active, trapped
  voice           172 bytes each 20 ms both ways, 100 ms a way; 10 s
  ar              video of 10 Mbit/s and a pose up, an overlay down, 30 ms a way; 10 s of look, share
  remote-driving  video of 8 Mbit/s up in 100 ms, commands down in 20 ms; 10 s of standing, driving
A reply is never longer than its request. So frames for the way down travel up as well, and replies to frames for the way
up are short ones (RFC 10052), where the reflector knows how. A pattern with more down than up cannot be had, nor one where
the far end sends on its own clock: its frames leave when ours arrive. There is no score: no formula of one is public.

A reflector of nrprobe also says when it could not keep up, which flags the result far_end_late, and how many load tests
it has granted at that moment, which is the note leases and flags the result load_concurrent. With a key (RFC 8762's
authenticated mode) packets of both ends are signed; a reflector whose key is another says so.

With path_mtu it first searches for the largest packet that passes unfragmented, each way, by sending some of several
sizes; a router that drops what is too long without a word is found out. That takes up to 20 packets as a rule, and some
seconds where sizes have to be tried out. On Linux and Android only.`,
		Example:    "nrprobe probe stamp 127.0.0.1 --count 100 --interval 10ms\n  nrprobe probe stamp 127.0.0.1 --pattern gaming\n  nrprobe probe stamp 127.0.0.1 --path-mtu",
		Lane:       probes.Latency,
		Port:       farend.STAMPPort,
		Continuous: true,
		Metrics: []*probes.Metric{
			probes.RTT, probes.WakeUp, probes.OneWayDelay, probes.OWDErrorBound, probes.ClockOffset, probes.DelayVariation,
			probes.InterpacketVariation, probes.FarResidence, probes.ScheduleError, probes.PacketsSent,
			probes.PacketsReceived, probes.PacketsLost, probes.PacketsLate, probes.PacketsRecovered,
			probes.PacketsDuplicated, probes.PacketsReordered, probes.ReorderExtent, probes.PacketsRefused, probes.PacketsSkipped,
			probes.CongestionMarked, probes.LossRatio, probes.LossBurst, probes.Interruption,
			probes.FramesSent, probes.FramesLost, probes.FramesLate, probes.FramesInTime, probes.PathMTU,
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
