package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// lines cuts a body into lines. A newline inside a quoted field value does not end a line, as other programs write them;
// a quote that is never closed must not swallow the good lines behind it, so a line that turns out bad is cut again at
// its first newline.
type lines struct {
	body       []byte
	limit      int
	begin, end int // the line that next returned last, its end behind the newline
	number     int // of that line, 1-based
	skipped    int // newlines inside it
}

// next returns the next line without its end; whole is false when it is too long and was cut off at the limit.
func (l *lines) next() (line []byte, whole, ok bool) {
	if l.end >= len(l.body) {
		return nil, false, false
	}
	l.number += 1 + l.skipped
	l.begin, l.skipped = l.end, 0
	rest := l.body[l.begin:]
	length := firstLine(rest)
	if length <= l.limit && bytes.IndexByte(rest[:length], '"') >= 0 {
		if quoted := quotedLine(rest, l.limit); quoted > length {
			l.skipped = bytes.Count(rest[:quoted], []byte{'\n'})
			length = quoted
		}
	}
	l.end = l.begin + length + 1
	if length > l.limit {
		return rest[:l.limit], false, true
	}
	return trimCR(rest[:length]), true, true
}

// recut ends the line that next returned last at its first newline. ok is false when it has none.
func (l *lines) recut() (first []byte, ok bool) {
	if l.skipped == 0 {
		return nil, false
	}
	rest := l.body[l.begin:]
	length := firstLine(rest)
	l.end, l.skipped = l.begin+length+1, 0
	return trimCR(rest[:length]), true
}

func trimCR(line []byte) []byte { return bytes.TrimSuffix(line, []byte{'\r'}) }

// firstLine is the number of bytes before the first newline.
func firstLine(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i
	}
	return len(text)
}

// quotedLine is the number of bytes before the first newline outside of quotes, -1 when there are more than limit.
// A quote opens a string right behind the = of a field; a backslash takes the next byte's meaning away.
func quotedLine(text []byte, limit int) int {
	inFields, inString := false, false
	for i := 0; i < len(text) && i <= limit; i++ {
		switch c := text[i]; {
		case inString && c == '\\', c == '\\' && i+1 < len(text) && bytes.IndexByte([]byte(" ,="), text[i+1]) >= 0:
			i++
		case inString:
			inString = c != '"'
		case c == '\n':
			return i
		case c == ' ':
			inFields = true
		case c == '"' && inFields && text[i-1] == '=':
			inString = true
		}
	}
	if inString || len(text) > limit {
		return -1
	}
	return len(text)
}

// parsed is one line, taken apart. Its slices are used again for the next line.
type parsed struct {
	measurement string
	tags        []Tag
	fields      []field
	time        time.Time
}

// field is one field; text is set when the value is a string.
type field struct {
	name  string
	value lineprotocol.Value
	text  string
}

// number is the value as a float64, if it is a number.
func (f *field) number() (float64, bool) {
	switch f.value.Kind() {
	case lineprotocol.Float:
		return f.value.FloatV(), true
	case lineprotocol.Int:
		return float64(f.value.IntV()), true
	case lineprotocol.Uint:
		return float64(f.value.UintV()), true
	default:
		return 0, false
	}
}

func (f *field) isText() bool { return f.value.Kind() == lineprotocol.String }

// any is the value as a Point holds it.
func (f *field) any() any {
	if f.isText() {
		return f.text
	}
	return f.value.Interface()
}

// parser takes lines apart.
type parser struct {
	precision Precision
	now       time.Time
	names     map[string]string // one copy of each measurement and key in the body
}

func (p *parser) name(b []byte) string {
	if s, ok := p.names[string(b)]; ok {
		return s
	}
	s := string(b)
	p.names[s] = s
	return s
}

// parse takes a line apart. ok is false for comments and empty lines.
func (p *parser) parse(line []byte, into *parsed) (ok bool, err error) {
	d := lineprotocol.NewDecoderWithBytes(line)
	if !d.Next() {
		return false, nil
	}
	measurement, err := d.Measurement()
	if err != nil {
		return false, plain(err)
	}
	into.measurement = p.name(measurement)
	into.tags, into.fields = into.tags[:0], into.fields[:0]
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return false, plain(err)
		}
		if key == nil {
			break
		}
		into.tags = append(into.tags, Tag{p.name(key), string(value)})
	}
	for {
		key, value, err := d.NextField()
		if err != nil {
			return false, plain(err)
		}
		if key == nil {
			break
		}
		f := field{name: p.name(key), value: value}
		if f.isText() {
			f.text = string(value.BytesV())
			f.value, _ = lineprotocol.StringValue("") // the bytes are the decoder's
		}
		into.fields = append(into.fields, f)
	}
	stamp, err := d.TimeBytes()
	if err != nil {
		return false, plain(err)
	}
	into.time, err = p.time(stamp)
	if err == nil && d.Next() {
		err = errors.New("text follows a carriage return inside the line")
	}
	return err == nil, err
}

// time reads a time stamp.
func (p *parser) time(stamp []byte) (time.Time, error) {
	if len(stamp) == 0 {
		return p.now, nil
	}
	n, err := strconv.ParseInt(string(stamp), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("time stamp %q is not a whole number within 64 bits", shorten(string(stamp)))
	}
	if limit := math.MaxInt64 / int64(p.precision); n > limit || n < -limit {
		return time.Time{}, fmt.Errorf("time stamp %d is outside of the years 1677 to 2262: is the precision right?", n)
	}
	return time.Unix(0, n*int64(p.precision)), nil
}

// plain says what is wrong with a line in one short sentence. The line number inside the decoder's error is of no use
// here, since it is given one line at a time.
func plain(err error) error {
	if e, ok := errors.AsType[*lineprotocol.DecodeError](err); ok {
		return fmt.Errorf("column %d: %s", e.Column, shorten(e.Err.Error()))
	}
	return errors.New(shorten(err.Error()))
}

// maxProblemText is the length of a problem's text in bytes; decoder errors quote what they read, at any length.
const maxProblemText = 200

func shorten(text string) string {
	if len(text) <= maxProblemText {
		return text
	}
	return strings.ToValidUTF8(text[:maxProblemText], "") + "…"
}
