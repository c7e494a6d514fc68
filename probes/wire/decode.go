package wire

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nrprobe/nrprobe/probes"
)

// Decode reads a body of line protocol and puts the Results in it together again. It is tolerant: a bad line is a
// Problem and spoils no other; values with names it does not know are kept, so that an old collector serves a new agent;
// lines of a Result may come in any order. It never fails and never panics, whatever the body is, and keeps nothing of
// body.
func Decode(body []byte, o Options) Batch {
	d := decoder{
		lines:   lines{body: body, limit: cmpOr(o.MaxLine, DefaultMaxLine)},
		parser:  parser{precision: cmpOr(o.Precision, Nanosecond), now: o.Now, names: map[string]string{}},
		results: map[probes.ID]*probes.Result{},
	}
	if d.parser.now.IsZero() {
		d.parser.now = time.Now().Round(0)
	}
	maxLines := cmpOr(o.MaxLines, DefaultMaxLines)
	for {
		line, whole, ok := d.lines.next()
		if !ok {
			break
		}
		if d.lines.number > maxLines {
			d.problem("more than %d lines: send fewer at once", maxLines)
			break
		}
		if !whole {
			d.problem("longer than %d bytes; it begins %q", d.lines.limit, shorten(string(line[:min(len(line), 40)])))
			continue
		}
		d.line(line)
	}
	d.attachOrphans()
	return d.batch
}

