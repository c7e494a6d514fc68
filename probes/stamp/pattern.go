package stamp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// pattern is the traffic of an application: frames of a size and a rate per phase and direction, each worth something only
// until its deadline. It is made in the style of ITU-T G.1051 (03/2023), which measures latency under such traffic, and is
// not one of that Recommendation's test cases: sizes and rates here are from the sources named beside them, or our choice.
//
// A reply carries each packet back, so every frame is judged on its round trip, and per direction where the clocks allow it.
type pattern struct {
	name     string
	up, down time.Duration // deadlines of a frame, one way; the round trip may take both together
	phases   []phase       // in the order in which they come, again and again
}

// phase is a part of a pattern in which the traffic stays the same.
type phase struct {
	name  string
	lasts time.Duration
	flows []flow
}

// flow is a row of equal frames.
type flow struct {
	up, down int           // bytes of UDP payload of one frame, 0 for a direction that has none
	every    time.Duration // from one frame to the next

	phase  string // that it belongs to
	number uint8  // among the flows of the pattern
}

// fragment is the most that one packet of a frame carries: it fits into any IPv6 link (RFC 8200 section 5) with headers.
const fragment = 1200

// patterns lists all patterns.
func patterns() []pattern {
	const (
		ms      = time.Millisecond
		frame60 = time.Second/60 + 1 // rounded up, so that no second holds a 61st
	)
	return []pattern{
		{
			// Single packets of 30 to 500 bytes each 30 to 60 ms are what IEEE 802.11-18/2009r6 gives for mobile gaming; the
			// phases with shorter intervals, as in a shooter, are our choice. Delay: 5QI 3, real-time gaming (3GPP TS 23.501
			// table 5.7.4-1).
			name: "gaming", up: 50 * ms, down: 50 * ms,
			phases: []phase{
				{name: "lobby", lasts: 2 * time.Second, flows: []flow{{up: 100, down: 100, every: 40 * ms}}},
				{name: "active", lasts: 5 * time.Second, flows: []flow{{up: 252, down: 252, every: 16 * ms}}},
				{name: "trapped", lasts: 3 * time.Second, flows: []flow{{up: 500, down: 500, every: 8 * ms}}},
			},
		},
		{
			// G.711 at 20 ms a packet: 160 bytes behind 12 of RTP (RFC 3551 section 4.5.14, RFC 3550), both ways without silence
			// suppression, which is our choice. Delay: 5QI 1, conversational voice (3GPP TS 23.501 table 5.7.4-1).
			name: "voice", up: 100 * ms, down: 100 * ms,
			phases: []phase{{name: "call", lasts: 10 * time.Second, flows: []flow{{up: 172, down: 172, every: 20 * ms}}}},
		},
		{
			// Uplink of augmented reality after 3GPP TR 38.838: video of 10 Mbit/s at 60 frames/s, pose of 100 bytes each 4 ms, and
			// 30 ms for a frame, which there is the radio's part alone. The overlay that comes back is our choice.
			name: "ar", up: 30 * ms, down: 30 * ms,
			phases: []phase{
				{name: "look", lasts: 5 * time.Second, flows: []flow{{up: 100, every: 4 * ms}, {down: 1000, every: frame60}}},
				{name: "share", lasts: 5 * time.Second, flows: []flow{
					{up: 10_000_000 / 60 / 8, every: frame60}, {up: 100, every: 4 * ms}, {down: 1000, every: frame60},
				}},
			},
		},
		{
			// Tele-operated driving after 3GPP TR 22.856, which quotes 5GAA: a camera of 8 Mbit/s up each 20 ms within 100 ms,
			// commands of at most 8 kbit down each 20 ms within 20 ms. A vehicle has four cameras there; here it is one, and the
			// phase of standing with a tenth of it is our choice.
			name: "remote-driving", up: 100 * ms, down: 20 * ms,
			phases: []phase{
				{name: "standing", lasts: 2 * time.Second, flows: []flow{{up: 2000, every: 20 * ms}, {down: 1000, every: 20 * ms}}},
				{name: "driving", lasts: 8 * time.Second, flows: []flow{{up: 20_000, every: 20 * ms}, {down: 1000, every: 20 * ms}}},
			},
		},
	}
}

// findPattern returns the pattern with that name; nil when there is none.
func findPattern(name string) *pattern {
	for _, p := range patterns() {
		if p.name != name {
			continue
		}
		number := uint8(0)
		for i := range p.phases {
			for j := range p.phases[i].flows {
				p.phases[i].flows[j].phase, p.phases[i].flows[j].number = p.phases[i].name, number
				number++
			}
		}
		return &p
	}
	return nil
}

// pattern is the one that is configured; nil for none.
func (c *Config) pattern() *pattern { return findPattern(c.Pattern) }

// flows lists the flows of all phases by their numbers.
func (p *pattern) flows() (list []*flow) {
	for i := range p.phases {
		for j := range p.phases[i].flows {
			list = append(list, &p.phases[i].flows[j])
		}
	}
	return list
}

// cycle is how long it takes until the first phase comes again.
func (p *pattern) cycle() (d time.Duration) {
	for _, ph := range p.phases {
		d += ph.lasts
	}
	return d
}

