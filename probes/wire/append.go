package wire

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nrprobe/nrprobe/probes"
)

// Append appends r's lines to dst, each ended by a newline, and returns the extended buffer. No line has a newline
// inside. Tags and fields are sorted, so equal Results give equal bytes. It does not change r.
func Append(dst []byte, r *probes.Result) []byte {
	w := writer{result: r, tags: make([]Tag, 0, 4+len(r.Labels)+1)}
	w.enc.SetBuffer(dst)
	w.collectTags()
	w.main()
	if r.Radio != nil {
		w.radio(r.Radio.Before, phaseBefore)
		w.radio(r.Radio.After, phaseAfter)
	}
	for i, e := range r.Events {
		w.event(e, r.Events[:i])
	}
	return w.enc.Bytes()
}

// writer writes the lines of one Result.
type writer struct {
	enc    lineprotocol.Encoder
	result *probes.Result
	tags   []Tag
	names  []string // scratch
}

func (w *writer) collectTags() {
	r := w.result
	w.tag(tagAgent, r.ID.Agent)
	w.tag(tagKind, r.Kind)
	w.tag(tagProbe, r.Probe)
	w.tag(tagTarget, r.Target)
	for name, value := range r.Labels {
		if Reserved(name) || strings.HasPrefix(name, labelPrefix) {
			name = labelPrefix + name
		}
		w.tag(name, value)
	}
	slices.SortFunc(w.tags, func(a, b Tag) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	// Two labels may have become one by cleaning.
	w.tags = slices.CompactFunc(w.tags, func(a, b Tag) bool { return a.Key == b.Key })
}

func (w *writer) tag(key, value string) {
	key, value = clean(key), clean(value)
	if key != "" && value != "" {
		w.tags = append(w.tags, Tag{key, value})
	}
}

// start begins a line. nth tells apart points that would have the same series and time; 0 for none.
func (w *writer) start(measurement string, nth int) {
	w.enc.StartLine(measurement)
	for i, t := range w.tags {
		if nth > 0 && t.Key > tagNth && (i == 0 || w.tags[i-1].Key < tagNth) {
			w.nth(nth)
		}
		w.enc.AddTag(t.Key, t.Value)
	}
	if n := len(w.tags); nth > 0 && (n == 0 || w.tags[n-1].Key < tagNth) {
		w.nth(nth)
	}
	w.text(fieldBoot, w.result.ID.Boot)
	w.integer(fieldSeq, int64(min(w.result.ID.Seq, math.MaxInt64)))
}

func (w *writer) nth(n int) { w.enc.AddTag(tagNth, strconv.Itoa(n)) }

// end writes the time; one that line protocol cannot hold is replaced by the start of the Result, or 1970.
func (w *writer) end(t time.Time) {
	for _, t := range []time.Time{t, w.result.Start} {
		if !t.IsZero() && !t.Before(time.Unix(0, math.MinInt64)) && !t.After(time.Unix(0, math.MaxInt64)) {
			w.enc.EndLine(t)
			return
		}
	}
	w.enc.EndLine(time.Unix(0, 0))
}

func (w *writer) main() {
	r := w.result
	w.start(Measurement, 0)
	w.text(fieldOutcome, string(r.Outcome))
	if r.Error != "" {
		w.text(fieldError, r.Error)
	}
	w.float(fieldElapsed, r.Elapsed.Seconds())
	w.text(fieldQuality, r.Quality.String()) // even when empty: InfluxQL's !~ skips points that lack the field
	w.values()
	w.sorted(len(r.Hists), func(yield func(string)) {
		for name := range r.Hists {
			yield(name)
		}
	}, func(name string) { w.text(name+histSuffix, r.Hists[name].Text()) })
	w.sorted(len(r.Info), func(yield func(string)) {
		for name := range r.Info {
			yield(name)
		}
	}, func(name string) { w.text(infoPrefix+name, r.Info[name]) })
	w.end(r.Start)
}

// values writes the values and, among them, what the modem said after the measurement.
func (w *writer) values() {
	r := w.result
	var after probes.RadioSample
	if r.Radio != nil && r.Radio.After != nil {
		after = *r.Radio.After
	}
	w.sorted(len(r.Values)+4, func(yield func(string)) {
		for name := range r.Values {
			if !Reserved(name) && *joined(&after, name) == nil {
				yield(name)
			}
		}
		for _, name := range joinedNames() {
			if *joined(&after, name) != nil {
				yield(name)
			}
		}
	}, func(name string) {
		if v := *joined(&after, name); v != nil {
			w.float(name, *v)
			return
		}
		w.float(name, r.Values[name])
	})
}

// joinedNames are the words that a sample taken after the measurement shares with the nrprobe line.
func joinedNames() [4]string {
	return [4]string{"radio_rsrp_dbm", "radio_rsrq_db", "radio_sinr_db", "speed_metres_per_second"}
}

// joined is the place in a sample of one of joinedNames; a place that holds nil for any other name.
func joined(s *probes.RadioSample, name string) **float64 {
	switch name {
	case "radio_rsrp_dbm":
		return &s.RSRP
	case "radio_rsrq_db":
		return &s.RSRQ
	case "radio_sinr_db":
		return &s.SINR
	case "speed_metres_per_second":
		return &s.Speed
	default:
		return new(*float64)
	}
}

// sorted calls write for each name that list yields, in order.
func (w *writer) sorted(size int, list func(yield func(string)), write func(name string)) {
	if cap(w.names) < size {
		w.names = make([]string, 0, size)
	}
	w.names = w.names[:0]
	list(func(name string) { w.names = append(w.names, name) })
	slices.Sort(w.names)
	for _, name := range w.names {
		write(name)
	}
}

func (w *writer) radio(s *probes.RadioSample, phase string) {
	if s == nil {
		return
	}
	w.start(RadioMeasurement, 0)
	w.text(fieldPhase, phase)
	for _, f := range radioTexts(s) {
		if *f.place != "" {
			w.text(f.name, *f.place)
		}
	}
	for _, f := range radioInts(s) {
		if *f.place != nil {
			w.integer(f.name, int64(**f.place))
		}
	}
	for _, f := range radioFloats(s) {
		if *f.place != nil {
			w.float(f.name, **f.place)
		}
	}
	w.end(s.Time)
}

// place is where the field of a sample is kept.
type place[T any] struct {
	name  string
	place *T
}

func radioTexts(s *probes.RadioSample) [4]place[string] {
	return [...]place[string]{{"rat", &s.RAT}, {"plmn", &s.PLMN}, {"cell", &s.Cell}, {"band", &s.Band}}
}

func radioInts(s *probes.RadioSample) [2]place[*int] {
	return [...]place[*int]{{"pci", &s.PCI}, {"arfcn", &s.ARFCN}}
}

func radioFloats(s *probes.RadioSample) [6]place[*float64] {
	return [...]place[*float64]{
		{"rsrp_dbm", &s.RSRP},
		{"rsrq_db", &s.RSRQ},
		{"sinr_db", &s.SINR},
		{"latitude_degrees", &s.Latitude},
		{"longitude_degrees", &s.Longitude},
		{"speed_metres_per_second", &s.Speed},
	}
}

// event writes one event. InfluxDB keeps one point a series and time, so the second and further events of one moment
// get a tag that counts them.
func (w *writer) event(e probes.Event, before []probes.Event) {
	nth := 0
	for _, other := range before {
		if other.Time.Equal(e.Time) {
			nth = max(nth, 1) + 1
		}
	}
	w.start(EventMeasurement, nth)
	w.text(fieldType, string(e.Type))
	w.float(fieldDuration, e.Duration.Seconds())
	if e.Detail != "" {
		w.text(fieldDetail, e.Detail)
	}
	if s := e.Spike; s != nil {
		w.float(fieldBefore, s.Before.Seconds())
		w.float(fieldPeak, s.Peak.Seconds())
		if s.Settled >= 0 {
			w.float(fieldSettled, s.Settled.Seconds())
		}
	}
	w.end(e.Time)
}

func (w *writer) text(key, value string) {
	v, ok := lineprotocol.StringValue(value)
	if !ok {
		v, _ = lineprotocol.StringValue(strings.ToValidUTF8(value, "\uFFFD"))
	}
	w.field(key, v)
}

func (w *writer) integer(key string, value int64) { w.field(key, lineprotocol.IntValue(value)) }

func (w *writer) float(key string, value float64) {
	if v, ok := lineprotocol.FloatValue(value); ok {
		w.field(key, v)
	}
}

func (w *writer) field(key string, v lineprotocol.Value) {
	if key = clean(key); key != "" {
		w.enc.AddField(key, v)
	}
}

// clean makes text fit for tags and keys, which the encoder would otherwise refuse together with their whole line.
// It returns clean text as it is.
func clean(text string) string {
	dirty := func(c rune) bool { return c < ' ' || c == 0x7f }
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if strings.ContainsFunc(text, dirty) {
		text = strings.Map(func(c rune) rune {
			if dirty(c) {
				return ' '
			}
			return c
		}, text)
	}
	if strings.HasSuffix(text, `\`) {
		text = text[:len(text)-1] + "/"
	}
	return text
}
