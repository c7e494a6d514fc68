package iperf3

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// publish takes down what came out. theirs is nil when the test ended before results were exchanged: then what was
// received here is known, and of what was sent only what the own kernel knows.
func (r *run) publish(why string, theirs *results) {
	if why != "" {
		r.rec.Note("ended_by", why)
	}
	if r.elapsed <= 0 {
		return
	}
	if r.params.UDP {
		r.publishDatagrams(theirs)
	}
	if len(r.up) > 0 {
		r.publishUp(theirs)
	}
	if len(r.down) > 0 {
		n := int64(0)
		for _, received := range r.received {
			n += received
		}
		r.publishBytes(probes.Down, n, r.elapsed)
	}
	if !r.params.UDP {
		r.publishTCP(theirs)
	}
}

func (r *run) publishBytes(way probes.Direction, n int64, elapsed time.Duration) {
	r.rec.Add(probes.Transferred, way, float64(n))
	r.rec.Set(probes.Goodput, way, float64(n)/elapsed.Seconds())
}

// publishUp takes what the server received, and its own time where it gives one for TCP: its counting ends when it hears
// of the end. Datagrams all had time to arrive, so that the time is that of sending.
func (r *run) publishUp(theirs *results) {
	n, elapsed := int64(0), r.elapsed
	if theirs == nil {
		if n = r.sending().AckedBytes; n > 0 {
			r.rec.Note("counted_by", "sender")
			r.publishBytes(probes.Up, n, elapsed+r.config.Omit)
		}
		return
	}
	for _, l := range r.up {
		s, _ := theirs.find(l.id)
		n += int64(s.Bytes)
		// A server's time that is far from ours counts from something else.
		if t := time.Duration(float64(s.End-s.Start) * float64(time.Second)); !bool(r.params.UDP) && t > r.elapsed*9/10 && t < r.elapsed*2 {
			elapsed = t
		}
	}
	r.publishBytes(probes.Up, n, elapsed)
}

// publishDatagrams takes down packets: over the whole test, what is omitted included, because the ends do not begin to count
// at the same packet. Without the server's results, losses are not known: the gaps here miss the end.
func (r *run) publishDatagrams(theirs *results) {
	totalSent, totalReceived := int64(0), int64(0)
	for way, legs := range map[probes.Direction][]*leg{probes.Up: r.up, probes.Down: r.down} {
		sent, received, reordered, jitter := int64(0), int64(0), int64(0), 0.0
		for _, l := range legs {
			var s streamResult
			if theirs != nil {
				s, _ = theirs.find(l.id)
			}
			if l.sends {
				sent += l.packets.Load()
				received += int64(max(0, s.Packets-s.Errors))
				jitter += float64(s.Jitter)
				r.rec.Add(probes.PacketsRefused, probes.Both, float64(l.refused.Load()))
				continue
			}
			sent += int64(s.Packets)
			got, late, j := l.tally.totals()
			received, reordered, jitter = received+got, reordered+late, jitter+j
		}
		if len(legs) == 0 {
			continue
		}
		if theirs != nil {
			totalSent, totalReceived = totalSent+sent, totalReceived+received
			r.rec.Add(probes.PacketsLost, way, float64(max(0, sent-received)))
			r.rec.Set(probes.Jitter, way, jitter/float64(len(legs)))
		}
		if way == probes.Down {
			r.rec.Add(probes.PacketsReordered, way, float64(reordered))
		}
	}
	if theirs == nil || totalSent == 0 {
		return
	}
	lost := max(0, totalSent-totalReceived)
	r.rec.Add(probes.PacketsSent, probes.Both, float64(totalSent))
	r.rec.Add(probes.PacketsReceived, probes.Both, float64(totalReceived))
	r.rec.Add(probes.PacketsLost, probes.Both, float64(lost))
	r.rec.Set(probes.LossRatio, probes.Both, float64(lost)/float64(totalSent))
}

// publishTCP takes down what the sending kernels say.
func (r *run) publishTCP(theirs *results) {
	if sum := r.sending(); sum.Sockets > 0 {
		mean := time.Duration(0)
		for _, rtt := range r.rtts {
			mean += rtt / time.Duration(len(r.rtts))
		}
		sum.Record(r.rec, probes.Up, r.elapsed+r.config.Omit, mean)
	}
	if theirs == nil || theirs.HasRetransmits != 1 {
		return
	}
	if theirs.Congestion != "" {
		r.rec.Note("congestion_control", string(theirs.Congestion))
	}
	for _, l := range r.down {
		if s, ok := theirs.find(l.id); ok && s.Retransmits >= 0 {
			r.rec.Add(probes.Retransmitted, probes.Both, float64(s.Retransmits))
		}
	}
}
