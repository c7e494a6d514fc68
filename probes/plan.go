package probes

import "github.com/nrprobe/nrprobe/configs/unit"

// Priced is implemented by configurations that know beforehand how much data they may use.
type Priced interface {
	// WorstCase is the most that one run, or one window of a continuous measurement, is expected to move over the interface:
	// both directions, headers of IPv6 and acknowledgements included, in bytes. 0 says that there is no bound.
	WorstCase() unit.Bytes
}

// Metered is implemented by configurations that can tell from a Result how much data it took.
type Metered interface {
	// Spent is what was moved over the interface for a Result of this configuration, reckoned as in Priced. It is an
	// estimate: the Result does not tell everything that was sent.
	Spent(r *Result) unit.Bytes
}

// Sizes in bytes that Priced and Metered reckon with.
const (
	// HeaderUDP is in front of the payload of a datagram: IPv6 40, UDP 8 (RFC 8200, RFC 768). IPv4 has 20 bytes less.
	HeaderUDP = 48
	// HeaderTCP is in front of the payload of a segment: IPv6 40, TCP 20, time stamps 12 (RFC 9293, RFC 7323).
	HeaderTCP = 72
	// LookupBytes is what it takes to resolve a name: two questions and their answers.
	LookupBytes = 1000
)

// WorstCase is how much data one run of the kind may use with a configuration that NewConfig returned; false when there is no
// bound, or none that is known.
func (k Kind) WorstCase(config any) (n unit.Bytes, known bool) {
	if p, ok := config.(Priced); ok {
		n = p.WorstCase()
	}
	return n, n > 0
}

// Spent is how much data a Result took that was measured with a configuration that NewConfig returned; false when the kind
// cannot tell.
func (k Kind) Spent(config any, r *Result) (n unit.Bytes, known bool) {
	m, ok := config.(Metered)
	if !ok {
		return 0, false
	}
	return m.Spent(r), true
}