func cmpOr[T ~int | ~int64](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// decoder puts Results together.
type decoder struct {
	lines   lines
	parser  parser
	current parsed // the line at hand
	batch   Batch
	results map[probes.ID]*probes.Result
	// repeated is the Result of which a second copy is being read; its radio and event lines are dropped with it.
	repeated probes.ID
	orphans  []orphan
}

// orphan is a radio or event line that came before its Result, or without.
type orphan struct {
	id     probes.ID
	parsed parsed
}

func (d *decoder) problem(format string, args ...any) {
	d.batch.Bad++
	if len(d.batch.Problems) < MaxProblems {
		d.batch.Problems = append(d.batch.Problems, Problem{Line: d.lines.number, Text: fmt.Sprintf(format, args...)})
	}
}

func (d *decoder) line(line []byte) {
	ok, err := d.parser.parse(line, &d.current)
	if err != nil {
		if first, cut := d.lines.recut(); cut {
			ok, err = d.parser.parse(first, &d.current)
		}
	}
	switch {
	case err != nil:
		d.problem("%v", err)
	case ok:
		d.place(&d.current)
	}
}

// place says where a line belongs.
func (d *decoder) place(p *parsed) {
	id, ok := identity(p)
	switch {
	case ok && p.measurement == Measurement:
		d.result(id, p)
	case ok && (p.measurement == RadioMeasurement || p.measurement == EventMeasurement):
		switch r := d.results[id]; {
		case r == nil:
			d.orphans = append(d.orphans, orphan{id, parsed{p.measurement, slices.Clone(p.tags), slices.Clone(p.fields), p.time}})
		case id != d.repeated:
			d.attach(r, p)
		}
	default:
		d.foreign(p)
	}
}

// identity is what the line says of the Result that it belongs to.
func identity(p *parsed) (id probes.ID, ok bool) {
	for _, t := range p.tags {
		if t.Key == tagAgent {
			id.Agent = t.Value
		}
	}
	hasBoot := false
	for i := range p.fields {
		switch f := &p.fields[i]; f.name {
		case fieldBoot:
			id.Boot, hasBoot = f.text, f.isText()
		case fieldSeq:
			switch f.value.Kind() {
			case lineprotocol.Int:
				id.Seq = uint64(max(f.value.IntV(), 0))
			case lineprotocol.Uint:
				id.Seq = min(f.value.UintV(), math.MaxInt64)
			default: // a sequence number of another type is none
			}
		}
	}
	return id, hasBoot && id.Seq > 0
}

func (d *decoder) foreign(p *parsed) {
	point := Point{Measurement: p.measurement, Tags: append([]Tag(nil), p.tags...), Time: p.time, Fields: make([]Field, len(p.fields))}
	for i := range p.fields {
		point.Fields[i] = Field{Key: p.fields[i].name, Value: p.fields[i].any()}
	}
	d.batch.Foreign = append(d.batch.Foreign, point)
}

// attachOrphans gives the lines that came before their Result to it.
func (d *decoder) attachOrphans() {
	for i := range d.orphans {
		o := &d.orphans[i]
		if r := d.results[o.id]; r != nil {
			d.attach(r, &o.parsed)
		} else {
			d.foreign(&o.parsed)
		}
	}
	for _, r := range d.batch.Results {
		if r.Radio == nil || r.Radio.After == nil {
			continue
		}
		for _, name := range joinedNames() {
			if *joined(r.Radio.After, name) != nil {
				delete(r.Values, name)
			}
		}
	}
}

func (d *decoder) result(id probes.ID, p *parsed) {
	if d.results[id] != nil {
		d.repeated = id
		d.batch.Duplicates++
		return
	}
	d.repeated = probes.ID{}
	r := &probes.Result{ID: id, Agent: id.Agent, Start: p.time, Values: map[string]float64{}, Hists: map[string]*probes.Hist{}}
	for _, t := range p.tags {
		setTag(r, t)
	}
	for i := range p.fields {
		d.setField(r, &p.fields[i])
	}
	d.results[id] = r
	d.batch.Results = append(d.batch.Results, r)
}

func setTag(r *probes.Result, t Tag) {
	switch t.Key {
	case tagAgent:
	case tagKind:
		r.Kind = t.Value
	case tagProbe:
		r.Probe = t.Value
	case tagTarget:
		r.Target = t.Value
	default:
		name := t.Key
		if cut := strings.TrimPrefix(name, labelPrefix); cut != "" {
			name = cut
		}
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[name] = t.Value
	}
}

func (d *decoder) setField(r *probes.Result, f *field) {
	if v, ok := f.number(); ok {
		switch {
		case f.name == fieldElapsed:
			r.Elapsed = d.duration(f.name, v)
		case !Reserved(f.name):
			r.Values[f.name] = v
		}
		return
	}
	if !f.isText() {
		return // nrprobe writes no booleans; a newer one that does means something we do not know
	}
	switch f.name {
	case fieldBoot:
	case fieldOutcome:
		r.Outcome = probes.Outcome(f.text)
	case fieldError:
		r.Error = f.text
	case fieldQuality:
		r.Quality = quality(f.text)
	default:
		if key, ok := strings.CutPrefix(f.name, infoPrefix); ok {
			if r.Info == nil {
				r.Info = map[string]string{}
			}
			r.Info[key] = f.text
		} else if name, ok := strings.CutSuffix(f.name, histSuffix); ok {
			h, err := probes.ParseHist(f.text)
			if err != nil {
				d.problem("field %q is left out: %s", f.name, shorten(err.Error()))
				return
			}
			r.Hists[name] = h
		}
	}
}

// quality reads the flags that this version knows.
func quality(text string) (q probes.Quality) {
	for word := range strings.SplitSeq(text, ",") {
		if flag, err := probes.ParseQuality(word); err == nil {
			q |= flag
		}
	}
	return q
}

// duration turns seconds into a Duration.
func (d *decoder) duration(name string, seconds float64) time.Duration {
	const most = math.MaxInt64 / 1e9
	if math.Abs(seconds) >= most {
		d.problem("field %q is left out: %g s is no duration", name, seconds)
		return 0
	}
	return time.Duration(math.Round(seconds * 1e9))
}

// attach adds a radio or event line to its Result.
func (d *decoder) attach(r *probes.Result, p *parsed) {
	if p.measurement == EventMeasurement {
		r.Events = append(r.Events, d.event(p))
		return
	}
	if r.Radio == nil {
		r.Radio = &probes.Radio{}
	}
	s, phase := radioSample(p)
	if phase == phaseBefore {
		r.Radio.Before = s
	} else {
		r.Radio.After = s
	}
}

func (d *decoder) event(p *parsed) probes.Event {
	e := probes.Event{Time: p.time}
	spike, hasBefore, hasPeak := probes.Spike{Settled: -1}, false, false
	for i := range p.fields {
		f := &p.fields[i]
		switch f.name {
		case fieldType:
			e.Type = probes.EventType(f.text)
		case fieldDetail:
			e.Detail = f.text
		case fieldDuration:
			if v, ok := f.number(); ok {
				e.Duration = d.duration(f.name, v)
			}
		case fieldBefore, fieldPeak, fieldSettled:
			v, ok := f.number()
			if !ok {
				continue
			}
			at := d.duration(f.name, v)
			switch f.name {
			case fieldBefore:
				spike.Before, hasBefore = at, true
			case fieldPeak:
				spike.Peak, hasPeak = at, true
			default:
				spike.Settled = max(at, -1)
			}
		}
	}
	if hasBefore && hasPeak {
		e.Spike = &spike
	}
	return e
}

func radioSample(p *parsed) (s *probes.RadioSample, phase string) {
	s = &probes.RadioSample{Time: p.time}
	for i := range p.fields {
		f := &p.fields[i]
		if f.name == fieldPhase {
			phase = f.text
		}
		for _, to := range radioTexts(s) {
			if to.name == f.name {
				*to.place = f.text
			}
		}
		v, ok := f.number()
		if !ok {
			continue
		}
		for _, to := range radioInts(s) {
			if to.name == f.name && math.Abs(v) <= math.MaxInt32 {
				*to.place = new(int(v))
			}
		}
		for _, to := range radioFloats(s) {
			if to.name == f.name {
				*to.place = new(v)
			}
		}
	}
	return s, phase
}
