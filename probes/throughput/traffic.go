package throughput

import (
	"context"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// What a payload byte takes of an interface at most, in its own direction and in the other: headers of Ethernet, IPv6 and TCP
// with time stamps in front of segments of 1400 bytes, or those of QUIC, and an acknowledgement for each of them.
const (
	perPayload     = 1.07
	perAcknowledge = 0.06
)

// quiet begins to watch the interface that leads to the far end, and waits, if that is asked for, until others leave it alone.
// Connecting a UDP socket sends nothing.
func (m *measurement) quiet(ctx context.Context, env probes.Env) error {
	c, err := env.Net.Dial(ctx, "udp", m.address)
	if err != nil {
		return nil //nolint:nilerr // what is wrong with the address, the connection to come says better
	}
	m.around = load.Surround(c)
	if err := c.Close(); err != nil {
		return err
	}
	m.around.AwaitQuiet(ctx.Done(), m.config.Quiet, m.rec)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// judge takes down what else the host did while data flowed. It is called as soon as none is wanted any more.
func (m *measurement) judge() {
	var payload load.Octets
	for _, x := range m.meters {
		if x.way == probes.Up {
			payload.Up = x.sent()
		} else {
			payload.Down = float64(x.counter.Total())
		}
	}
	m.around.Judge(load.Octets{
		Up:   perPayload*payload.Up + perAcknowledge*payload.Down,
		Down: perPayload*payload.Down + perAcknowledge*payload.Up,
	}, m.rec)
}

// sent is how many bytes have left this host at most: what a kernel says that it sent, first or again, or else what the far
// end had when it last said, what it may have had since, what is under way and what was lost.
func (m *meter) sent() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := float64(m.counter.Total())
	if last := len(m.samples) - 1; last >= 0 {
		n += 2 * m.interval.Seconds() * m.samples.rate(last)
	}
	if m.sender == nil {
		return n
	}
	if m.sender.SentBytes > 0 {
		return max(float64(m.counter.Total()), float64(m.sender.SentBytes))
	}
	return n + float64(m.sender.CongestionWindow+m.sender.PacketsLost*packetBytes)
}

// packetBytes is the most that a QUIC packet carries on a path for Ethernet.
const packetBytes = 1452
