package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// printResult writes a Result for a person: milliseconds and Mbit/s, distributions as one line each.
func printResult(w io.Writer, r *probes.Result) error {
	fmt.Fprintf(w, "%s %s: %s in %s, from %s\n", r.Kind, r.Target, r.Outcome, person(r.Elapsed.Seconds(), probes.Seconds), r.Start.Local().Format(time.DateTime))
	if r.Error != "" {
		fmt.Fprintf(w, "  error: %s\n", r.Error)
	}
	printDistributions(w, r)
	printValues(w, r)
	for _, e := range r.Events {
		fmt.Fprintf(w, "  %s %s %s %s\n", e.Time.Local().Format("15:04:05.000"), e.Type, person(e.Duration.Seconds(), probes.Seconds), e.Detail)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Info)) {
		fmt.Fprintf(w, "  %s: %s\n", strings.ReplaceAll(key, "_", " "), r.Info[key])
	}
	if r.Quality != 0 {
		fmt.Fprintf(w, "  flags: %s\n", strings.Join(r.Quality.Names(), ", "))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// printDistributions writes a table, a distribution a line.
func printDistributions(w io.Writer, r *probes.Result) {
	if len(r.Hists) == 0 {
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "  \tn\t")
	for _, s := range probes.Statistics() {
		fmt.Fprintf(table, "%s\t", s)
	}
	fmt.Fprintln(table)
	for _, m := range probes.Vocabulary() {
		for _, d := range probes.Directions() {
			h, ok := r.Hists[m.HistName(d)]
			if !ok || m.Type != probes.Distribution {
				continue
			}
			fmt.Fprintf(table, "  %s\t%d\t", strings.ReplaceAll(m.HistName(d), "_", " "), h.Count())
			for _, s := range probes.Statistics() {
				fmt.Fprintf(table, "%s\t", person(s.Of(h), m.Unit))
			}
			fmt.Fprintln(table)
		}
	}
	table.Flush()
}

// printValues writes the counters and gauges, several a line.
func printValues(w io.Writer, r *probes.Result) {
	var parts []string
	for _, m := range probes.Vocabulary() {
		if m.Type == probes.Distribution {
			continue
		}
		for _, d := range probes.Directions() {
			if v, ok := r.Values[m.ValueName(d, "")]; ok {
				parts = append(parts, strings.ReplaceAll(m.HistName(d), "_", " ")+" "+person(v, m.Unit))
			}
		}
	}
	for group := range slices.Chunk(parts, 4) {
		fmt.Fprintf(w, "  %s\n", strings.Join(group, ",  "))
	}
}

// headline is the one thing worth watching while a probe measures.
func headline(r *probes.Result) string {
	var parts []string
	for _, d := range []probes.Direction{probes.Down, probes.Up} {
		if v, ok := r.Values[probes.Goodput.ValueName(d, "")]; ok {
			parts = append(parts, d.String()+" "+person(v, probes.BytesPerSecond))
		}
	}
	if h, ok := r.Hists[probes.RTT.HistName(probes.Both)]; ok {
		parts = append(parts, fmt.Sprintf("n %d  rtt p50 %s p95 %s max %s", h.Count(),
			person(h.Quantile(0.5), probes.Seconds), person(h.Quantile(0.95), probes.Seconds), person(h.Max(), probes.Seconds)))
	}
	if len(parts) == 0 {
		return "waiting for the first reply"
	}
	return strings.Join(parts, "  ")
}

// person writes a value in the unit that a person thinks in.
func person(v float64, u probes.Unit) string {
	switch u {
	case probes.Seconds:
		switch {
		case v == 0:
			return "0"
		case v < 1e-3:
			return fmt.Sprintf("%.3gµs", v*1e6)
		case v < 1:
			return fmt.Sprintf("%.4gms", v*1e3)
		default:
			return fmt.Sprintf("%.4gs", v)
		}
	case probes.BytesPerSecond:
		return scaled(v*8, 1000, "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s")
	case probes.BytesUnit:
		return scaled(v, 1000, "B", "kB", "MB", "GB", "TB")
	case probes.Ratio:
		return fmt.Sprintf("%.3g %%", v*100)
	case probes.Count:
		return fmt.Sprintf("%.6g", v)
	default:
		return fmt.Sprintf("%.4g %s", v, strings.ReplaceAll(string(u), "_", " "))
	}
}

func scaled(v, step float64, units ...string) string {
	i := 0
	for v >= step && i < len(units)-1 {
		v /= step
		i++
	}
	return fmt.Sprintf("%.4g %s", v, units[i])
}
