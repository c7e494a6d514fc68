package stamp

import "github.com/nrprobe/nrprobe/probes"

// observeExtent takes down, for each reordered packet of the window, how many arrivals it came behind the earliest one
// of a packet sent later (RFC 4737 section 4.2). Packets sent later than the window are not looked at.
func observeExtent(rec *probes.Recorder, w *window) {
	earliest := uint32(0) // arrival among the packets behind the one looked at; 0 when there was none
	for i := len(w.records) - 1; i >= 0; i-- {
		r := &w.records[i]
		if !r.fate.has(answered) {
			continue
		}
		if r.fate.has(reordered) && earliest > 0 && earliest < r.order {
			rec.Observe(probes.ReorderExtent, probes.Both, float64(r.order-earliest))
		}
		if earliest == 0 || r.order < earliest {
			earliest = r.order
		}
	}
}
