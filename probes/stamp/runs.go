package stamp

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// run is a row of packets that were all lost, across windows.
type run struct {
	start          time.Duration // departure of the first
	lost, up, down int
	paused         time.Duration // by the schedule, within the row; or by the host, at the end of it
	blind          time.Duration // the host sent nothing, between two lost packets
}

// lasted is how long the row kept the stream interrupted by a given moment. Pauses of the schedule are no interruption.
func (p *interruptions) lasted(end time.Duration) time.Duration {
	return max(0, end-p.run.start-p.run.paused)
}

// interruptions finds the rows of lost packets. The interruption lasts from the departure of the first lost packet to
// that of the first one that got through, so the planned spacing before it is not part of it; its resolution is the
// interval. Nor are slots just before it part of it that this host skipped: nobody saw what the link did then. Between two
// lost packets they are. It ends in the window in which a packet gets through; until then each window says how long it has
// lasted.
type interruptions struct {
	least time.Duration // that makes an event
	run   run
	spike spikes
}

// observe takes down the rows of a window, whose losses know their direction already, and returns how many packets were
// lost. Packets on their way at the end are neither lost nor through. The event of a row is told when the round trip is back
// where it was before it, which may be in a later window.
func (p *interruptions) observe(rec *probes.Recorder, w *window, settled, end time.Duration) (lost, up, down int) {
	longest := time.Duration(0)
	for i := range w.records {
		r := &w.records[i]
		if p.run.lost > 0 {
			p.host(w, w.first+uint64(i), r)
		}
		switch {
		case r.lost(settled):
			if p.run.lost == 0 {
				p.run.start = r.sent
			}
			p.run.lost++
			lost++
			if r.fate.has(lostUp) {
				p.run.up++
				up++
			}
			if r.fate.has(lostDown) {
				p.run.down++
				down++
			}
		case r.fate.has(answered) && p.run.lost > 0:
			longest, w.seen = max(longest, p.lasted(r.sent)), max(w.seen, p.lasted(r.sent)-p.run.blind)
			rec.Observe(probes.LossBurst, probes.Both, float64(p.run.lost))
			p.event(rec, w, r.sent, "")
			p.run = run{}
		}
		if r.fate.has(answered) && !r.fate.has(cold) {
			rtt, _, _ := r.roundTrip()
			p.spike.observe(rec, r.sent, rtt)
		}
	}
	if p.run.lost > 0 {
		longest, w.seen = max(longest, p.lasted(end)), max(w.seen, p.lasted(end)-p.run.blind)
	}
	rec.Set(probes.Interruption, probes.Both, longest.Seconds())
	return lost, up, down
}

// host takes in for how long nothing was sent before a packet behind a lost one.
func (p *interruptions) host(w *window, seq uint64, r *record) {
	if r.fate.has(cold) {
		p.run.paused += w.pauseBefore(seq)
	}
	if r.fate.has(answered) {
		p.run.paused += w.stallBefore(seq)
	} else {
		p.run.blind += w.stallBefore(seq)
	}
}

// finish takes down a row that nothing came after, at the end of the session.
func (p *interruptions) finish(rec *probes.Recorder, w *window, end time.Duration) {
	if p.run.lost > 0 {
		rec.Observe(probes.LossBurst, probes.Both, float64(p.run.lost))
		p.event(rec, w, end, ", still going on at the end")
		p.run = run{}
	}
	p.spike.finish(rec)
}

func (p *interruptions) event(rec *probes.Recorder, w *window, end time.Duration, remark string) {
	length := p.lasted(end)
	if length < p.least {
		return
	}
	detail := fmt.Sprintf("%d packets lost", p.run.lost)
	if p.run.up+p.run.down == p.run.lost {
		detail = fmt.Sprintf("%s, %d up and %d down", detail, p.run.up, p.run.down)
	}
	p.spike.begin(rec, probes.Event{
		Time: time.Unix(0, w.epoch+int64(p.run.start)), Type: probes.InterruptionEvent, Duration: length, Detail: detail + remark,
	}, end)
}
