package netsim

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// DriveConfig says what a seeded drive is like. Zero values stand for the defaults.
type DriveConfig struct {
	// Length of one lap of the circuit; 5 minutes.
	Length time.Duration
	// Speed on average, in metres per second; 14, city traffic at 50 km/h.
	Speed float64
	// OutageAt and OutageFor place the one outage of a lap; 4 s after two fifths of it. A negative OutageFor means none.
	OutageAt, OutageFor time.Duration
}

// layer is a kind of cell: access technology, band, and the round trip that it has.
type layer struct {
	rat, band        string
	arfcn            int
	bandwidth        float64 // Hz
	down, up         float64 // share of the air time of each direction
	level            float64 // RSRP in dBm at 50 m
	slope            float64 // dB per decade of distance
	floor, body, tip float64 // round trip in ms: floor + body·exp(tip·z) for a standard normal z
}

// layers of the emulated network. The round trip of n78 has p50 15.5, p95 22.5 and p99 26.7 ms, that of n8 18.5, 25.5 and
// 29.4 ms: what runs of CICV5G show on a public n78 and a private n8 network (p50 15–16, p95 22–23, p99 25–28 ms; p50
// 18–19, p95 25–26, p99 28–30 ms; Zhang et al. 2025, doi:10.5281/zenodo.17475688). NSA is as the drives of one carrier in
// Boston have it against SA: median 7 % lower, p95 7 % higher (p50 44.4 and 47.6, p95 80.2 and 74.7 ms; CoNEXT 2025).
// LTE is an assumption: p50 34, p95 60 ms, between those and the 51–60 ms of the drives in PAM 2025 across a continent.
func layers() (sa78, nsa78, sa8, lte layer) {
	sa78 = layer{"NR-SA", "n78", 636666, 80e6, 0.74, 0.23, -60, 36, 6, 9.5, 0.336}
	nsa78 = layer{"NR-NSA", "n78", 636666, 80e6, 0.74, 0.23, -60, 36, 6, 8.4, 0.452}
	sa8 = layer{"NR-SA", "n8", 186000, 10e6, 1, 1, -58, 30, 9, 9.5, 0.336}
	lte = layer{"LTE", "B3", 1300, 20e6, 1, 1, -66, 34, 16, 18, 0.545}
	return sa78, nsa78, sa8, lte
}

// cell is one cell on the circuit and where it serves.
type cell struct {
	layer
	from, to float64 // metres along the circuit
	side     float64 // metres beside the road
	pci      int
	id       uint64 // NCI, or ECI in LTE
	load     float64
}

// drive is a lap through cells.
type drive struct {
	seed    uint64
	length  time.Duration
	speed   float64
	circuit float64 // metres
	cells   []cell
	changes []Interval // interruption at the beginning of the cell of the same index
	outage  Interval
}

// Drive makes a drive through 5G cells that depends on the seed and nothing else: stand-alone and non-stand-alone NR and a
// stretch of LTE, handovers with interruptions of 30 to 60 ms, and one outage. Level, quality, rate, loss and delay all
// follow from where the device is, so that radio and link agree.
func Drive(seed uint64, c DriveConfig) *Course {
	c.Length = cmp.Or(c.Length, 5*time.Minute)
	c.Speed = cmp.Or(c.Speed, 14)
	c.OutageAt = cmp.Or(c.OutageAt, c.Length*2/5)
	c.OutageFor = max(cmp.Or(c.OutageFor, 4*time.Second), 0)
	d := &drive{seed: mix(seed), length: c.Length, speed: c.Speed, outage: Interval{c.OutageAt, c.OutageAt + c.OutageFor}}
	d.circuit = d.speed * d.length.Seconds()
	d.layOut()
	course := &Course{
		Up:      ProfileFunc(func(t time.Duration) State { return d.state(t, probes.Up) }),
		Down:    ProfileFunc(func(t time.Duration) State { return d.state(t, probes.Down) }),
		RadioAt: d.radio, Length: d.length, Handovers: d.changes,
	}
	if c.OutageFor > 0 {
		course.Outages = []Interval{d.outage}
	}
	return course
}

