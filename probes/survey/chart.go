package survey

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// frame is the drawing area of a chart in pixels, and the scales that values are put on it with.
type frame struct {
	width, height            float64
	left, right, top, bottom float64 // margins
	x, y                     scale
	b                        strings.Builder
}

// scale maps values to the pixels of one axis.
type scale struct {
	min, max float64
	log      bool
}

// share is where a value lies between min and max.
func (s scale) share(v float64) float64 {
	if s.log {
		return math.Log(v/s.min) / math.Log(s.max/s.min)
	}
	return (v - s.min) / (s.max - s.min)
}

func (f *frame) px(v float64) float64 { return f.left + f.x.share(v)*(f.width-f.left-f.right) }

func (f *frame) py(v float64) float64 {
	return f.height - f.bottom - f.y.share(v)*(f.height-f.top-f.bottom)
}

// tick is a labelled line of a scale.
type tick struct {
	v    float64
	text string
}

// draw writes one element, with an even number of attribute names and values.
func (f *frame) draw(element, text string, attributes ...any) {
	f.b.WriteString("<" + element)
	for i := 0; i+1 < len(attributes); i += 2 {
		value := fmt.Sprint(attributes[i+1])
		if v, ok := attributes[i+1].(float64); ok {
			value = pixels(v)
		}
		fmt.Fprintf(&f.b, ` %s="%s"`, attributes[i], html.EscapeString(value))
	}
	f.b.WriteString(">" + text + "</" + element + ">")
}

func pixels(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// axes draws grid lines and their labels.
func (f *frame) axes(xs, ys []tick, xName, yName string) {
	for _, t := range ys {
		y := f.py(t.v)
		f.draw("line", "", "class", "grid", "x1", f.left, "x2", f.width-f.right, "y1", y, "y2", y)
		f.draw("text", html.EscapeString(t.text), "x", f.left-8, "y", y+4, "text-anchor", "end")
	}
	for _, t := range xs {
		x := f.px(t.v)
		f.draw("line", "", "class", "tick", "x1", x, "x2", x, "y1", f.height-f.bottom, "y2", f.height-f.bottom+4)
		f.draw("text", html.EscapeString(t.text), "x", x, "y", f.height-f.bottom+18, "text-anchor", "middle")
	}
	f.draw("line", "", "class", "axis", "x1", f.left, "x2", f.width-f.right, "y1", f.height-f.bottom, "y2", f.height-f.bottom)
	f.draw("text", html.EscapeString(yName), "class", "unit", "x", f.left-8, "y", f.top-20, "text-anchor", "end") // above the names of the phases
	f.draw("text", html.EscapeString(xName), "class", "unit", "x", f.width-f.right, "y", f.height-f.bottom+34, "text-anchor", "end")
}

// line draws a line through points, in order.
func (f *frame) line(class string, points []point, x func(point) float64) string {
	var d strings.Builder
	for i, p := range points {
		d.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
		d.WriteString(pixels(f.px(x(p))) + " " + pixels(f.py(min(p.v, f.y.max))))
	}
	f.draw("path", "", "class", class, "d", d.String())
	return d.String()
}

// svg is the finished drawing. What is in it was escaped where it was drawn.
func (f *frame) svg(description string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %s %s" role="img" aria-label="%s">%s</svg>`, //nolint:gosec // escaped where it was drawn
		pixels(f.width), pixels(f.height), html.EscapeString(description), f.b.String()))
}

// steps are about n round values from 0 to at most limit.
func steps(limit float64, n int) []float64 {
	if limit <= 0 {
		return []float64{0}
	}
	size := math.Pow(10, math.Floor(math.Log10(limit/float64(n))))
	for _, k := range []float64{1, 2, 5, 10} {
		if limit/(size*k) <= float64(n) {
			size *= k
			break
		}
	}
	var list []float64
	for i := 0; float64(i)*size <= limit*(1+1e-9); i++ {
		list = append(list, float64(i)*size)
	}
	return list
}

// decades are the values 1, 2 and 5 of each power of ten between min and max; only 1 when there are many.
func decades(least, most float64) []float64 {
	factors := []float64{1, 2, 5}
	if most/least > 2000 {
		factors = factors[:1]
	}
	var list []float64
	for e := math.Floor(math.Log10(least)); e <= math.Log10(most); e++ {
		for _, k := range factors {
			if v := k * math.Pow(10, e); v >= least*(1-1e-9) && v <= most*(1+1e-9) {
				list = append(list, v)
			}
		}
	}
	return list
}

