// Package wire turns Results into InfluxDB line protocol and back, so that agents speak to any store that takes the
// InfluxDB write API, and other programs that do can write to our collector.
//
// A Result is a run of lines that stand together, the first of which is complete in itself:
//
//	nrprobe        one line, time stamp Start: boot, seq, outcome, error, elapsed_seconds, quality, every value under its
//	               name, every histogram as <name>_hist (probes.Hist.Text), every info entry as info_<key>
//	nrprobe_radio  up to two lines at the time of the reading, phase "before" or "after"
//	nrprobe_event  one line an event, at its time
//
// All carry the tags agent, kind, probe, target and the user's labels, and the fields boot and seq, which with the agent
// are the Result's identity. What the modem said after the measurement stands in the nrprobe line too, as
// radio_rsrp_dbm, radio_rsrq_db, radio_sinr_db and speed_metres_per_second, because InfluxQL cannot join measurements.
// In a Result these four words have one home, the sample after the measurement, where it says them: Append writes no
// value of the same name then, and Decode makes none.
//
// Decode(Append(r)) equals r, but for what line protocol cannot hold: labels with empty values are left out; control
// characters in tags become spaces, invalid UTF-8 U+FFFD, a backslash at the end of a tag a slash; values that are NaN or
// infinite are left out; times outside of 1677 to 2262 become the start of the Result. Durations are exact to the
// nanosecond up to 26 days. Result.Agent is written as ID.Agent. No line has a newline inside: those in texts are written as
// \n, which Decode turns back and InfluxDB keeps as these two characters.
package wire

import (
	"fmt"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// The measurements that nrprobe writes.
const (
	Measurement      = "nrprobe"
	RadioMeasurement = "nrprobe_radio"
	EventMeasurement = "nrprobe_event"
)

// Names of tags and fields.
const (
	tagAgent  = "agent"
	tagKind   = "kind"
	tagProbe  = "probe"
	tagTarget = "target"
	tagNth    = "nth"

	fieldBoot     = "boot"
	fieldSeq      = "seq"
	fieldOutcome  = "outcome"
	fieldError    = "error"
	fieldElapsed  = "elapsed_seconds"
	fieldQuality  = "quality"
	fieldPhase    = "phase"
	fieldType     = "type"
	fieldDuration = "duration_seconds"
	fieldDetail   = "detail"
	fieldBefore   = "rtt_before_seconds"
	fieldPeak     = "rtt_peak_seconds"
	fieldSettled  = "settled_seconds"

	histSuffix  = "_hist"
	infoPrefix  = "info_"
	labelPrefix = "label_"
	phaseBefore = "before"
	phaseAfter  = "after"
)

// Reserved says whether a name is nrprobe's own or InfluxDB's, so that no label should have it. Append writes such a
// label as label_<name>, and Decode reads it back.
func Reserved(name string) bool {
	switch name {
	case tagAgent, tagKind, tagProbe, tagTarget, tagNth, "time",
		fieldBoot, fieldSeq, fieldOutcome, fieldError, fieldElapsed, fieldQuality,
		fieldPhase, fieldType, fieldDuration, fieldDetail, fieldBefore, fieldPeak, fieldSettled:
		return true
	default:
		return strings.HasPrefix(name, "_")
	}
}

// Options says how a body is to be read. The zero value reads nanoseconds within the default limits.
type Options struct {
	// Precision is the unit of the time stamps; 0 is Nanosecond.
	Precision Precision
	// Now is the time of lines without a time stamp; the zero Time stands for the moment of the call.
	Now time.Time
	// MaxLine is the longest line in bytes that is read; 0 is DefaultMaxLine. A longer one is one Problem.
	MaxLine int
	// MaxLines is how many lines are read; 0 is DefaultMaxLines. What follows them is one Problem.
	MaxLines int
}

// The limits of Options that are 0, and the number of Problems after which bad lines are only counted.
const (
	DefaultMaxLine  = 1 << 20
	DefaultMaxLines = 1_000_000
	MaxProblems     = 1000
)

// Precision is the unit of time stamps in a body, as a length of time.
type Precision time.Duration

// The precisions of the InfluxDB 2 write API. InfluxDB 1 has minutes and hours besides.
const (
	Nanosecond  = Precision(time.Nanosecond)
	Microsecond = Precision(time.Microsecond)
	Millisecond = Precision(time.Millisecond)
	Second      = Precision(time.Second)
)

// ParsePrecision reads the query parameter "precision" as InfluxDB 1 and 2 write it. "" is Nanosecond.
func ParsePrecision(text string) (Precision, error) {
	switch text {
	case "", "ns", "n":
		return Nanosecond, nil
	case "us", "u", "µ":
		return Microsecond, nil
	case "ms":
		return Millisecond, nil
	case "s":
		return Second, nil
	case "m":
		return Precision(time.Minute), nil
	case "h":
		return Precision(time.Hour), nil
	default:
		return 0, fmt.Errorf("precision %q is unknown: want ns, us, ms or s", text)
	}
}

// Batch is what a body held, in the order of its lines.
type Batch struct {
	// Results whose nrprobe line was in the body.
	Results []*probes.Result
	// Foreign points are all other lines that could be read: other programs' measurements, nrprobe lines without
	// identity, radio and event lines whose Result was not in the body.
	Foreign []Point
	// Problems are the first MaxProblems things that were wrong.
	Problems []Problem
	// Bad is how many problems there were, those left out of Problems included.
	Bad int
	// Duplicates is how many Results came more than once in the body; the first was kept.
	Duplicates int
}

// Point is a line that belongs to no Result.
type Point struct {
	Measurement string
	// Tags and Fields are in the order of the line.
	Tags   []Tag
	Fields []Field
	Time   time.Time
}

// Tag is one tag of a Point.
type Tag struct{ Key, Value string }

// Field is one field of a Point. Value is a float64, int64, uint64, bool or string.
type Field struct {
	Key   string
	Value any
}

// Problem is a line that could not be read, or one part of it that could not be understood and was left out.
type Problem struct {
	Line int // 1-based
	Text string
}

// String writes the problem as "line 3: ...".
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }
