package budget

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// parseQuantity reads a bound in the unit of its metric into base units: "20ms", "100Mbit/s", "0.1%", "-95".
func parseQuantity(u probes.Unit, text string) (float64, error) {
	switch u {
	case probes.Seconds:
		d, err := unit.ParseDuration(text)
		if err == nil && d < 0 {
			err = fmt.Errorf("%q is below zero: write a duration like 20ms", text)
		}
		return d.Seconds(), err
	case probes.BytesPerSecond:
		rate, err := unit.ParseRate(text)
		return float64(rate), err
	case probes.BytesUnit:
		size, err := unit.ParseBytes(text)
		return float64(size), err
	case probes.Ratio, probes.Count:
		return parseShare(text)
	case probes.RPM, probes.DBm, probes.DB, probes.MetresPerSec:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("%q is not a number of %s", text, u)
		}
		return v, nil
	}
	return 0, fmt.Errorf("a budget in %s cannot be read", u)
}

// parseShare reads "0.1%" or "0.001", from 0 to 1.
func parseShare(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if isPercent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q is not a share from 0 to 1: write it like 0.1%% or 0.001", text)
	}
	return v, nil
}

// formatQuantity writes a value for a person, in the unit that the field uses.
func formatQuantity(u probes.Unit, v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return "unbounded"
	}
	switch u {
	case probes.Seconds:
		return formatSeconds(v)
	case probes.BytesPerSecond:
		return formatRate(v)
	case probes.BytesUnit:
		return unit.Bytes(math.Round(v)).String()
	case probes.Ratio, probes.Count:
		return formatShare(v)
	case probes.RPM, probes.DBm, probes.DB, probes.MetresPerSec:
		return significant(v) + " " + map[probes.Unit]string{probes.RPM: "RPM", probes.DBm: "dBm", probes.DB: "dB", probes.MetresPerSec: "m/s"}[u]
	}
	return significant(v)
}

func formatSeconds(v float64) string {
	switch abs := math.Abs(v); {
	case abs == 0:
		return "0 ms"
	case abs < 0.001:
		return significant(v*1e6) + " µs"
	case abs < 10:
		return significant(v*1e3) + " ms"
	default:
		return significant(v) + " s"
	}
}

func formatRate(v float64) string {
	bits := v * 8
	switch abs := math.Abs(bits); {
	case abs >= 1e9:
		return significant(bits/1e9) + " Gbit/s"
	case abs >= 1e6:
		return significant(bits/1e6) + " Mbit/s"
	default:
		return significant(bits/1e3) + " kbit/s"
	}
}

// formatShare writes a share in percent. Shares near 1 keep the digits in which they differ from it.
func formatShare(v float64) string {
	percent := v * 100
	digits := 2
	if rest := 100 - percent; percent > 99 && rest > 0 {
		digits = int(math.Ceil(-math.Log10(rest))) + 1
	} else if percent > 0 && percent < 1 {
		digits = int(math.Ceil(-math.Log10(percent))) + 1
	}
	text := strconv.FormatFloat(percent, 'f', min(max(digits, 1), 8), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + " %"
}

// significant writes four significant digits without an exponent: more digits than that no link holds still for.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 3 - int(math.Floor(math.Log10(math.Abs(v))))
	text := strconv.FormatFloat(v, 'f', min(max(digits, 0), 9), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// didYouMean is " (did you mean "rtt"?)" when a word is near one of the known ones.
func didYouMean(word string, known []string) string {
	if near := catalog.Nearest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
