package survey

import (
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// The kinds that a survey is made of, by their names in the catalog.
const (
	kindSTAMP      = "stamp"
	kindTCP        = "tcp"
	kindQUIC       = "quic"
	kindThroughput = "throughput"
)

// The names of the phases in JSON. They never change once released.
const (
	warmUp     = "warm_up"
	idle       = "idle"
	handshakes = "handshakes"
	down       = "down"
	up         = "up"
	both       = "both"
	quicDown   = "quic_down"
	quicUp     = "quic_up"
)

// phase is one part of the plan.
type phase struct {
	name, label string
	length      time.Duration
	// settle is the time at the start in which packets are sent and count in no figure: the load is still growing.
	settle time.Duration
	pause  time.Duration // after it
	load   *load         // nil where there is none
	skip   string        // why it is not to be run after all; "" to run it
}

// load is what fills the link during a phase.
type load struct {
	transport, direction string
	weight               int64 // share of the byte budget
}

// setup is about how long a load phase takes beside its length: six round trips of handshakes and the last count.
const setup = 120 * time.Millisecond

// planned is about how long the phase takes, for the progress display alone.
func (p phase) planned() time.Duration {
	if p.load != nil {
		return p.length + setup + p.pause
	}
	return p.length
}

// newPlan lists the phases. Two seconds of packets bring a radio from idle to active and let carrier aggregation be
// added (reported as 1 to 5 s in 5G); of each load the first second is slow start. Five seconds are enough to find a
// steady rate and short enough that all of it takes half a minute. A quick survey leaves the upload over QUIC out.
func newPlan(quick bool) []phase {
	warm, calm, loaded, brief, settle, rest := 2*time.Second, 4*time.Second, 5*time.Second, 3*time.Second, time.Second, 400*time.Millisecond
	if quick {
		warm, calm, loaded, brief, settle, rest = time.Second, 1500*time.Millisecond, 1800*time.Millisecond, time.Second, 400*time.Millisecond, 100*time.Millisecond
	}
	plan := []phase{
		{name: warmUp, label: "warm-up", length: warm},
		{name: idle, label: "idle", length: calm},
		{name: handshakes, label: "handshakes", length: 500 * time.Millisecond},
		{name: down, label: "download", length: loaded, load: &load{"tcp", "down", 2}},
		{name: up, label: "upload", length: loaded, load: &load{"tcp", "up", 2}},
		{name: both, label: "both ways", length: loaded, load: &load{"tcp", "both", 4}},
		{name: quicDown, label: "QUIC download", length: brief, load: &load{"quic", "down", 1}},
	}
	if !quick {
		plan = append(plan, phase{name: quicUp, label: "QUIC upload", length: brief, load: &load{"quic", "up", 1}})
	}
	for i := range plan {
		if plan[i].load != nil {
			plan[i].settle, plan[i].pause = settle, rest
		}
	}
	return plan
}

// budget shares out the bytes that may be transferred. What a phase leaves over goes to those after it, so that the sum
// stays within the limit whatever each of them takes.
type budget struct {
	limited bool
	left    int64
	weights int64 // of the load phases that are still to come
}

// overhead is the part of the limit that load phases do not get, one in ten: headers, acknowledgements, segments sent
// again, and latency packets.
const overhead = 10

// minLoad is the least that a load phase is worth running with, and the least that the kind takes, per direction: at
// 30 Mbit/s and 50 ms, slow start alone has transferred half of it.
const minLoad = 1 << 20

func newBudget(limit unit.Bytes, plan []phase) *budget {
	b := &budget{limited: limit > 0, left: int64(limit) - int64(limit)/overhead}
	for _, p := range plan {
		if p.load != nil {
			b.weights += p.load.weight
		}
	}
	return b
}

// share is what a load may transfer; 0 is no limit. When the shares are too small to be worth it, the first loads get what is
// worth it and the last ones nothing: then ok is false. Each load asks once, whether it is run or not, and spends after
// that.
func (b *budget) share(l *load) (bytes int64, ok bool) {
	if !b.limited {
		return 0, true
	}
	least := int64(minLoad)
	if l.direction == both {
		least *= 2
	}
	bytes = max(b.left*l.weight/max(b.weights, 1), least)
	b.weights -= l.weight
	return bytes, bytes <= b.left
}

func (b *budget) spend(bytes int64) { b.left -= bytes }
