package survey

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// none stands where there is no figure.
const none = "–"

// humanTime writes seconds as milliseconds, with three digits that mean something; as seconds from ten on.
func humanTime(s float64) string {
	switch ms := math.Abs(s) * 1000; {
	case ms >= 10_000:
		return fmt.Sprintf("%.1f s", s)
	case ms >= 99.95:
		return fmt.Sprintf("%.0f ms", s*1000)
	case ms >= 9.995:
		return fmt.Sprintf("%.1f ms", s*1000)
	case ms >= 0.0995 || ms == 0:
		return fmt.Sprintf("%.2f ms", s*1000)
	default:
		return fmt.Sprintf("%.1f µs", s*1e6)
	}
}

// humanGap writes an interruption, of which there may be none.
func humanGap(s float64) string {
	if s == 0 {
		return "none"
	}
	return humanTime(s)
}

// humanCount writes a number of things.
func humanCount(v float64) string {
	switch {
	case v >= 9_999_500:
		return fmt.Sprintf("%.0f million", v/1e6)
	case v >= 99_950:
		return fmt.Sprintf("%.0f,000", v/1e3)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// humanDelay is humanTime with its sign.
func humanDelay(s float64) string {
	if s < 0 {
		return "−" + humanTime(-s)
	}
	return "+" + humanTime(s)
}

// humanRate writes bytes per second as bits per second.
func humanRate(v float64) string { return scaled(v*8, "bit/s", "kbit/s", "Mbit/s", "Gbit/s") }

// humanBytes writes an amount of data.
func humanBytes(v float64) string { return scaled(v, "B", "kB", "MB", "GB") }

func scaled(v float64, units ...string) string {
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	switch {
	case v >= 99.95 || i == 0:
		return fmt.Sprintf("%.0f %s", v, units[i])
	case v >= 9.995:
		return fmt.Sprintf("%.1f %s", v, units[i])
	default:
		return fmt.Sprintf("%.2f %s", v, units[i])
	}
}

// humanShare writes a share of packets; next to nothing is not nothing.
func humanShare(v float64) string {
	switch {
	case v == 0:
		return "0 %"
	case v < 0.0001:
		return "<0.01 %"
	default:
		return fmt.Sprintf("%.2f %%", v*100)
	}
}

// heldUp says in plain words what kept a sender from being faster, from what its kernel said.
func heldUp(word string) string {
	switch word {
	case "":
		return "not told"
	case "congestion_window":
		return "the path"
	case "receive_window":
		return "the receiver"
	case "send_buffer":
		return "the sender's buffer"
	case "application":
		return "the sending program"
	default:
		return strings.ReplaceAll(word, "_", " ")
	}
}

// radioText names the cell and its levels: "NR-SA n78 pci 94, RSRP −87 dBm, SINR 14 dB".
func radioText(s *probes.RadioSample) string {
	var parts []string
	name := s.RAT
	if s.Band != "" {
		name += " " + s.Band
	}
	if s.PCI != nil {
		name += fmt.Sprintf(" pci %d", *s.PCI)
	}
	if name = strings.TrimSpace(name); name != "" {
		parts = append(parts, name)
	}
	for _, level := range []struct {
		name, unit string
		v          *float64
	}{{"RSRP", "dBm", s.RSRP}, {"RSRQ", "dB", s.RSRQ}, {"SINR", "dB", s.SINR}} {
		if level.v != nil {
			parts = append(parts, strings.ReplaceAll(fmt.Sprintf("%s %.0f %s", level.name, *level.v, level.unit), "-", "−"))
		}
	}
	return strings.Join(parts, ", ")
}

// flagText says what a quality flag means.
func flagText(name string) string {
	text, ok := map[string]string{
		"schedule_late":  "packets left later than planned: this machine was busy",
		"user_stamps":    "time stamps were taken by the program, not by the kernel",
		"kernel_refused": "the own kernel refused packets",
		"cpu_starved":    "this machine's processor was too busy",
		"clock_stepped":  "the clock was set meanwhile",
		"clock_unset":    "the clock is not set",
		"suspended":      "this machine slept meanwhile",
		"cross_traffic":  "other traffic used the interface",
		"far_end_late":   "the far end was overloaded",
		"stopped_early":  "a load stopped when its rate had settled",
		"partial":        "a measurement ended before it was complete",
	}[name]
	if !ok {
		return strings.ReplaceAll(name, "_", " ")
	}
	return text
}

// clock writes a length of time in seconds.
func clock(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
