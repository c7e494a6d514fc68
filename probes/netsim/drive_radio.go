package netsim

import (
	"fmt"
	"math"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// air is the radio at one place: level in dBm, ratios in dB, and what they allow in bit/s per Hz.
type air struct{ rsrp, sinr, rsrq, efficiency float64 }

// fading is the distance over which shadowing changes, for streets (TR 38.901 table 7.5-6 has 10 to 13 m; the modem's own
// averaging makes it longer).
const fading = 40.0

// air follows from the distance to the cell: path loss with a constant slope, shadowing with 4 dB (TR 38.901 table
// 7.4.1-1, UMi line of sight), interference from the neighbours that grows towards the cell's edge.
func (d *drive) air(t time.Duration, c cell) air {
	at, _ := d.where(t)
	middle := (c.from + c.to) / 2
	distance := math.Hypot(at-middle, c.side)
	shadow := 4 * noise(d.seed+c.id, time.Duration(at/fading*float64(time.Second)), time.Second)
	a := air{rsrp: c.level - c.slope*math.Log10(distance/50) + shadow}
	if d.outage.contains(t) {
		a.rsrp = min(a.rsrp, -124) - 2
	}
	a.rsrp = min(max(a.rsrp, -140), -44) // what LTE can report (TS 36.133 section 9.1.4); NR's range includes it
	edge := min(math.Abs(at-middle)/((c.to-c.from)/2), 1)
	a.sinr = min(max((a.rsrp+108)*0.65-6*edge*edge*edge, -12), 30)
	// RSRQ is −10.8 dB, one twelfth, while all subcarriers of the resource blocks measured carry the cell's own power and
	// nothing else is on the air, and falls as interference joins (TS 38.215 section 5.1.3).
	a.rsrq = max(-10.8-0.25*max(22-a.sinr, 0), -20)
	// Shannon's bound less the usual 40 % for overhead and imperfect adaptation, up to 256-QAM with two layers.
	a.efficiency = max(min(0.6*math.Log2(1+math.Pow(10, a.sinr/10)), 6), 0.05)
	return a
}

// radio is what the modem says. Levels come in the steps in which modems report them.
func (d *drive) radio(elapsed time.Duration) *probes.RadioSample {
	t := within(elapsed, d.length)
	c, _ := d.serving(t)
	a := d.air(t, c)
	at, speed := d.where(t)
	// The circuit is a circle near 22.75° N 113.60° E; a degree of latitude is 111.2 km.
	angle := 2 * math.Pi * at / d.circuit
	radius := d.circuit / (2 * math.Pi) / 111_200
	return &probes.RadioSample{
		RAT: c.rat, Band: c.band, ARFCN: new(c.arfcn), PCI: new(c.pci), Cell: fmt.Sprintf("%X", c.id),
		PLMN: "00101", // the test network of TS 36.508 and TS 38.508-1
		RSRP: new(math.Round(a.rsrp)), RSRQ: new(math.Round(2*a.rsrq) / 2), SINR: new(math.Round(2*a.sinr) / 2),
		Latitude:  new(22.75 + radius*math.Sin(angle)),
		Longitude: new(113.60 + radius*math.Cos(angle)/math.Cos(22.75*math.Pi/180)),
		Speed:     new(math.Round(10*speed) / 10),
	}
}
