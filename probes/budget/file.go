package budget

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// Settings are the keys of a budgets file that belong to the check as a whole.
type Settings struct {
	Target      string        `yaml:"target" help:"far end of budgets that name none"`
	MaxDuration time.Duration `yaml:"max_duration" help:"longest time to measure, all budgets together" min:"1s" max:"7d"`
	MaxBytes    unit.Bytes    `yaml:"max_bytes" help:"most data to send and receive while measuring; 0 is no limit"`
	Sequential  bool          `yaml:"sequential" help:"stop as soon as every budget is settled, at error rates that allow for it"`
	MaxDoubtful float64       `yaml:"max_doubtful" help:"largest share of results in which the instrument was late; with more, nothing passes" min:"0" max:"1"`
}

// DefaultSettings are those of a check without a file.
func DefaultSettings() Settings {
	return Settings{MaxDuration: 4 * time.Minute, Sequential: true, MaxDoubtful: 0.1}
}

// Entry is one budget as a budgets file has it.
type Entry struct {
	Name       string            `yaml:"name" help:"name in reports; distinct in the file"`
	Profile    string            `yaml:"profile" help:"built-in budgets of a document instead of metric and bound, such as 5qi-80 or ts22186-remote-driving"`
	Transport  time.Duration     `yaml:"transport" help:"with a profile: one-way time from the user plane's N6 point to the far end, added to its delay" max:"1s"`
	OneWay     bool              `yaml:"one_way" help:"with a profile: judge one-way delays in both directions instead of the round trip"`
	Metric     string            `yaml:"metric" help:"word of the metric vocabulary, such as rtt, owd_up, loss or goodput_down"`
	Statistic  string            `yaml:"statistic" help:"p50, p95, p999 or another quantile, mean, min, max, ratio, reliability or availability"`
	Direction  string            `yaml:"direction" help:"direction of metrics that have one" oneof:"up,down"`
	Bound      string            `yaml:"bound" help:"largest value allowed, with its unit; of reliability and availability the latest a packet may arrive"`
	AtLeast    string            `yaml:"at_least" help:"smallest value allowed, with its unit; of reliability and availability the share, like 99.9%"`
	Confidence float64           `yaml:"confidence" help:"1 less the probability of a wrong verdict" min:"0.5" max:"0.9999"`
	Of         string            `yaml:"of" help:"whether lost packets count as infinitely late (sent) or are left out (received)" oneof:"sent,received"`
	Survival   time.Duration     `yaml:"survival" help:"with availability: how long the application gets on without a packet" min:"1ms" max:"1h"`
	Target     string            `yaml:"target" help:"far end that is measured, or whose results are judged"`
	Tags       map[string]string `yaml:"tags" help:"labels that results from a file or a store must carry to be judged"`
	Ratio      string            `yaml:"ratio" help:"against a baseline: how much worse is tolerated, as a share of it"`
	Floor      string            `yaml:"floor" help:"against a baseline: how much worse is always tolerated, with its unit"`
	Probe      probeNode         `yaml:"probe" help:"what measures it: kind, and the settings of that kind"`
}

// probeNode keeps the mapping under "probe" until the catalog of kinds is at hand.
type probeNode struct {
	node *yaml.Node
	path string
}

// DecodeNode implements configs.NodeDecoder.
func (p *probeNode) DecodeNode(_ *configs.Report, n *yaml.Node, path string) {
	p.node, p.path = n, path
}

// ProbeSpec is a probe that a plan needs: what the budgets that share it name.
type ProbeSpec struct {
	Kind   probes.Kind
	Config any    // what Kind.NewConfig returned, filled in
	Target string // as the user wrote it; "" for the target of the check
}

// Plan is a budgets file that was read and checked.
type Plan struct {
	Settings
	Criteria []Criterion
	Probes   []ProbeSpec
}

// Load reads a budgets file. The error is a configs.Problems, with every problem, when the file could be read but not
// accepted.
func Load(path string, kinds catalog.Catalog[probes.Kind]) (*Plan, error) {
	doc := newDocument(kinds)
	if err := configs.LoadFile(path, doc); err != nil {
		return nil, err
	}
	return doc.plan(), nil
}

// Parse is Load for text. file is only quoted in problems; lookup resolves ${NAME} (os.LookupEnv when nil).
func Parse(file string, text []byte, lookup func(string) (string, bool), kinds catalog.Catalog[probes.Kind]) (*Plan, error) {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	doc := newDocument(kinds)
	if err := configs.Load(file, text, lookup, doc); err != nil {
		return nil, err
	}
	return doc.plan(), nil
}