// roundTrip is the deadline of a frame's way there and back.
func (p *pattern) roundTrip() time.Duration { return p.up + p.down }

// slowest is the longest interval of a flow.
func (p *pattern) slowest() (every time.Duration) {
	for _, f := range p.flows() {
		every = max(every, f.every)
	}
	return every
}

// packets is how many packets carry one frame. A request is as long as the larger of the two directions, because a
// reflector never sends more than it received.
func (f *flow) packets() int { return (max(f.up, f.down) + fragment - 1) / fragment }

// request is the length of each packet of a frame, and reply that of each reply, both at least as long as the protocol
// asks for. A reply without a frame in it is as short as can be.
func (f *flow) request(m mode) int { return f.part(max(f.up, f.down), m) }
func (f *flow) reply(m mode) int   { return f.part(f.down, m) }

// part is the length of one of the equal parts of a frame, in whole words of 4 octets.
func (f *flow) part(bytes int, m mode) int {
	n := f.packets()
	return max(m.base(), ((bytes+n-1)/n+3)/4*4)
}

// frames is how many frames of the flow begin within a stretch of its phase.
func (f *flow) frames(d time.Duration) int { return int((d + f.every - 1) / f.every) }

// traffic is what a pattern sends in a length of time: whole cycles exactly, and of what is left the most it can be.
func (p *pattern) traffic(d time.Duration, m mode) (packets int, bytes unit.Bytes) {
	cycles := int(d / p.cycle())
	rest := d % p.cycle()
	var restPackets int
	var restBytes unit.Bytes
	for _, ph := range p.phases {
		inRest, bytesInRest := 0, unit.Bytes(0)
		for _, f := range ph.flows {
			n := f.frames(ph.lasts) * f.packets() * cycles
			packets += n
			bytes += unit.Bytes(n) * unit.Bytes(f.request(m)+probes.HeaderUDP)
			if rest > 0 {
				n = (f.frames(rest) + len(p.phases)) * f.packets()
				inRest += n
				bytesInRest += unit.Bytes(n) * unit.Bytes(f.request(m)+probes.HeaderUDP)
			}
		}
		restPackets, restBytes = max(restPackets, inRest), max(restBytes, bytesInRest)
	}
	return packets + restPackets, bytes + restBytes
}

// checkPattern finds settings that a pattern makes meaningless.
func (c *Config) checkPattern() error {
	p := c.pattern()
	if p == nil {
		return nil
	}
	plain := defaults()
	var taken []string
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"count", c.Count != plain.Count},
		{"interval", c.Interval != plain.Interval},
		{"size", c.Size != plain.Size},
		{"spacing", c.Spacing != plain.Spacing},
		{"burst", c.Burst != plain.Burst},
		{"idle", c.Idle != plain.Idle},
	} {
		if key.set {
			taken = append(taken, key.name)
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("pattern: %s says when packets leave and how large they are: leave %s away, or the pattern", c.Pattern, strings.Join(taken, ", "))
	}
	if c.Wait < p.roundTrip() {
		return fmt.Errorf("timeout: %v is below %v, the round trip that pattern %s allows a frame", c.Wait, p.roundTrip(), c.Pattern)
	}
	length := max(c.Window, c.Duration)
	if n, _ := p.traffic(length, unauthenticated); n > maxPlanned {
		return fmt.Errorf("pattern: %s over %v makes %d packets in one result, more than %d: set a shorter duration or window", c.Pattern, length, n, maxPlanned)
	}
	return nil
}

// course works a pattern off: it gives the packets of its frames one after the other.
type course struct {
	pattern *pattern
	phase   int
	began   time.Duration   // of the phase
	due     []time.Duration // the next frame of each flow of the phase
	frame   uint32          // that the next packet belongs to, or the one before when part is 0
	flow    *flow
	part    int
	at      time.Duration
}

func newCourse(p *pattern, at time.Duration) *course {
	c := &course{pattern: p, began: at}
	c.enter()
	return c
}

// enter begins the present phase with a frame of each flow.
func (c *course) enter() {
	c.due = slices.Repeat([]time.Duration{c.began}, len(c.pattern.phases[c.phase].flows))
}

// take returns the next packet. All packets of a frame leave together, as an encoder without a pacer hands them over.
func (c *course) take() slot {
	if c.part == 0 {
		c.choose()
		c.frame++
	}
	s := slot{at: c.at, counted: true, flow: c.flow, frame: c.frame, part: c.part}
	c.part = (c.part + 1) % c.flow.packets()
	return s
}

// choose finds the frame that is due next, of flows due together the first.
func (c *course) choose() {
	for {
		ph := &c.pattern.phases[c.phase]
		first := 0
		for i, at := range c.due {
			if at < c.due[first] {
				first = i
			}
		}
		if c.due[first] < c.began+ph.lasts {
			c.flow, c.at = &ph.flows[first], c.due[first]
			c.due[first] += c.flow.every
			return
		}
		c.began += ph.lasts
		c.phase = (c.phase + 1) % len(c.pattern.phases)
		c.enter()
	}
}
