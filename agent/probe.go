package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nrprobe/nrprobe/agent/schedule"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// Probe is one entry of the section "probes". Keys that are not here belong to the kind's own configuration.
type Probe struct {
	Name      string            `yaml:"name" help:"name of the probe, distinct within the agent; label of its results" required:"true"`
	Kind      string            `yaml:"kind" help:"what is measured, and how: stamp, tcp, quic, throughput, ..." required:"true"`
	Target    string            `yaml:"target" help:"far end: host or host:port" required:"true"`
	Every     time.Duration     `yaml:"every" help:"period in which it runs once, at a time drawn anew each period; 30s, or 1h for load tests" min:"1s" max:"31d"`
	Interface string            `yaml:"interface" help:"network interface to measure over; the default route when empty"`
	IPFamily  string            `yaml:"ip_family" help:"address family to measure over; both makes two probes, NAME-4 and NAME-6, with the label ip_family" oneof:"any,4,6,both"`
	DNS       []string          `yaml:"dns" help:"name servers to ask through the interface, as address or address:port; the system resolves names its own way when left out, which may be over another interface"`
	Source    bool              `yaml:"source_fallback" help:"bind to the interface's address where the kernel refuses the interface itself; routes may then send packets out by another one"`
	Pin       string            `yaml:"pin" help:"SHA-256 of the far end's certificate, in place of an authority"`
	CA        string            `yaml:"ca" help:"file with the certificates of the authorities to trust instead of the host's"`
	Insecure  bool              `yaml:"insecure" help:"take any certificate"`
	Timeout   time.Duration     `yaml:"timeout" help:"how long a run may take; the kind knows when this is left out" min:"100ms" max:"1d"`
	Labels    map[string]string `yaml:"labels" help:"labels of the probe's results, on top of the agent's"`
	// Settings is what NewConfig of the kind returned, with the entry's other keys read into it.
	Settings any `yaml:"-"`
}

// NewProbe is an entry with all defaults, as the command line makes it.
func NewProbe(kind probes.Kind, name, target string) Probe {
	p := Probe{Name: name, Kind: kind.Name, Target: target, IPFamily: "any", Settings: kind.NewConfig()}
	p.complete(kind)
	return p
}

// bothFamilies is the word for a probe over each family.
const bothFamilies = "both"

// families is the entry itself, or one entry for each family where both are wanted.
func (p *Probe) families() []Probe {
	if p.IPFamily != bothFamilies {
		return []Probe{*p}
	}
	var list []Probe
	for _, family := range []string{"4", "6"} {
		one := *p
		one.IPFamily, one.Name = family, p.Name+"-"+family
		one.Labels = maps.Clone(p.Labels)
		if one.Labels == nil {
			one.Labels = map[string]string{}
		}
		one.Labels["ip_family"] = family
		list = append(list, one)
	}
	return list
}

// continuous says whether the probe measures without end.
func (p *Probe) continuous(kind probes.Kind) bool {
	return kind.Continuous && kind.Timeout(p.Settings) == 0
}

// complete fills in what depends on the kind.
func (p *Probe) complete(kind probes.Kind) {
	switch {
	case p.Every != 0 || p.continuous(kind):
	case kind.Lane == probes.Load:
		p.Every = loadEvery
	default:
		p.Every = latencyEvery
	}
}

// timeout is how long a run may take; 0 for a continuous probe.
func (p *Probe) timeout(kind probes.Kind) time.Duration {
	if p.Timeout != 0 && !p.continuous(kind) {
		return p.Timeout
	}
	return kind.Timeout(p.Settings)
}

func (p *Probe) pass(kind probes.Kind) schedule.Pass {
	return schedule.Pass{Interface: p.Interface, Lane: kind.Lane, Yields: p.continuous(kind)}
}

func (p *Probe) trust(kind probes.Kind, known *trust.KnownHosts) trust.Policy {
	policy := trust.Policy{Pin: p.Pin, CAFile: p.CA, Insecure: p.Insecure}
	if policy == (trust.Policy{}) && !kind.Foreign {
		policy.Known = known
	}
	return policy
}

// build makes the probe's measurement. It opens nothing.
func (p *Probe) build(kind probes.Kind, env probes.Env) (probes.Probe, error) {
	target, err := probes.ParseTarget(p.Target, kind.Port)
	if err != nil {
		return nil, err
	}
	return kind.Build(p.Settings, env, target)
}

