package stamp

import (
	"math"
	"math/bits"
	"time"
)

// timestamp is a moment as its 64 bits stand in a packet. The Z bit of the error estimate beside it says how to read it.
type timestamp uint64

// format is how a timestamp is written.
type format uint8

// The formats of RFC 8762 section 4.2.1.
const (
	formatNTP format = iota // seconds since 1900 and 2^-32 fractions (RFC 5905), Z = 0
	formatPTP               // seconds and nanoseconds, IEEE 1588 truncated, Z = 1
)

// ntpToUnix is the number of seconds from 1900 to 1970.
const ntpToUnix = 2208988800

// newTimestamp writes a moment, in nanoseconds since 1970. PTP time is written in UTC, as other implementations do,
// though IEEE 1588 counts in TAI: only differences within one clock are meaningful in that format.
func newTimestamp(unixNano int64, f format) timestamp {
	seconds, nanos := unixNano/1e9, unixNano%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	if f == formatPTP {
		return timestamp(uint64(uint32(seconds))<<32 | uint64(nanos))
	}
	fraction := (uint64(nanos)<<32 + 5e8) / 1e9
	return timestamp(uint64(uint32(seconds+ntpToUnix))<<32 | fraction)
}

// unixNano reads the moment in nanoseconds since 1970. Both formats have 32 bits of seconds and begin anew every 136
// years (NTP on 7 February 2036), so the reading nearest to the moment near is taken.
func (t timestamp) unixNano(f format, near int64) int64 {
	seconds, low := int64(t>>32), uint64(uint32(t))
	nanos := int64(low)
	if f == formatNTP {
		seconds -= ntpToUnix
		nanos = int64((low*1e9 + 1<<31) >> 32)
	}
	const era = 1 << 32
	apart := near/1e9 - seconds
	seconds += (apart + era/2) >> 32 * era
	return seconds*1e9 + nanos
}

// errorEstimate is the field of that name, RFC 4656 section 4.1.2 as RFC 8762 amends it:
//
//	 0   1   2 3 4 5 6 7 8 ... 15
//	+---+---+------------+--------+
//	| S | Z |   Scale    | Multi. |    error = Multiplier · 2^(Scale−32) seconds
//	+---+---+------------+--------+
type errorEstimate uint16

const (
	errorSynced  errorEstimate = 0x8000
	errorPTP     errorEstimate = 0x4000
	errorUnknown errorEstimate = 0x3fff // the largest error that can be written
)

// newErrorEstimate writes an error bound, rounded up; 0 stands for unknown. The multiplier is never 0, which RFC 4656
// does not allow.
func newErrorEstimate(bound time.Duration, synced bool, f format) errorEstimate {
	e := errorUnknown
	if bound > 0 {
		high, low := bits.Mul64(uint64(min(bound, 1<<60)), 1<<32) // at most 36 years, so that the quotient fits
		units, rest := bits.Div64(high, low, 1e9)
		if rest > 0 {
			units++
		}
		scale := 0
		for ; units > 255<<scale; scale++ {
		}
		e = errorEstimate(scale<<8) | errorEstimate((units+1<<scale-1)>>scale)
	}
	if synced {
		e |= errorSynced
	}
	if f == formatPTP {
		e |= errorPTP
	}
	return e
}

// synced says whether the sender of the packet claims that its clock follows UTC.
func (e errorEstimate) synced() bool { return e&errorSynced != 0 }

// format is how the timestamps beside the error estimate are written.
func (e errorEstimate) format() format {
	if e&errorPTP != 0 {
		return formatPTP
	}
	return formatNTP
}

// bound is the error, clamped to what a Duration can hold.
func (e errorEstimate) bound() time.Duration {
	seconds := math.Ldexp(float64(e&0xff), int(e>>8&0x3f)-32)
	if seconds > math.MaxInt64/1e9/2 {
		return math.MaxInt64 / 2
	}
	return time.Duration(math.Ceil(seconds * 1e9))
}
