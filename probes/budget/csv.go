package budget

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Columns say what the columns of a CSV file mean.
type Columns struct {
	// Time is the name of the column with the time of each row: RFC 3339, or a number since 1970 in the unit that the name
	// ends in (_ns, _us, _ms, _s), in seconds otherwise. "" when there is none.
	Time string
	// Values maps histogram names (rtt, owd_up) to columns. A column is in the unit that its name ends in, like rtt_ms, or
	// that follows a colon, like delay:ms. An empty value is a lost packet.
	Values map[string]string
}

// ParseColumns reads the command line's form: a column for the time, and "rtt=rtt_ms" for each value.
func ParseColumns(timeColumn string, values []string) (Columns, error) {
	c := Columns{Time: timeColumn, Values: map[string]string{}}
	for _, v := range values {
		name, column, ok := strings.Cut(v, "=")
		if !ok || name == "" || column == "" {
			return c, fmt.Errorf("%q does not say which column is what: write it like rtt=rtt_ms", v)
		}
		if _, err := columnMetric(name); err != nil {
			return c, err
		}
		if _, twice := c.Values[name]; twice {
			return c, fmt.Errorf("%q is given two columns: keep one", name)
		}
		c.Values[name] = column
	}
	return c, nil
}

// columnMetric resolves the name of a value: a distribution of seconds or a rate.
func columnMetric(name string) (probes.NamedValue, error) {
	var known []string
	for _, m := range probes.Vocabulary() {
		if m.Type != probes.Distribution {
			continue
		}
		for _, d := range probes.Directions() {
			if d != probes.Both && !m.Directed {
				continue
			}
			if m.HistName(d) == name {
				return probes.NamedValue{Metric: m, Direction: d}, nil
			}
			known = append(known, m.HistName(d))
		}
	}
	return probes.NamedValue{}, fmt.Errorf("unknown metric %q%s: a column can be one of %s", name, didYouMean(name, known), strings.Join(known, ", "))
}

// csvReader reads one file.
type csvReader struct {
	name   string
	csv    *csv.Reader
	header []string
	clock  int // column of the time; −1 for none
	unit   time.Duration
	tracks []*csvTrack
}

type csvTrack struct {
	name   string
	column int
	factor float64
	track  Track
}

func readCSV(name string, text []byte, columns Columns) (*Input, error) {
	r := &csvReader{name: name, csv: csv.NewReader(bytes.NewReader(text)), clock: -1}
	r.csv.ReuseRecord = true
	r.csv.TrimLeadingSpace = true
	if first, _, _ := bytes.Cut(text, []byte("\n")); !bytes.ContainsRune(first, ',') {
		for _, separator := range []rune{';', '\t'} {
			if bytes.ContainsRune(first, separator) {
				r.csv.Comma = separator
			}
		}
	}
	header, err := r.csv.Read()
	if err != nil {
		return nil, r.problem(err)
	}
	r.header = slices.Clone(header)
	for i := range r.header {
		r.header[i] = strings.TrimSpace(r.header[i])
	}
	if err := r.columns(columns); err != nil {
		return nil, err
	}
	if err := r.rows(); err != nil {
		return nil, err
	}
	return r.input(), nil
}

func (r *csvReader) fail(format string, args ...any) error {
	line, _ := r.csv.FieldPos(0)
	return &InputError{File: r.name, Line: line, Text: fmt.Sprintf(format, args...)}
}

func (r *csvReader) problem(err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return &InputError{File: r.name, Line: parse.Line, Text: "not CSV: " + parse.Err.Error()}
	}
	return &InputError{File: r.name, Text: "not CSV: " + err.Error()}
}

func (r *csvReader) find(column string) (int, error) {
	i := slices.Index(r.header, column)
	if i < 0 {
		return 0, &InputError{File: r.name, Line: 1, Text: fmt.Sprintf("no column %q%s: the header has %s", column, didYouMean(column, r.header), shorten(strings.Join(r.header, ", ")))}
	}
	return i, nil
}

