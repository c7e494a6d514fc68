package agent

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nrprobe/nrprobe/agent/outbox"
	"github.com/nrprobe/nrprobe/agent/plan"
	"github.com/nrprobe/nrprobe/agent/uplink"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// Config is all that agent.yaml says.
type Config struct {
	Agent   Identity              `yaml:"agent" help:"who measures"`
	Probes  []Probe               `yaml:"probes" help:"what is measured, how often and against whom"`
	Plan    map[string]plan.Limit `yaml:"plan" help:"how much data each interface may use; the one without a name is the default route"`
	Outbox  outbox.Config         `yaml:"outbox" help:"where results wait for delivery"`
	Uplink  uplink.Config         `yaml:"uplink" help:"where results are delivered to"`
	Metrics Metrics               `yaml:"metrics" help:"the agent's own page and /metrics"`
	Flight  string                `yaml:"flight_recorder" help:"folder for traces of the program's last seconds, one each time a result says that the probe itself was late; none when empty"`
}

// Identity is the section "agent".
type Identity struct {
	Name   string            `yaml:"name" help:"name of this agent, distinct in the fleet; the host's name when empty"`
	Labels map[string]string `yaml:"labels" help:"labels of every result: site, operator, slice, dnn, ..."`
}

// Metrics is the section "metrics".
type Metrics struct {
	Listen  string `yaml:"listen" help:"address of the agent's page and /metrics; off serves neither"`
	Classic bool   `yaml:"classic_histograms" help:"add classic buckets to native histograms, for scrapers that cannot read those"`
}

// Off is the word for no listener in Metrics.Listen.
const Off = "off"

// Default is the configuration as it is without a file: everything but probes and the address of the uplink.
func Default() *Config {
	name, err := os.Hostname()
	if err != nil || !validName(name) {
		name = "unnamed"
	}
	return &Config{
		Agent:   Identity{Name: name},
		Outbox:  outbox.Default(),
		Uplink:  uplink.Default(),
		Metrics: Metrics{Listen: "127.0.0.1:9464"},
	}
}

// Load reads a file on top of the defaults. The error is a configs.Problems, with every problem, when the file could be
// read but not accepted. Nothing is opened that the file names, and ${NAME} is an environment variable.
func Load(path string, kinds catalog.Catalog[probes.Kind]) (*Config, error) {
	doc := newDocument(kinds)
	if err := configs.LoadFile(path, doc); err != nil {
		return nil, err
	}
	return &doc.Config, nil
}

// Parse is Load for text. file is only quoted in problems; lookup resolves ${NAME}.
func Parse(file string, text []byte, lookup func(string) (string, bool), kinds catalog.Catalog[probes.Kind]) (*Config, error) {
	doc := newDocument(kinds)
	if err := configs.Load(file, text, lookup, doc); err != nil {
		return nil, err
	}
	return &doc.Config, nil
}

// document is a Config while it is read: the entries of probes need the catalog of kinds, and stand before the field of
// the same key in Config, so they get the key.
type document struct {
	Entries probeList `yaml:"probes"`
	Config
}

func newDocument(kinds catalog.Catalog[probes.Kind]) *document {
	return &document{Entries: probeList{kinds: kinds}, Config: *Default()}
}

// Validate implements configs.Validator.
func (d *document) Validate(r *configs.Report, at configs.At) {
	d.Probes = d.Entries.list
	if len(d.Probes) == 0 {
		r.Problem(at, "probes", "is empty: list at least one probe with name, kind and target")
	}
	if r.Good(at, "plan") {
		d.checkPlan(r, d.Entries.kinds)
	}
}

// Validate implements configs.Validator.
func (i *Identity) Validate(r *configs.Report, at configs.At) {
	if !validName(i.Name) {
		r.Problem(at, "name", fmt.Sprintf("%q is no name: want 1 to 64 visible characters without spaces", i.Name))
	}
	checkLabels(r, at, i.Labels)
}

// Validate implements configs.Validator.
func (m *Metrics) Validate(r *configs.Report, at configs.At) {
	if m.Listen == Off {
		return
	}
	if _, port, err := net.SplitHostPort(m.Listen); err != nil || port == "" {
		r.Problem(at, "listen", fmt.Sprintf("%q is not an address to listen on: write it like 127.0.0.1:9464, or off", m.Listen))
	}
}

func validName(name string) bool {
	bad := func(c rune) bool { return !unicode.IsPrint(c) || unicode.IsSpace(c) }
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, bad)
}

// Labels are kept to what Prometheus and InfluxDB both take, and few: each value multiplies the series of a store.
const (
	maxLabels     = 16
	maxLabelValue = 128
)

func checkLabels(r *configs.Report, at configs.At, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		value := labels[name]
		switch {
		case !isLabelName(name):
			r.Problem(at, "labels", fmt.Sprintf("%q is no name of a label: want letters, digits and _, beginning with a letter", name))
		case wire.Reserved(name) || slices.Contains([]string{"le", "quantile", "direction", "version", "lane"}, name):
			r.Problem(at, "labels", fmt.Sprintf("%q is a name that nrprobe or Prometheus uses itself: choose another", name))
		case value == "" || len(value) > maxLabelValue || strings.ContainsFunc(value, unicode.IsControl):
			r.Problem(at, "labels", fmt.Sprintf("the value of %q must have 1 to %d visible characters", name, maxLabelValue))
		}
	}
	if len(labels) > maxLabels {
		r.Problem(at, "labels", fmt.Sprintf("%d labels are more than the %d that a result may have", len(labels), maxLabels))
	}
}

func isLabelName(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// Pauses between runs of probes that say nothing of their own. A latency probe every 30 s is a few MB a month. A load test
// may move hundreds of MB, so an hour lies between two.
const (
	latencyEvery = 30 * time.Second
	loadEvery    = time.Hour
)
