package reflector

import "sync/atomic"

// Stats is what a reflector has seen so far.
type Stats struct {
	// Open counts TCP and QUIC connections at this moment.
	Open               int
	Streams, TLS, QUIC PortStats
}

// PortStats is what one kind of port has seen. Accepted = served + Garbage + Failed + what is open, where served
// connections ended without an error.
type PortStats struct {
	// Accepted counts connections that the limits let in.
	Accepted uint64
	// Busy counts connections that the limits turned away; on QUIC each of a client's attempts counts.
	Busy uint64
	// Garbage counts connections that spoke none of our protocols; on QUIC also packets that were none.
	Garbage uint64
	// Failed counts connections whose service returned an error.
	Failed uint64
}

type portStats struct{ accepted, busy, garbage, failed atomic.Uint64 }

func (s *portStats) read() PortStats {
	return PortStats{Accepted: s.accepted.Load(), Busy: s.busy.Load(), Garbage: s.garbage.Load(), Failed: s.failed.Load()}
}

// Stats returns the counters so far. STAMP has its own.
func (r *Reflector) Stats() Stats {
	return Stats{Open: r.gate.open(), Streams: r.streams.read(), TLS: r.tls.read(), QUIC: r.quic.read()}
}