// document is a budgets file while it is read.
type document struct {
	Settings
	Budgets entryList `yaml:"budgets" help:"what is to be judged" required:"true"`
}

func newDocument(kinds catalog.Catalog[probes.Kind]) *document {
	return &document{Settings: DefaultSettings(), Budgets: entryList{kinds: kinds}}
}

func (d *document) plan() *Plan {
	return &Plan{Settings: d.Settings, Criteria: d.Budgets.criteria, Probes: d.Budgets.probes}
}

// entryList is the list under "budgets" with what was made of it.
type entryList struct {
	kinds    catalog.Catalog[probes.Kind]
	criteria []Criterion
	probes   []ProbeSpec
}

// maxCriteria keeps a file from asking for more than anybody could read.
const maxCriteria = 200

// DecodeNode implements configs.NodeDecoder.
func (l *entryList) DecodeNode(r *configs.Report, n *yaml.Node, path string) {
	at := r.At(n, path)
	switch {
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		r.Problem(at, "", "want a list of budgets, each with metric, statistic and bound, or with a profile")
		return
	case len(n.Content) > maxCriteria:
		r.Problem(at, "", fmt.Sprintf("%d budgets are more than the %d that one check judges", len(n.Content), maxCriteria))
		return
	}
	seen := map[string]bool{}
	for i, item := range n.Content {
		l.entry(r, item, fmt.Sprintf("%s[%d]", path, i), seen)
	}
}

func (l *entryList) entry(r *configs.Report, n *yaml.Node, path string, seen map[string]bool) {
	e := Entry{Confidence: DefaultConfidence}
	at := r.Decode(n, path, &e)
	spec := l.probe(r, &e, n, path)
	for _, c := range e.criteria(func(key, text string) { r.Problem(at, key, text) }) {
		c.Probe = spec
		if spec >= 0 {
			c.Kind = l.probes[spec].Kind.Name
			if !slices.Contains(l.probes[spec].Kind.Metrics, c.Metric) && !sharesPackets(l.probes[spec].Kind, &c) {
				r.Problem(at, "metric", fmt.Sprintf("%q is not among what the kind %s measures", c.Metric.Stem, c.Kind))
			}
		}
		if !r.Good(at) {
			continue // it is not what was meant: nothing to hold the others against
		}
		if seen[c.Name] {
			r.Problem(at, "name", fmt.Sprintf("%q is the name of another budget: give each its own", c.Name))
		}
		seen[c.Name] = true
		for i := range l.criteria {
			if text := contradiction(&c, &l.criteria[i]); text != "" {
				r.Problem(at, "", text)
			}
		}
		l.criteria = append(l.criteria, c)
	}
}

// sharesPackets says whether the kind counts the packets that a share is taken of.
func sharesPackets(k probes.Kind, c *Criterion) bool {
	return c.Statistic.Form == Share && slices.Contains(k.Metrics, probes.PacketsSent)
}

// probe finds or adds the probe of an entry and returns its index, −1 for an entry without one.
func (l *entryList) probe(r *configs.Report, e *Entry, n *yaml.Node, path string) int {
	if e.Probe.node == nil {
		return -1
	}
	head := struct {
		Kind string `yaml:"kind" help:"kind of the probe" required:"true"`
	}{}
	if e.Probe.node.Kind == yaml.ScalarNode { // "probe: stamp" for one with all defaults
		head.Kind = e.Probe.node.Value
	} else {
		for i := 0; i+1 < len(e.Probe.node.Content); i += 2 {
			if e.Probe.node.Content[i].Value == "kind" {
				head.Kind = e.Probe.node.Content[i+1].Value
			}
		}
	}
	kind, err := l.kinds.Find(head.Kind)
	if err != nil {
		if e.Probe.node.Kind == yaml.ScalarNode {
			r.Problem(r.At(n, path), "probe", err.Error())
		} else {
			r.Problem(r.At(e.Probe.node, e.Probe.path), "kind", err.Error())
		}
		return -1
	}
	spec := ProbeSpec{Kind: kind, Config: kind.NewConfig(), Target: e.Target}
	if e.Probe.node.Kind != yaml.ScalarNode {
		r.Decode(e.Probe.node, e.Probe.path, &head, spec.Config)
	}
	for i, p := range l.probes {
		if p.Kind.Name == kind.Name && p.Target == spec.Target && reflect.DeepEqual(p.Config, spec.Config) {
			return i
		}
	}
	l.probes = append(l.probes, spec)
	return len(l.probes) - 1
}

// noLimit is the limit of a budget that is only compared with a baseline.
func noLimit() float64 { return math.NaN() }
