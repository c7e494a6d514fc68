package capacity

import (
	"fmt"
	"strconv"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// way is the direction of the load.
func (r *run) way() probes.Direction {
	if r.plan.Up {
		return probes.Up
	}
	return probes.Down
}

// progress takes in what the receiver has counted and shows the capacity so far.
func (r *run) progress(p report) {
	r.count = &p
	if p.Capacity > 0 {
		r.rec.Set(probes.IPCapacity, r.way(), p.Capacity)
	}
}

// lateShare is the share of datagrams skipped from which on the sender is said to have been late.
const lateShare = 0.01

// publish sums up what is known of the run. It is called once, when nothing more comes.
func (r *run) publish() {
	r.note()
	way := r.way()
	if d := r.sent; d != nil {
		r.rec.Add(probes.PacketsSent, probes.Both, float64(d.Sent))
		r.rec.Add(probes.PacketsRefused, probes.Both, float64(d.Refused))
		r.rec.Add(probes.PacketsSkipped, probes.Both, float64(d.Skipped))
		if d.Refused > 0 {
			r.rec.Flag(probes.KernelRefused)
		}
		if float64(d.Skipped) > lateShare*float64(d.Sent) {
			r.rec.Flag(probes.ScheduleLate)
		}
	}
	p := r.count
	if p == nil {
		return
	}
	if p.Dropped > 0 && r.plan.Up {
		r.rec.Flag(probes.FarEndLate)
	} else if p.Dropped > 0 {
		r.rec.Flag(probes.CPUStarved)
	}
	r.rec.Add(probes.Transferred, way, float64(p.Bytes))
	r.rec.Add(probes.PacketsReceived, probes.Both, float64(p.Received))
	for _, d := range []probes.Direction{probes.Both, way} {
		r.rec.Add(probes.PacketsReordered, d, float64(p.Reordered))
		r.rec.Add(probes.PacketsDuplicated, d, float64(p.Duplicated))
	}
	if d := r.sent; d != nil && p.Final && d.Sent > 0 {
		lost := max(0, d.Sent-p.Received)
		r.rec.Add(probes.PacketsLost, probes.Both, float64(lost))
		r.rec.Add(probes.PacketsLost, way, float64(lost))
		r.rec.Set(probes.LossRatio, probes.Both, float64(lost)/float64(d.Sent))
	}
	if p.Variation != nil && p.Variation.Count() > 0 {
		r.rec.ObserveAll(probes.DelayVariation, way, p.Variation)
	}
	if r.plan.Train && p.Trains > 0 {
		r.rec.Set(probes.IPCapacityError, way, p.Error)
		if !p.Stamped {
			r.rec.Flag(probes.UserStamps)
		}
	}
}

// own is how many bytes the test moved over the interface at most, headers of Ethernet included. Of load that was lost nobody
// knows whether it got so far.
func (r *run) own() load.Octets {
	const ethernet = 14
	each, datagrams := float64(r.wire()+ethernet), 0.0
	if r.sent != nil {
		datagrams = float64(r.sent.Sent)
	}
	if r.count != nil {
		datagrams = max(datagrams, float64(r.count.Received+r.count.Duplicated))
	}
	if r.plan.Up {
		return load.Octets{Up: datagrams * each}
	}
	return load.Octets{Down: datagrams * each}
}

// note says how the run was made.
func (r *run) note() {
	notes := map[string]string{"method": "rfc9097-b", "datagram_bytes": strconv.Itoa(r.plan.Size)}
	if r.plan.Train {
		notes["method"] = "packet-train"
	} else {
		notes["sub_interval"] = min(subInterval, r.plan.Duration).String()
		notes["thresholds"] = fmt.Sprintf("%d errors, %v/%v", lossThreshold, lowThreshold, highThreshold)
		notes["feedback_interval"] = feedbackInterval.String()
	}
	if r.plan.MaxRate > 0 {
		notes["max_rate_bytes_per_second"] = strconv.FormatFloat(r.plan.MaxRate, 'f', 0, 64)
	}
	if d := r.sent; d != nil {
		notes["ended_by"], notes["gso"] = d.Stop, strconv.FormatBool(d.GSO)
		if !r.plan.Train {
			notes["limited_by"] = r.limit(d)
		}
	}
	if p := r.count; p != nil {
		notes["gro"] = strconv.FormatBool(p.GRO)
		if p.Stop == byNoLoad {
			notes["ended_by"] = p.Stop
		}
		if r.plan.Train {
			notes["trains"] = strconv.Itoa(p.Trains)
		}
	}
	for key, value := range notes {
		r.rec.Note(key, value)
	}
}

// limit names what kept the rate from rising further: the "path", the "receiver", whose kernel had no room for what
// arrived, the "sender", which could not keep to its times, "max_rate", or the "duration" of the test.
func (r *run) limit(d *done) string {
	switch {
	case r.count != nil && r.count.Dropped > 0:
		return "receiver"
	case d.Congested:
		return "path"
	case float64(d.Skipped) > lateShare*float64(d.Sent):
		return "sender"
	case r.plan.MaxRate > 0 && d.Rate >= r.plan.MaxRate:
		return "max_rate"
	default:
		return "duration"
	}
}