// between are some round values from least to most.
func between(least, most float64) []float64 {
	var list []float64
	size := steps(most-least, 6)
	for i := math.Ceil(least / size[1]); i*size[1] <= most; i++ {
		list = append(list, i*size[1])
	}
	return list
}

// timeFrame is a chart over the time of the survey, with the phases shaded.
func (r *Report) timeFrame() *frame {
	end := r.Elapsed.Seconds()
	for _, p := range r.Phases {
		end = max(end, (p.Start + p.Elapsed).Seconds())
	}
	f := &frame{width: 960, height: 280, left: 64, right: 16, top: 30, bottom: 40, x: scale{min: 0, max: max(end, 0.1)}}
	for _, p := range r.Phases {
		x, width := f.px(p.Start.Seconds()), f.px((p.Start+p.Elapsed).Seconds())-f.px(p.Start.Seconds())
		f.draw("rect", "<title>"+html.EscapeString(p.Label)+"</title>", "class", "phase "+p.Name, "x", x, "y", f.top, "width", max(width, 1), "height", f.height-f.top-f.bottom)
		const letter = 6.6 // of the labels, on average
		for _, text := range []string{p.Label, shortLabel(p.Name)} {
			if float64(len([]rune(text)))*letter <= width {
				f.draw("text", html.EscapeString(text), "class", "label "+p.Name, "x", x+width/2, "y", f.top-8, "text-anchor", "middle")
				break
			}
		}
	}
	return f
}

// shortLabel names a phase where there is little room.
func shortLabel(name string) string {
	return map[string]string{quicDown: "QUIC ↓", quicUp: "QUIC ↑", down: "down", up: "up", both: "both"}[name]
}

func (f *frame) timeAxes(ys []tick, unit string) {
	var xs []tick
	for _, v := range steps(f.x.max, 12) {
		xs = append(xs, tick{v, strconv.FormatFloat(v, 'g', 4, 64)})
	}
	f.axes(xs, ys, "seconds", unit)
}