// columns finds the columns that are wanted. Without any wish, columns that have the names of our own values are taken.
func (r *csvReader) columns(c Columns) (err error) {
	if c.Time != "" {
		if r.clock, err = r.find(c.Time); err != nil {
			return err
		}
		r.unit = timeUnit(c.Time)
	}
	if len(c.Values) == 0 {
		return &InputError{File: r.name, Line: 1, Text: "looks like CSV, and nothing says which column is what: add --value rtt=COLUMN (and --time COLUMN); the header has " + shorten(strings.Join(r.header, ", "))}
	}
	for _, d := range probes.Directions() {
		for _, m := range probes.Vocabulary() {
			column, ok := c.Values[m.HistName(d)]
			if !ok || d != probes.Both && !m.Directed {
				continue
			}
			column, unitName, named := strings.Cut(column, ":")
			at, err := r.find(column)
			if err != nil {
				return err
			}
			if !named {
				unitName = column[strings.LastIndexByte(column, '_')+1:]
			}
			factor, ok := map[string]float64{"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "seconds": 1}[unitName]
			if !ok {
				return &InputError{File: r.name, Line: 1, Text: fmt.Sprintf("the unit of column %q is unknown: write it behind a colon, like %s=%s:ms", column, m.HistName(d), column)}
			}
			r.tracks = append(r.tracks, &csvTrack{name: m.HistName(d), column: at, factor: factor, track: Track{HasLost: true}})
		}
	}
	return nil
}

func timeUnit(column string) time.Duration {
	for suffix, unit := range map[string]time.Duration{"_ns": time.Nanosecond, "_us": time.Microsecond, "_ms": time.Millisecond} {
		if strings.HasSuffix(column, suffix) {
			return unit
		}
	}
	return time.Second
}

func (r *csvReader) rows() error {
	for {
		row, err := r.csv.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.problem(err)
		}
		var at time.Time
		if r.clock >= 0 {
			if at, err = r.time(row[r.clock]); err != nil {
				return err
			}
		}
		for _, t := range r.tracks {
			v, err := r.value(t, row[t.column])
			if err != nil {
				return err
			}
			t.track.Values = append(t.track.Values, v)
			if r.clock >= 0 {
				t.track.At = append(t.track.At, at)
			}
		}
	}
}

func (r *csvReader) value(t *csvTrack, text string) (float64, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return math.Inf(1), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, r.fail("%s: %s is not a number; leave it empty for a packet that was lost", r.header[t.column], shorten(text))
	case v < 0 && t.name == probes.RTT.Stem:
		return 0, r.fail("%s: %s is below zero, which no round trip is", r.header[t.column], shorten(text))
	}
	return v * t.factor, nil
}

// The years that a time may be in: a number outside of them was in another unit.
const firstYear, lastYear = 1990, 2200

func (r *csvReader) time(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		whole, wholeErr := strconv.ParseInt(text, 10, 64)
		v, numberErr := strconv.ParseFloat(text, 64)
		switch ns := v * float64(r.unit); {
		case numberErr != nil:
			return at, r.fail("%s: %s is not a time: want RFC 3339, or a number since 1970 with the unit at the end of the column's name (unix_ms)", r.header[r.clock], shorten(text))
		case !(math.Abs(ns) < math.MaxInt64): // also for NaN
			at = time.Time{}
		case wholeErr == nil:
			at = time.Unix(0, whole*int64(r.unit))
		default:
			at = time.Unix(0, int64(ns))
		}
	}
	if y := at.UTC().Year(); y < firstYear || y > lastYear {
		return at, r.fail("%s: %s in units of %v is not between the years %d and %d: name the column with its unit at the end, like unix_ms", r.header[r.clock], shorten(text), r.unit, firstYear, lastYear)
	}
	return at.UTC(), nil
}

// input makes one piece of all rows.
func (r *csvReader) input() *Input {
	result := &probes.Result{Outcome: probes.OK, Values: map[string]float64{}}
	p := Piece{Result: result, Tracks: map[string]*Track{}}
	for _, t := range r.tracks {
		if len(t.track.Values) == 0 {
			return &Input{}
		}
		t.track.sort()
		p.Tracks[t.name] = &t.track
		if at := t.track.At; at != nil {
			result.Start, result.Elapsed = at[0], at[len(at)-1].Sub(at[0])
		}
	}
	return &Input{Pieces: []Piece{p}}
}

// sort puts the values in the order of their times.
func (t *Track) sort() {
	if t.At == nil || slices.IsSortedFunc(t.At, time.Time.Compare) {
		return
	}
	order := make([]int, len(t.At))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.At[a].Compare(t.At[b]) })
	values, at := make([]float64, len(order)), make([]time.Time, len(order))
	for i, k := range order {
		values[i], at[i] = t.Values[k], t.At[k]
	}
	t.Values, t.At = values, at
}
