package netsim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

const (
	// MaxTraceSize is the largest recording that is read: a day at 20 Hz with 60 bytes a row is 100 MB.
	MaxTraceSize = 128 << 20
	// maxTraceRTT is the largest round trip that a recording may hold; pings of minutes are no emulation of a link.
	maxTraceRTT = time.Minute
	// maxTraceRate is the largest rate, in Mbit/s, that a recording may hold.
	maxTraceRate = 1e6
	// maxTraceHours bounds the time from the first row to the last.
	maxTraceHours = 24 * 31
)

// LoadTraceFile reads a recorded drive from a file; see LoadTrace.
func LoadTraceFile(path string) (*Course, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading trace: %w", err)
	}
	defer f.Close()
	c, err := LoadTrace(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// LoadTrace reads a recorded drive: CSV text whose first line names the columns. Two sets of columns are known, and further
// columns do no harm.
//
//	t_s, dl_mbps, ul_mbps, rtt_ms [, rat]   one row a second: rates, and the round trip where it was measured
//	pub_unix_ms, rtt_ms [, cell_id, sinr_db, rsrp_dbm, speed_mps]   one row a round trip, with the radio
//
// The row in force at a time is the latest one up to it. Half of its round trip is each direction's delay; before the first
// known round trip, the first one is in force. In the first form, a hole of more than three seconds is an outage, and rates,
// being what a device used and not what it could have had, count as at least 1 Mbit/s.
// The drive begins again at its end. Course.Faster replays it at another speed.
func LoadTrace(r io.Reader) (*Course, error) {
	limited := &io.LimitedReader{R: r, N: MaxTraceSize + 1}
	table := csv.NewReader(limited)
	table.ReuseRecord = true
	header, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("trace: reading the line with the names of the columns: %w", err)
	}
	form, columns, err := formOf(header)
	if err != nil {
		return nil, err
	}
	t := &trace{form: form}
	for {
		record, err := table.Read()
		if limited.N <= 0 {
			return nil, fmt.Errorf("trace: more than %d bytes: cut it", MaxTraceSize)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, fmt.Errorf("trace: line %d: %w", syntax.Line, syntax.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("reading trace: %w", err)
		}
		if err := t.add(row{fields: record, columns: columns}); err != nil {
			line, _ := table.FieldPos(0)
			return nil, fmt.Errorf("trace: line %d: %w", line, err)
		}
	}
	return t.course()
}

// traceForm is one of the known sets of columns.
type traceForm struct {
	clock    string        // the column with the time
	unit     time.Duration // of the clock
	required []string
	hole     time.Duration // a longer time between two rows is an outage; 0 when holes mean nothing
	last     time.Duration // how long the last row is in force
}

func traceForms() []traceForm {
	return []traceForm{
		{clock: "t_s", unit: time.Second, required: []string{"dl_mbps", "ul_mbps", "rtt_ms"}, hole: 3 * time.Second, last: time.Second},
		{clock: "pub_unix_ms", unit: time.Millisecond, required: []string{"rtt_ms"}, last: 50 * time.Millisecond},
	}
}

func formOf(header []string) (traceForm, map[string]int, error) {
	columns := map[string]int{}
	for i, name := range header {
		columns[name] = i
	}
	for _, form := range traceForms() {
		missing := slices.ContainsFunc(append([]string{form.clock}, form.required...), func(name string) bool {
			_, ok := columns[name]
			return !ok
		})
		if !missing {
			return form, columns, nil
		}
	}
	return traceForm{}, nil, fmt.Errorf("trace: columns %.200q are none that are known: want t_s,dl_mbps,ul_mbps,rtt_ms or pub_unix_ms,rtt_ms", header)
}

// row is one line with its columns by name.
type row struct {
	fields  []string
	columns map[string]int
}

// text is a field; "" where the column or the value is absent.
func (r row) text(name string) string {
	i, ok := r.columns[name]
	if !ok || i >= len(r.fields) {
		return ""
	}
	return r.fields[i]
}

// number is a field; absent is NaN.
func (r row) number(name string, low, high float64) (float64, error) {
	text := r.text(name)
	if text == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) {
		return 0, fmt.Errorf("%s: %.40q is not a number from %g to %g", name, text, low, high)
	}
	return v, nil
}

// pointer is nil for NaN.
func pointer(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return new(v)
}

// trace is a recording as it is replayed.
type trace struct {
	form    traceForm
	first   float64 // the first row's clock
	times   []time.Duration
	moments []moment
}

// moment is one row.
type moment struct {
	half             time.Duration // of the round trip
	down, up         float64       // bytes per second; 0 for no limit
	rat, cell        string
	rsrp, sinr, mps  float64
	unknownRoundTrip bool
}

func (t *trace) add(r row) error {
	clock, err := r.number(t.form.clock, 0, 1e15)
	if err != nil {
		return err
	}
	if math.IsNaN(clock) {
		return fmt.Errorf("%s: no time", t.form.clock)
	}
	if len(t.times) == 0 {
		t.first = clock
	}
	since := clock - t.first
	if most := maxTraceHours * float64(time.Hour/t.form.unit); since > most {
		return fmt.Errorf("%s: %v is more than %d hours after the first row", t.form.clock, clock, maxTraceHours)
	}
	at := time.Duration(since * float64(t.form.unit))
	if n := len(t.times); n > 0 && at < t.times[n-1] {
		return fmt.Errorf("%s: %v is before the row above: sort the rows by time", t.form.clock, clock)
	}
	m, err := t.moment(r)
	if err != nil {
		return err
	}
	t.times = append(t.times, at)
	t.moments = append(t.moments, m)
	return nil
}