// check reports what is wrong with an entry beside what was wrong with each of its keys.
func (p *Probe) check(r *configs.Report, at configs.At, kind probes.Kind) {
	if !validName(p.Name) {
		r.Problem(at, "name", fmt.Sprintf("%q is no name: want 1 to 64 visible characters without spaces", p.Name))
	}
	checkLabels(r, at, p.Labels)
	if p.Every != 0 && r.Good(at) && p.continuous(kind) {
		r.Problem(at, "every", fmt.Sprintf("this %s probe measures without end, so it is not started again: leave every out, or give it an end", p.Kind))
	}
	ways := 0
	for _, given := range []bool{p.Pin != "", p.CA != "", p.Insecure} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		r.Problem(at, "", "pin, ca and insecure exclude each other: keep one way to trust the far end")
	}
	if p.IPFamily == bothFamilies {
		for _, f := range catalog.Fields(p.Settings) {
			if f.Key == "trace" && !f.IsZero() {
				r.Problem(at, f.Key, "is one file, and with ip_family both there are two measurements: make a probe for each family")
			}
		}
	}
	for _, server := range p.DNS {
		_, addrErr := netip.ParseAddr(server)
		if to, err := netip.ParseAddrPort(server); addrErr != nil && (err != nil || to.Port() == 0) {
			r.Problem(at, "dns", fmt.Sprintf("%q is no name server: want an address, like 192.0.2.53 or [2001:db8::53]:53", server))
		}
	}
	if p.Pin != "" {
		if _, err := trust.ParsePin(p.Pin); err != nil {
			r.Problem(at, "pin", err.Error())
		}
	}
	if _, err := probes.ParseTarget(p.Target, kind.Port); err != nil {
		r.Problem(at, "target", err.Error())
		return
	}
	if _, err := p.build(kind, noEnv()); err != nil {
		r.Problem(at, "", err.Error())
	}
}

// probeList reads the section "probes".
type probeList struct {
	kinds  catalog.Catalog[probes.Kind]
	list   []Probe
	places []configs.At // of the entries
}

// DecodeNode implements configs.NodeDecoder.
func (l *probeList) DecodeNode(r *configs.Report, n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		var none struct {
			Probes []string `yaml:"probes"`
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: path, Line: n.Line}
		r.Decode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, n}}, "", &none) // says that a list is wanted
		return
	}
	seen := map[string]bool{}
	for i, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		e := probeEntry{kinds: l.kinds, seen: seen}
		e.DecodeNode(r, item, fmt.Sprintf("%s[%d]", path, i))
		for _, p := range e.families() {
			l.list = append(l.list, p)
			l.places = append(l.places, r.At(item, fmt.Sprintf("%s[%d]", path, i)))
		}
	}
}

// probeEntry is a Probe while it is read.
type probeEntry struct {
	Probe
	kinds catalog.Catalog[probes.Kind]
	seen  map[string]bool // names of the entries before
	kind  probes.Kind
}

// DecodeNode implements configs.NodeDecoder: the key kind decides which other keys there are. A key that both know
// belongs to the kind.
func (e *probeEntry) DecodeNode(r *configs.Report, n *yaml.Node, path string) {
	e.IPFamily = "any"
	var key struct {
		Kind yaml.Node `yaml:"kind"`
	}
	_ = n.Decode(&key) // what is wrong with the entry itself is reported below
	kind, err := e.kinds.Find(key.Kind.Value)
	if err != nil {
		e.unknownKind(r, n, path, err)
		return
	}
	e.kind, e.Settings = kind, kind.NewConfig()
	r.Decode(n, path, e.Settings, e)
}

// Validate implements configs.Validator.
func (e *probeEntry) Validate(r *configs.Report, at configs.At) {
	if e.seen[e.Name] {
		r.Problem(at, "name", fmt.Sprintf("%q is the name of another probe: names are distinct", e.Name))
	}
	e.seen[e.Name] = true
	e.check(r, at, e.kind)
	e.complete(e.kind)
}

// unknownKind reports an entry of which nothing else can be checked, because the kind decides which keys there are.
func (e *probeEntry) unknownKind(r *configs.Report, n *yaml.Node, path string, err error) {
	only := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" {
			only.Content = append(only.Content, n.Content[i], n.Content[i+1])
		}
	}
	r.Decode(only, path, &kindOnly{err: err})
}

// kindOnly is an entry with a kind that is none.
type kindOnly struct {
	Kind string `yaml:"kind" required:"true"`
	err  error
}

// Validate implements configs.Validator.
func (k *kindOnly) Validate(r *configs.Report, at configs.At) { r.Problem(at, "kind", k.err.Error()) }

// noEnv is an environment in which probes can be built and nothing else.
func noEnv() probes.Env {
	return probes.Env{
		Net: noNetwork{}, Log: slog.New(slog.DiscardHandler), Rand: rand.New(rand.NewPCG(0, 0)),
		TLS: func(probes.Target) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS13} },
	}
}

var errNoNetwork = errors.New("a configuration that is only checked opens nothing")

type noNetwork struct{}

func (noNetwork) Resolve(context.Context, string) ([]netip.Addr, error) { return nil, errNoNetwork }

func (noNetwork) Dial(context.Context, string, string) (net.Conn, error) { return nil, errNoNetwork }

func (noNetwork) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errNoNetwork
}

func (noNetwork) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errNoNetwork
}
