package survey

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/nrprobe/nrprobe/probes"
)

//go:embed report.html.tmpl
var pageText string

// tile is one figure that is seen at a glance.
type tile struct{ Name, Value, Unit, Detail string }

// legend names a colour of a chart.
type legend struct{ Class, Text string }

// drawing is a chart with its title and what its colours mean.
type drawing struct {
	Title, Text string
	SVG         template.HTML
	Legend      []legend
}

// page is what the template shows.
type page struct {
	Report               *Report
	Headline             string
	Grade, GradeClass    string
	Tiles                []tile
	Charts, Halves       []drawing
	Tables               []pageTable
	Facts                []line
	Definitions          []string
	Outcome, OutcomeText string
}

type pageTable struct {
	Head []string
	Rows [][]cell
}

// cell is a cell of a table; Class marks words, and grades by their letter.
type cell struct{ Text, Class string }

// HTML writes the report as one page of HTML for a browser, which needs nothing else: styles and charts are inside, there
// is no script, and nothing is loaded.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	p := page{
		Report: r, Headline: r.headline(), Grade: r.Grades[overall], GradeClass: gradeClass(r.Grades[overall]),
		Tiles: r.tiles(), Charts: r.timeCharts(), Halves: r.distributions(), Facts: r.facts(),
		Definitions: sentences(Definitions),
	}
	for _, t := range []table{r.latencyTable(), r.rateTable()} {
		if len(t.rows) > 0 {
			p.Tables = append(p.Tables, t.page())
		}
	}
	if r.Outcome != probes.OK {
		p.Outcome, p.OutcomeText = string(r.Outcome), r.Error
		p.Facts = slices.DeleteFunc(p.Facts, func(l line) bool { return l.Name == problem }) // it stands above all else
	}
	return t.Execute(w, p)
}

func gradeClass(letter string) string {
	if letter == "" {
		return ""
	}
	return "grade-" + strings.ToLower(letter[:1])
}

func (t table) page() pageTable {
	p := pageTable{Head: t.head}
	for _, row := range t.rows {
		cells := make([]cell, len(row))
		for i, text := range row {
			cells[i].Text = text
			switch {
			case t.head[i] == "grade" && text != none:
				cells[i].Class = "letter " + gradeClass(text)
			case i == 0 || t.isWords(i):
				cells[i].Class = "words"
			}
		}
		p.Rows = append(p.Rows, cells)
	}
	return p
}

// sentences takes the definitions apart, a paragraph a topic.
func sentences(text string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), ". ", ".\n"), "\n")
}

// tiles are the figures that most people want.
func (r *Report) tiles() []tile {
	var list []tile
	add := func(name, figure, detail string) {
		value, unit, _ := strings.Cut(figure, " ")
		list = append(list, tile{name, value, unit, detail})
	}
	for _, x := range []struct {
		name, phase string
		way         probes.Direction
	}{{"Download", down, probes.Down}, {"Upload", up, probes.Up}} {
		if v, ok := r.rate(x.phase, x.way); ok {
			detail := "TCP"
			if q, ok := r.Figures["quic_to_tcp_"+x.way.String()+"_ratio"]; ok {
				detail = fmt.Sprintf("TCP; QUIC %.2f ×", q)
			}
			add(x.name, humanRate(v), detail)
		}
	}
	if h := r.rtt(idle); h != nil {
		add("Idle latency", humanTime(probes.P50.Of(h)), "median; p99 "+humanTime(probes.P99.Of(h)))
	}
	worst, where := 0.0, ""
	for _, name := range loads() {
		if v, ok := r.Figures["added_delay_"+name+"_p50_seconds"]; ok && (where == "" || v > worst) {
			worst, where = v, name
		}
	}
	if where != "" {
		add("Added by load", humanDelay(worst), fmt.Sprintf("%s; %s RPM", r.phase(where).Label, humanCount(r.Figures["rpm_"+where])))
	}
	if v, ok := r.Figures["loss_ratio"]; ok {
		detail := "of all packets"
		if u, ok := r.Figures["loss_up_ratio"]; ok && v > 0 {
			detail = fmt.Sprintf("up %s, down %s", humanShare(u), humanShare(r.Figures["loss_down_ratio"]))
		}
		add("Lost", humanShare(v), detail)
	}
	if v, ok := r.Figures["interruption_max_seconds"]; ok {
		add("Longest gap", humanGap(v), "between two packets")
	}
	return list
}

func (r *Report) timeCharts() []drawing {
	var list []drawing
	if svg := r.rttChart(); svg != "" {
		list = append(list, drawing{
			Title: "Latency over time", SVG: svg,
			Text: "Each dot is one packet there and back; the line is their median over a quarter of a second.",
		})
	}
	if svg := r.rateChart(); svg != "" {
		list = append(list, drawing{
			Title: "Rate over time", SVG: svg,
			Text:   "What the receiver counted in each tenth of a second. Dashed: the ramp, which the mean leaves out.",
			Legend: []legend{{"way-down", "down"}, {"way-up", "up"}},
		})
	}
	return list
}

// distributions are the halves of a row: round trips, and rates.
func (r *Report) distributions() []drawing {
	var rtts, rates []curve
	var rttLegend, rateLegend []legend
	for _, name := range append([]string{idle}, loads()...) {
		p := r.phase(name)
		if h := r.rtt(name); h != nil && h.Count() > 0 {
			rtts = append(rtts, curve{name, h})
			rttLegend = append(rttLegend, legend{name, p.Label})
		}
		if p == nil || p.load() == nil || name == both {
			continue
		}
		for _, way := range []probes.Direction{probes.Down, probes.Up} {
			if h := p.load().Hists[probes.IntervalRate.HistName(way)]; h != nil && h.Count() > 1 {
				rates = append(rates, curve{name, h})
				rateLegend = append(rateLegend, legend{name, p.Label})
			}
		}
	}
	var list []drawing
	if svg := distribution(rtts, timeUnit, "Share of packets with at most that round-trip time"); svg != "" {
		list = append(list, drawing{Title: "Latency, distribution", SVG: svg, Legend: rttLegend, Text: "Share of the packets that were back within the time."})
	}
	if svg := distribution(rates, rateUnit, "Share of intervals with at most that rate"); svg != "" {
		list = append(list, drawing{Title: "Rate, distribution", SVG: svg, Legend: rateLegend, Text: "Share of the tenths of a second that were no faster."})
	}
	return list
}
