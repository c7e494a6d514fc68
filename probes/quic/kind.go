// Package quic measures a QUIC connection to the reflector: its full handshake, its resumed handshake with 0-RTT data,
// and the round trips of datagrams (RFC 9221) and on streams, with what the QUIC implementation itself saw beside.
package quic

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Config is what can be set of a run.
type Config struct {
	Count            int           `yaml:"count" help:"datagrams to send" min:"1" max:"100000"`
	Interval         time.Duration `yaml:"interval" help:"time between two datagrams" min:"1ms" max:"1h"`
	Size             int           `yaml:"size" help:"bytes of one datagram or echo" min:"8" max:"1150"`
	Stream           bool          `yaml:"stream" help:"measure echoes on streams too, as many as datagrams and in the middle between them"`
	MigrateTo        string        `yaml:"migrate_to" help:"interface, or one of its addresses, to migrate the connection to after half of the datagrams"`
	Resume           bool          `yaml:"resume" help:"connect a second time with the session of the first and 0-RTT data"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout" help:"how long to wait for a handshake" min:"10ms" max:"2m"`
	DatagramTimeout  time.Duration `yaml:"timeout" help:"how long to wait for the last datagrams" min:"10ms" max:"2m"`
}

func defaults() Config {
	return Config{
		Count: 20, Interval: 50 * time.Millisecond, Size: 64, Stream: true, Resume: true,
		HandshakeTimeout: 5 * time.Second, // an Initial is sent again after 0.2, 0.4, … s (RFC 9002 section 6.2.2)
		DatagramTimeout:  3 * time.Second,
	}
}

// Timeout implements probes.Config: every wait at its longest, and a second for name resolution and the like.
func (c *Config) Timeout() time.Duration {
	total := time.Duration(c.Count)*c.Interval + c.HandshakeTimeout + c.DatagramTimeout + time.Second
	if c.Resume {
		total += c.HandshakeTimeout
	}
	if c.MigrateTo != "" {
		total += c.HandshakeTimeout
	}
	return total
}

// Kind describes the probe.
func Kind() probes.Kind {
	return probes.Define(probes.Kind{
		Name:    "quic",
		Summary: "QUIC handshake, resumed 0-RTT handshake, datagram and stream round trips",
		Help: `Connects to the reflector by QUIC and measures the full handshake (TLS 1.3, certificate verified), sends datagrams at
a fixed interval and measures until they are back, then connects again with the session of the first connection and
measures until 0-RTT data is answered. Datagrams are not sent again, so that losses, duplicates and reordering show as
they do with plain UDP; but the congestion control may hold them back. In the middle between two datagrams a stream is
opened for an echo of the same size: QUIC sends its lost bytes again, so that a loss shows as a late echo. Time stamps are taken by the program, not by the
kernel. Only the preferred address of a name is tried. The far end must be an nrprobe reflector.

With --migrate-to the connection moves to another interface after half of the datagrams, while the first one still
works: the new path is validated, then used. Measured are the validation, the longest time without an answer around the
move beyond the interval, and the round trips before and after; the event migration says when. The resumed handshake is
made on the first interface again.`,
		Example: "nrprobe probe quic 127.0.0.1 --count 20",
		Lane:    probes.Latency,
		Port:    farend.TLSPort,
		Metrics: []*probes.Metric{
			probes.RTT, probes.StreamRTT, probes.ResolveTime, probes.HandshakeTime, probes.ResumedTime, probes.ScheduleError,
			probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsDuplicated, probes.PacketsReordered, probes.LossRatio,
			probes.PathValidation, probes.MigrationGap, probes.RTTBefore, probes.RTTAfter,
			probes.TransportRTT, probes.TransportMinRTT, probes.TransportLost, probes.CongestionWindow,
		},
	}, defaults, build)
}

// minMigration is how many datagrams it takes to have two before and two after the migration.
const minMigration = 4

func build(c Config, env probes.Env, target probes.Target) (probes.Probe, error) {
	if c.MigrateTo != "" && c.Count < minMigration {
		return nil, fmt.Errorf("count: %d datagrams are too few to migrate between them: want at least %d", c.Count, minMigration)
	}
	return &probe{config: c, env: env, target: target}, nil
}