// layOut places cells around the circuit: n78 sites 250 to 450 m apart, as in cities, with a low-band cell and an LTE cell
// where the sites leave a hole.
func (d *drive) layOut() {
	sa78, nsa78, sa8, lte := layers()
	pattern := []layer{sa78, sa78, nsa78, nsa78, lte, sa78, sa8, sa78}
	for at, i := 0.0, uint64(0); at < d.circuit; i++ {
		u := func(n uint64) float64 { return uniform(d.seed, 16*i+n, drawLayout) }
		c := cell{
			layer: pattern[i%uint64(len(pattern))], from: at, to: at + 250 + 200*u(0), side: 30 + 60*u(1),
			pci: int(1008 * u(2)), load: 0.5 + 0.45*u(3),
		}
		c.id = 0x123456<<12 | i // gNB 0x123456 with 24 bits, cell with 12 (TS 38.300 section 8.2, TS 38.413)
		if c.rat == "LTE" {
			c.pci %= 504
			c.id = 0x12345<<8 | i&0xff // eNB with 20 bits, cell with 8 (TS 36.300 section 8.2)
		}
		if d.circuit-c.to < 250 {
			c.to = d.circuit
		}
		d.cells = append(d.cells, c)
		at = c.to
	}
	for i, c := range d.cells {
		begin := d.when(c.from)
		gap := 30 + 30*uniform(d.seed, uint64(i), drawLoss) // ms
		d.changes = append(d.changes, Interval{begin, begin + time.Duration(gap*float64(time.Millisecond))})
	}
}

// where is the place on the circuit, in metres, and the speed there. The speed swings by a quarter, three times a lap.
func (d *drive) where(t time.Duration) (metres, speed float64) {
	phase := 2 * math.Pi * 3 * t.Seconds() / d.length.Seconds()
	swing := d.speed * d.length.Seconds() / (2 * math.Pi * 3) / 4
	return d.speed*t.Seconds() - swing*math.Sin(phase), d.speed * (1 - math.Cos(phase)/4)
}

// when is the time at which a place is reached: where, inverted by bisection.
func (d *drive) when(metres float64) time.Duration {
	low, high := time.Duration(0), d.length
	for high-low > 1 {
		middle := (low + high) / 2
		if at, _ := d.where(middle); at < metres {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// serving is the cell at a time of the lap, and its index. The first handover of a lap is the one at its beginning.
func (d *drive) serving(t time.Duration) (cell, int) {
	i, found := slices.BinarySearchFunc(d.changes, t, func(change Interval, t time.Duration) int { return cmp.Compare(change.Start, t) })
	if !found {
		i--
	}
	i = max(i, 0)
	return d.cells[i], i
}

// state is how one direction behaves.
func (d *drive) state(elapsed time.Duration, dir probes.Direction) State {
	t := within(elapsed, d.length)
	c, i := d.serving(t)
	air := d.air(t, c)
	share := c.down
	if dir == probes.Up {
		// A device has 23 dBm where the cell has 50 and more: far out, the uplink gives way first.
		share = c.up * min(max((air.rsrp+125)/45, 0.05), 1)
	}
	s := State{
		Delay: d.delay(elapsed, dir, c, air),
		// Losses while driving range from 0.4 to 1.8 % by carrier (PAM 2025 multi-carrier pings); most fall where the
		// signal is bad.
		Loss: 0.0005 + 0.03/(1+math.Exp(air.sinr)),
		Rate: air.efficiency * c.bandwidth / 8 * share * c.load,
		Down: d.outage.contains(t),
	}
	s.Queue = bufferOf(s.Rate)
	if d.changes[i].contains(t) {
		s.Stall = d.changes[i].End - t
	}
	return s
}

const (
	// slowKnots and fastKnots are the times over which the two parts of the delay's noise change. Together they give
	// the autocorrelation of 0.55–0.68 from one sample to the next at 20 Hz that CICV5G has.
	slowKnots, fastKnots = 400 * time.Millisecond, 40 * time.Millisecond
	slowShare            = 0.65
	// upShare is the uplink's part of the round trip: a device waits for a grant before it sends.
	upShare = 0.6
)

// delay is one direction's part of the round trip at a time. The noise does not repeat with the laps.
func (d *drive) delay(elapsed time.Duration, dir probes.Direction, c cell, a air) time.Duration {
	z := math.Sqrt(slowShare)*noise(d.seed, elapsed, slowKnots) + math.Sqrt(1-slowShare)*step(d.seed, elapsed, fastKnots)
	ms := c.floor + c.body*math.Exp(c.tip*z)
	if a.sinr < 0 {
		ms += -a.sinr * 4 // retransmissions: 8 ms and more each in either layer, more often the worse it is
	}
	share := upShare
	if dir == probes.Down {
		share = 1 - upShare
	}
	return time.Duration(ms * share * float64(time.Millisecond))
}

// noise is a standard normal function of time that goes smoothly from knot to knot.
func noise(seed uint64, t, knots time.Duration) float64 {
	n := uint64(t / knots)
	x := float64(t%knots) / float64(knots)
	a, b := math.Cos(x*math.Pi/2), math.Sin(x*math.Pi/2) // a² + b² = 1 keeps the variance
	return a*normal(seed, n, drawNoise) + b*normal(seed, n+1, drawNoise)
}

// step is a standard normal function of time that jumps from knot to knot.
func step(seed uint64, t, knots time.Duration) float64 {
	return normal(mix(seed), uint64(t/knots), drawNoise)
}
