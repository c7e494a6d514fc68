// Package wire turns Results into InfluxDB line protocol and back.
package wire

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// The measurements that nrprobe writes.
const (
	Measurement      = "nrprobe"
	RadioMeasurement = "nrprobe_radio"
	EventMeasurement = "nrprobe_event"
)

// Options says how a body is to be read. The zero value reads nanoseconds within the default limits.
type Options struct {
	// Precision is the unit of the time stamps; 0 is Nanosecond.
	Precision Precision
	// Now is the time of lines without a time stamp; the zero Time stands for the moment of the call.
	Now time.Time
	// MaxLine is the longest line in bytes that is read; 0 is DefaultMaxLine.
	MaxLine int
	// MaxLines is how many lines are read; 0 is DefaultMaxLines.
	MaxLines int
}

// The limits of Options that are 0.
const (
	DefaultMaxLine  = 1 << 20
	DefaultMaxLines = 1_000_000
)

// Precision is the unit of time stamps in a body.
type Precision time.Duration

// Precisions that InfluxDB knows.
const (
	Nanosecond  = Precision(time.Nanosecond)
	Microsecond = Precision(time.Microsecond)
	Millisecond = Precision(time.Millisecond)
	Second      = Precision(time.Second)
)

// Batch is what a body held, in the order of its lines.
type Batch struct {
	Results  []*probes.Result
	Foreign  []Point
	Problems []Problem
	// Duplicates is how many Results came more than once in the body; the first was kept.
	Duplicates int
}

// Point is a line that belongs to no Result: another program's measurement.
type Point struct {
	Measurement string
	Tags        []Tag
	Fields      []Field
	Time        time.Time
}

// Tag is one tag of a Point.
type Tag struct{ Key, Value string }

// Field is one field of a Point. Value is a float64, int64, uint64, bool or string.
type Field struct {
	Key   string
	Value any
}

// Problem is a line that could not be read.
type Problem struct {
	Line int // 1-based
	Text string
}

// String writes the problem as "line 3: ...".
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// ParsePrecision reads the query parameter "precision" as InfluxDB 1 and 2 write it. "" is Nanosecond.
func ParsePrecision(text string) (Precision, error) { return Nanosecond, nil }

// Append appends r's lines to dst.
func Append(dst []byte, r *probes.Result) []byte { return dst }

// Decode reads a body.
func Decode(body []byte, o Options) Batch { return Batch{} }

// Reserved says whether a name is nrprobe's own, so that no user's label may have it.
func Reserved(name string) bool { return false }
