package stamp

import (
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// delay is what one answered packet says of both ways, with the offset between the clocks still inside.
type delay struct {
	sent     time.Duration
	up, down time.Duration // T2 − T1 and T4 − T3: true delay plus, and minus, the far clock's offset
	rtt      time.Duration
	next     bool // the packet before was answered as well
}

// delays lists the answered packets of a window, but those that woke the link up, in the order in which they were sent. It
// is empty when the far end gives
// no usable time stamps. previous says whether the last packet before the window was answered; its delays come first.
func (w *window) delays(previous *delay) (list []delay, last *delay) {
	list = make([]delay, 0, len(w.records))
	last = previous
	for i := range w.records {
		r := &w.records[i]
		rtt, _, ok := r.roundTrip()
		if !r.fate.has(answered) || r.fate.has(cold) || !ok {
			last = nil
			continue
		}
		d := delay{
			sent: r.sent, rtt: rtt,
			up:   time.Duration(r.t2 - w.epoch - int64(r.sent)),
			down: time.Duration(w.epoch + int64(r.received) - r.t3),
		}
		d.next = last != nil
		list = append(list, d)
		last = &d
	}
	return list, last
}

// observeInterpacket takes down the differences between the delays of packets sent one after the other (RFC 3393).
// previous is the packet before the first of the list.
func observeInterpacket(rec *probes.Recorder, list []delay, previous *delay) {
	for i := range list {
		d := &list[i]
		if d.next {
			rec.ObserveDuration(probes.InterpacketVariation, probes.Up, (d.up - previous.up).Abs())
			rec.ObserveDuration(probes.InterpacketVariation, probes.Down, (d.down - previous.down).Abs())
		}
		previous = d
	}
}

// observeVariation takes down the delays per direction above the smallest of the window (RFC 5481 section 4.2). The
// offset between the clocks cancels; a drift that is certain was taken out before.
func observeVariation(rec *probes.Recorder, list []delay) {
	up, down := list[0].up, list[0].down
	for _, d := range list {
		up, down = min(up, d.up), min(down, d.down)
	}
	for _, d := range list {
		rec.ObserveDuration(probes.DelayVariation, probes.Up, d.up-up)
		rec.ObserveDuration(probes.DelayVariation, probes.Down, d.down-down)
	}
}
