// Package unit holds the quantities that configuration files and flags are written in: sizes, rates and durations with
// their units spelled out. Inside the program everything is bytes and seconds; these types exist at the glass only.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is an amount of data in bytes, written "64MiB" (powers of 1024) or "20GB" (powers of 1000).
// A bare number is bytes. It is never negative.
type Bytes int64

// ParseBytes reads a Bytes from text. The error names the text and what would have been accepted.
func ParseBytes(s string) (Bytes, error) {
	number, suffix := split(s)
	factor, ok := byteFactors[strings.ToLower(suffix)]
	if !ok || number == "" {
		return 0, fmt.Errorf("%q is not a size: write it like 512KiB, 64MiB or 20GB", s)
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size from 0 to 4EiB: write it like 512KiB, 64MiB or 20GB", s)
	}
	return Bytes(math.Round(v * factor)), nil
}

var byteFactors = map[string]float64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler; what it writes, ParseBytes reads back to the same value.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String writes the amount in the largest unit that loses nothing.
func (b Bytes) String() string {
	for _, u := range []struct {
		name   string
		factor Bytes
	}{{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}} {
		if b >= u.factor && b%u.factor == 0 {
			return strconv.FormatInt(int64(b/u.factor), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Rate is a data rate in bytes per second, written in bits as the field does ("20Mbit/s"), or in bytes ("2.5MB/s").
// It is never negative.
type Rate float64

// ParseRate reads a Rate from text. The error names the text and what would have been accepted.
func ParseRate(s string) (Rate, error) {
	number, suffix := split(s)
	factor, ok := rateFactors[strings.ToLower(suffix)]
	if !ok || number == "" {
		return 0, fmt.Errorf("%q is not a rate: write it like 500kbit/s, 20Mbit/s or 1Gbit/s", s)
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || math.IsInf(v*factor, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is not a rate of 0 or more: write it like 500kbit/s, 20Mbit/s or 1Gbit/s", s)
	}
	return Rate(v * factor), nil
}

var rateFactors = map[string]float64{
	"bit/s": 1. / 8, "kbit/s": 1e3 / 8, "mbit/s": 1e6 / 8, "gbit/s": 1e9 / 8,
	"bps": 1. / 8, "kbps": 1e3 / 8, "mbps": 1e6 / 8, "gbps": 1e9 / 8,
	"b/s": 1, "kb/s": 1e3, "mb/s": 1e6, "gb/s": 1e9,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	if err == nil {
		*r = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler; what it writes, ParseRate reads back to the same value.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes the rate in bits per second with the largest unit that keeps the number at 1 or more.
func (r Rate) String() string {
	bits := float64(r) * 8
	for _, u := range []struct {
		name   string
		factor float64
	}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}} {
		if bits >= u.factor {
			return strconv.FormatFloat(bits/u.factor, 'g', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(bits, 'g', -1, 64) + "bit/s"
}

// ParseDuration reads Go's duration syntax plus whole or fractional days: "10ms", "1h30m", "7d". Zero needs no unit.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		v, err := strconv.ParseFloat(days, 64)
		if err == nil && math.Abs(v) <= 100*365 {
			return time.Duration(v * float64(24*time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it like 10ms, 30s, 1h or 7d", s)
	}
	return d, nil
}

// FormatDuration writes a duration without the zero parts that time.Duration.String leaves behind ("1h", not "1h0m0s"),
// and whole days as days. ParseDuration reads it back to the same value.
func FormatDuration(d time.Duration) string {
	if d != 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// split parts "64MiB" into "64" and "MiB".
func split(s string) (number, suffix string) {
	s = strings.TrimSpace(s)
	end := strings.LastIndexAny(s, "0123456789.") + 1
	return s[:end], strings.TrimSpace(s[end:])
}
