package survey

import (
	"fmt"
	"io"
	"strings"

	"github.com/nrprobe/nrprobe/probes"
)

// table is rows of text under a head, as the card and the page show them. The first column is words, the others numbers.
type table struct {
	head []string
	rows [][]string
}

// latencyTable has a row for the idle link and one for each load.
func (r *Report) latencyTable() table {
	t := table{head: []string{"Latency", "median", "p95", "p99", "added", "RPM", "grade", "lost up", "lost down", "longest gap"}}
	for _, name := range append([]string{idle}, loads()...) {
		h := r.rtt(name)
		if h == nil {
			continue
		}
		p := r.phase(name)
		row := []string{p.Label, humanTime(probes.P50.Of(h)), humanTime(probes.P95.Of(h)), humanTime(probes.P99.Of(h)), none, humanCount(rpm(h)), none}
		if added, ok := r.Figures["added_delay_"+name+"_p50_seconds"]; ok {
			row[4], row[6] = humanDelay(added), r.Grades[name]
		}
		t.rows = append(t.rows, append(row, p.losses()...))
	}
	return t
}

// losses are the cells on lost packets: up, down and the longest interruption. Echoes over TCP have none.
func (p *Phase) losses() []string {
	cells := []string{none, none, none}
	x := p.of(kindSTAMP)
	if x == nil {
		return cells
	}
	sent := x.Values[probes.PacketsSent.ValueName(probes.Both, "")]
	for i, way := range []probes.Direction{probes.Up, probes.Down} {
		if v, ok := x.Values[probes.PacketsLost.ValueName(way, "")]; ok && sent > 0 {
			cells[i] = humanShare(v / sent)
		}
	}
	if v, ok := x.Values[probes.Interruption.ValueName(probes.Both, "")]; ok {
		cells[2] = humanGap(v)
	}
	return cells
}

// rateTable has a row for each load and direction.
func (r *Report) rateTable() table {
	t := table{head: []string{"Rate", "mean", "slowest 5 %", "data", "limited by"}}
	for _, name := range loads() {
		p := r.phase(name)
		if p == nil || p.load() == nil {
			continue
		}
		x := p.load()
		for _, way := range []probes.Direction{probes.Down, probes.Up} {
			v, ok := r.rate(name, way)
			if !ok {
				continue
			}
			label, low, limit := p.Label, none, limitOf(x, way)
			if name == both {
				label += ", " + way.String()
			}
			if h := x.Hists[probes.IntervalRate.HistName(way)]; h != nil {
				low = humanRate(min(h.Quantile(0.05), v)) // a steady rate lies in one bucket, whose middle may be above the mean
			}
			if x.Info["ended_by"] == "max_bytes" {
				limit += "; ended by --max-bytes"
			}
			t.rows = append(t.rows, []string{label, humanRate(v), low, humanBytes(x.Values[probes.Transferred.ValueName(way, "")]), limit})
		}
	}
	return t
}

// line is one fact under its name.
type line struct{ Name, Text string }

// problem is the name of the line that says what went wrong.
const problem = "Problem"

// facts are what is said in a line each.
func (r *Report) facts() []line {
	var list []line
	if text := r.handshakeText(); text != "" {
		list = append(list, line{"Connecting", text})
	}
	if text := r.compareText(); text != "" {
		list = append(list, line{"QUIC to TCP", text})
	}
	if text := r.radio(); text != "" {
		list = append(list, line{"Radio", text})
	}
	if r.Error != "" {
		list = append(list, line{problem, fmt.Sprintf("%s: %s", r.Outcome, r.Error)})
	}
	for _, n := range r.Notes {
		list = append(list, line{"Note", n})
	}
	for _, name := range r.Quality.Names() {
		list = append(list, line{"Flag", fmt.Sprintf("%s: %s", name, flagText(name))})
	}
	return list
}

func (r *Report) handshakeText() string {
	var parts []string
	calm := r.rtt(idle)
	for _, h := range []struct {
		name   string
		metric *probes.Metric
	}{{"TCP", probes.ConnectTime}, {"QUIC", probes.HandshakeTime}, {"QUIC 0-RTT", probes.ResumedTime}} {
		v, ok := r.Figures[h.metric.ValueName(probes.Both, "")]
		if !ok {
			continue
		}
		text := h.name + " " + humanTime(v)
		if calm != nil && probes.P50.Of(calm) > 0 {
			text += fmt.Sprintf(" (%.1f RTT)", v/probes.P50.Of(calm))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func (r *Report) compareText() string {
	var parts []string
	for _, way := range []string{"down", "up"} {
		if v, ok := r.Figures["quic_to_tcp_"+way+"_ratio"]; ok {
			parts = append(parts, fmt.Sprintf("%.2f × the rate %s", v, way))
		}
	}
	return strings.Join(parts, ", ")
}

// radio is the cell before the first and after the last measurement.
func (r *Report) radio() string {
	var first, last *probes.RadioSample
	for _, p := range r.Phases {
		for _, x := range p.Results {
			if x.Radio == nil {
				continue
			}
			if first == nil {
				first = x.Radio.Before
			}
			if x.Radio.After != nil {
				last = x.Radio.After
			}
		}
	}
	switch {
	case first == nil && last == nil:
		return ""
	case last == nil || first != nil && radioText(first) == radioText(last):
		return radioText(first)
	case first == nil:
		return radioText(last)
	default:
		return radioText(first) + " → " + radioText(last)
	}
}

// headline is the one line above all else.
func (r *Report) headline() string {
	text := fmt.Sprintf("%s from %s, %s, %s, %s of data", r.Target, r.Agent, r.Start.Format("2006-01-02 15:04:05 MST"), clock(r.Elapsed), humanBytes(float64(r.Transferred)))
	if r.Quick {
		text += ", quick"
	}
	return text
}

// Card writes the report for a person at a terminal, at most 100 columns wide where names are short.
func (r *Report) Card(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s\n", r.headline())
	for _, t := range []table{r.latencyTable(), r.rateTable()} {
		if len(t.rows) > 0 {
			b.WriteString("\n")
			t.write(b)
		}
	}
	if facts := r.facts(); len(facts) > 0 {
		b.WriteString("\n")
		for _, f := range facts {
			fmt.Fprintf(b, "  %-12s %s\n", f.Name, f.Text)
		}
	}
	if g := r.Grades[overall]; g != "" {
		fmt.Fprintf(b, "\n  Grade %s for the delay that load adds (A+ <5 ms, A <30, B <60, C <200, D <400, F from 400 ms; a convention,\n", g)
		b.WriteString("  not a standard). RPM is 60 s / median loaded round trip, not that of the responsiveness draft.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// write aligns numbers to the right, the first column and the last one, where it is words, to the left.
func (t table) write(w io.Writer) {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		var text strings.Builder
		for i, cell := range row {
			gap := strings.Repeat(" ", width[i]-len([]rune(cell)))
			switch {
			case i == 0:
				text.WriteString("  " + cell + gap)
			case t.isWords(i):
				text.WriteString("   " + cell + gap)
			default:
				text.WriteString("  " + gap + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
	}
}

func (t table) isWords(column int) bool { return t.head[column] == "limited by" }
