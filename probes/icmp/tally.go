package icmp

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// tally is what became of the packets of one run. It is safe for concurrent use.
type tally struct {
	r    *probes.Recorder
	late time.Duration
	done chan struct{} // closed when all that were sent are back

	mu       sync.Mutex
	start    time.Time
	packets  []packet
	complete bool // no more will be sent
	sent     int  // what the kernel accepted
	received int
	highest  int // of the numbers received; -1 before the first
	strange  int
	ttls     []string // in the order in which they were seen
}

// packet is one of them, by its number.
type packet struct {
	planned  time.Duration // since the start; the stamp that the packet carries
	at       time.Duration // when it left
	refused  bool          // by the own kernel
	received bool
}

func newTally(r *probes.Recorder, late time.Duration) *tally {
	return &tally{r: r, late: late, done: make(chan struct{}), start: time.Now(), highest: -1}
}

// begin takes down that the next packet leaves now, and returns when that is.
func (t *tally) begin(planned time.Duration) (at time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.packets = append(t.packets, packet{planned: planned})
	at = time.Since(t.start)
	t.packets[len(t.packets)-1].at = at
	return at
}

// left takes down whether the kernel accepted a packet.
func (t *tally) left(number int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.packets[number].refused = true
		t.r.Add(probes.PacketsRefused, probes.Both, 1)
		t.r.Flag(probes.KernelRefused)
		return
	}
	t.sent++
}

// finish says that no more packets are sent.
func (t *tally) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete = true
	t.closeLocked()
}

func (t *tally) closeLocked() {
	if t.complete && t.received >= t.sent {
		t.complete = false
		close(t.done)
	}
}

// arrived takes down one reply: reordered when one that was sent later came before it (RFC 4737).
func (t *tally) arrived(number uint64, stamp time.Duration, a probes.ICMPArrival) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number >= uint64(len(t.packets)) || t.packets[number].planned != stamp {
		t.strange++
		return
	}
	p := &t.packets[number]
	if p.received {
		t.r.Add(probes.PacketsDuplicated, probes.Both, 1)
		return
	}
	p.received = true
	t.received++
	rtt := max(0, a.Time.Sub(t.start)-p.at)
	t.r.ObserveDuration(probes.RTT, probes.Both, rtt)
	if rtt > t.late {
		t.r.Add(probes.PacketsLate, probes.Both, 1)
	}
	if int(number) < t.highest {
		t.r.Add(probes.PacketsReordered, probes.Both, 1)
	}
	t.highest = max(t.highest, int(number))
	t.hopsLocked(a.TTL)
	t.closeLocked()
}

// hopsLocked notes the TTLs seen: more than one tells of a path that changed.
func (t *tally) hopsLocked(ttl int) {
	text := strconv.Itoa(ttl)
	if ttl == 0 || slices.Contains(t.ttls, text) {
		return
	}
	t.ttls = append(t.ttls, text)
	t.r.Note("ttl", strings.Join(t.ttls, ","))
}

func (t *tally) odd() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strange++
}

// account takes down the sums when all is over, and returns them. Where the run was cut short, packets that were still
// on their way are not lost.
func (t *tally) account(whole bool) (sent, received, strange int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost := 0
	now := time.Since(t.start)
	for _, p := range t.packets {
		if !p.received && !p.refused && (whole || now-p.at > t.late) {
			lost++
		}
	}
	t.r.Add(probes.PacketsSent, probes.Both, float64(t.sent))
	t.r.Add(probes.PacketsReceived, probes.Both, float64(t.received))
	t.r.Add(probes.PacketsLost, probes.Both, float64(lost))
	if t.sent > 0 {
		t.r.Set(probes.LossRatio, probes.Both, float64(lost)/float64(t.sent))
	}
	return t.sent, t.received, t.strange
}