// leastRate is what a row of an idle second counts as, in bytes per second.
const leastRate = 1e6 / 8

func (t *trace) moment(r row) (moment, error) {
	rtt, err1 := r.number("rtt_ms", 0, float64(maxTraceRTT/time.Millisecond))
	down, err2 := r.number("dl_mbps", 0, maxTraceRate)
	up, err3 := r.number("ul_mbps", 0, maxTraceRate)
	rsrp, err4 := r.number("rsrp_dbm", -200, 0)
	sinr, err5 := r.number("sinr_db", -100, 100)
	mps, err6 := r.number("speed_mps", 0, 1000)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return moment{}, err
	}
	m := moment{rat: ratOf(r.text("rat")), cell: r.text("cell_id"), rsrp: rsrp, sinr: sinr, mps: mps}
	if m.cell != "" {
		m.rat = "NR-SA" // the recordings with cells are of stand-alone networks: the identities have 36 bit
	}
	if t.form.hole > 0 {
		m.down, m.up = atLeast(down*1e6/8), atLeast(up*1e6/8)
	}
	switch {
	case !math.IsNaN(rtt):
		m.half = time.Duration(rtt * float64(time.Millisecond) / 2)
	case len(t.moments) > 0:
		m.half, m.unknownRoundTrip = t.moments[len(t.moments)-1].half, t.moments[len(t.moments)-1].unknownRoundTrip
	default:
		m.unknownRoundTrip = true
	}
	return m, nil
}

func atLeast(rate float64) float64 {
	if math.IsNaN(rate) {
		return leastRate
	}
	return max(rate, leastRate)
}

// ratOf writes an access technology as the radio sources do.
func ratOf(text string) string {
	switch text {
	case "5G SA":
		return "NR-SA"
	case "5G NSA":
		return "NR-NSA"
	case "5G":
		return "NR"
	default:
		return text
	}
}

// assumedRTT stands for a recording without any round trip: between the medians of stand-alone and non-stand-alone drives in
// Boston (47.6 and 44.4 ms, CoNEXT 2025).
const assumedRTT = 46 * time.Millisecond

func (t *trace) course() (*Course, error) {
	if len(t.times) == 0 {
		return nil, errors.New("trace: no rows below the names of the columns")
	}
	first := slices.IndexFunc(t.moments, func(m moment) bool { return !m.unknownRoundTrip })
	half := assumedRTT / 2
	if first >= 0 {
		half = t.moments[first].half
	}
	for i := range t.moments {
		if t.moments[i].unknownRoundTrip {
			t.moments[i].half = half
		}
	}
	length := t.times[len(t.times)-1] + t.form.last
	c := &Course{
		Up:     ProfileFunc(func(e time.Duration) State { return t.state(e, length, probes.Up) }),
		Down:   ProfileFunc(func(e time.Duration) State { return t.state(e, length, probes.Down) }),
		Length: length,
	}
	c.RadioAt = func(e time.Duration) *probes.RadioSample { return t.radio(e, length) }
	for i := range len(t.times) - 1 {
		if end := t.times[i+1]; t.form.hole > 0 && end-t.times[i] > t.form.hole {
			c.Outages = append(c.Outages, Interval{t.times[i] + t.form.last, end})
		}
	}
	return c, nil
}

// inForce is the row in force at a time, and for how long it has been.
func (t *trace) inForce(elapsed, length time.Duration) (i int, since time.Duration) {
	at := within(elapsed, length)
	i, found := slices.BinarySearch(t.times, at)
	if found {
		for i+1 < len(t.times) && t.times[i+1] == at {
			i++ // of several rows of one moment, the last
		}
	} else {
		i = max(i-1, 0)
	}
	return i, at - t.times[i]
}

func (t *trace) state(elapsed, length time.Duration, dir probes.Direction) State {
	i, since := t.inForce(elapsed, length)
	m := t.moments[i]
	s := State{Delay: m.half, Rate: m.up}
	if dir == probes.Down {
		s.Rate = m.down
	}
	if s.Rate > 0 {
		s.Queue = bufferOf(s.Rate)
	}
	if t.form.hole > 0 && i+1 < len(t.times) && t.times[i+1]-t.times[i] > t.form.hole && since >= t.form.last {
		s.Down = true
	}
	return s
}

// radio is nil for recordings that know nothing of it.
func (t *trace) radio(elapsed, length time.Duration) *probes.RadioSample {
	i, _ := t.inForce(elapsed, length)
	m := t.moments[i]
	s := &probes.RadioSample{RAT: m.rat, Cell: m.cell, RSRP: pointer(m.rsrp), SINR: pointer(m.sinr), Speed: pointer(m.mps)}
	if *s == (probes.RadioSample{}) {
		return nil
	}
	return s
}