// rttChart is every round trip over time, and the median of each quarter of a second.
func (r *Report) rttChart() template.HTML {
	f := r.timeFrame()
	var all []float64
	for _, p := range r.Phases {
		for _, x := range p.rtts {
			all = append(all, x.v)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	// A few outliers would press everything else to the floor: what lies far above the rest is drawn at the edge.
	f.y.max = max(min(all[len(all)-1], 2*all[(len(all)-1)*199/200])*1.12, 1e-6)
	factor, unit := timeUnit(f.y.max)
	var ys []tick
	for _, v := range steps(f.y.max*factor, 6) {
		ys = append(ys, tick{v / factor, strconv.FormatFloat(v, 'g', 6, 64)})
	}
	f.timeAxes(ys, unit)
	for _, p := range r.Phases {
		f.dots(p)
	}
	for _, p := range r.Phases {
		f.line("median "+p.Name, medians(p.rtts), func(q point) float64 { return q.at.Seconds() })
	}
	return f.svg("Round-trip time over the time of the test")
}

// dots draws every round trip of a phase; those above the edge as small triangles on it.
func (f *frame) dots(p Phase) {
	var d, above strings.Builder
	for _, q := range p.rtts {
		x := f.px(q.at.Seconds())
		if q.v > f.y.max {
			fmt.Fprintf(&above, "M%s %sl3 6h-6z", pixels(x), pixels(f.top))
			continue
		}
		fmt.Fprintf(&d, "M%s %sh0", pixels(x), pixels(f.py(q.v)))
	}
	f.draw("path", "", "class", "dots "+p.Name, "d", d.String())
	if above.Len() > 0 {
		f.draw("path", "<title>above the edge</title>", "class", "above "+p.Name, "d", above.String())
	}
}

// medians are the medians of quarters of a second.
func medians(points []point) []point {
	const width = 250 * time.Millisecond
	var list []point
	sorted := slices.SortedFunc(slices.Values(points), func(a, b point) int { return cmp.Compare(a.at, b.at) })
	for begin := 0; begin < len(sorted); {
		bin, end := sorted[begin].at/width, begin
		var v []float64
		for ; end < len(sorted) && sorted[end].at/width == bin; end++ {
			v = append(v, sorted[end].v)
		}
		slices.Sort(v)
		list = append(list, point{(sorted[begin].at + sorted[end-1].at) / 2, v[len(v)/2]})
		begin = end
	}
	return list
}

// rateChart is the rates of the loads over time.
func (r *Report) rateChart() template.HTML {
	f := r.timeFrame()
	for _, p := range r.Phases {
		for _, points := range p.rates {
			for _, q := range points {
				f.y.max = max(f.y.max, q.v*1.15)
			}
		}
	}
	if f.y.max == 0 {
		return ""
	}
	factor, unit := rateUnit(f.y.max)
	var ys []tick
	for _, v := range steps(f.y.max*factor, 6) {
		ys = append(ys, tick{v / factor, strconv.FormatFloat(v, 'g', 6, 64)})
	}
	f.timeAxes(ys, unit)
	at := func(q point) float64 { return q.at.Seconds() }
	for _, p := range r.Phases {
		for _, way := range []probes.Direction{probes.Down, probes.Up} {
			points := p.rates[way]
			if len(points) == 0 {
				continue
			}
			f.line("ramp way-"+way.String(), []point{{p.begun, 0}, points[0]}, at)
			d := f.line("rate way-"+way.String(), points, at)
			f.draw("path", "", "class", "area way-"+way.String(), "d",
				d+fmt.Sprintf("L%s %sL%s %sZ", pixels(f.px(at(points[len(points)-1]))), pixels(f.py(0)), pixels(f.px(at(points[0]))), pixels(f.py(0))))
		}
	}
	return f.svg("Rates over the time of the test")
}

// timeUnit is what seconds are multiplied with to be written in a unit that suits a scale up to limit.
func timeUnit(limit float64) (factor float64, unit string) {
	switch {
	case limit < 1e-3:
		return 1e6, "µs"
	case limit < 10:
		return 1e3, "ms"
	default:
		return 1, "s"
	}
}

// rateUnit is timeUnit for bytes per second.
func rateUnit(limit float64) (factor float64, unit string) {
	switch bits := limit * 8; {
	case bits < 2e6:
		return 8e-3, "kbit/s"
	case bits < 2e9:
		return 8e-6, "Mbit/s"
	default:
		return 8e-9, "Gbit/s"
	}
}

// curve is one distribution of a chart.
type curve struct {
	class string
	hist  *probes.Hist
}

// distribution draws which share of the values stays below which value, on a logarithmic scale.
func distribution(curves []curve, unitOf func(float64) (float64, string), description string) template.HTML {
	least, most := math.Inf(1), 0.0
	for _, c := range curves {
		least, most = min(least, max(c.hist.Min(), c.hist.Max()/1e4)), max(most, c.hist.Max())
	}
	if most <= 0 {
		return ""
	}
	f := &frame{
		width: 470, height: 290, left: 48, right: 14, top: 16, bottom: 40,
		x: scale{min: least / 1.1, max: most * 1.1, log: true}, y: scale{min: 0, max: 1},
	}
	factor, unit := unitOf(most)
	var xs, ys []tick
	marks := decades(f.x.min*factor, f.x.max*factor)
	if f.x.max < 4*f.x.min { // decades would leave next to none
		f.x.log = false
		marks = between(f.x.min*factor, f.x.max*factor)
	}
	for _, v := range marks {
		xs = append(xs, tick{v / factor, strconv.FormatFloat(v, 'g', 6, 64)})
	}
	for _, v := range []float64{0, 0.25, 0.5, 0.75, 1} {
		ys = append(ys, tick{v, fmt.Sprintf("%.0f %%", v*100)})
	}
	f.axes(xs, ys, unit, "")
	for _, c := range curves {
		var points []point
		values := map[int]float64{}
		for i := range 201 {
			q := float64(i) / 200
			values[i] = max(c.hist.Quantile(q), f.x.min)
			points = append(points, point{time.Duration(i), q})
		}
		f.line("curve "+c.class, points, func(p point) float64 { return values[int(p.at)] })
	}
	return f.svg(description)
}
