package collector

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nrprobe/nrprobe/collector/ingest"
	"github.com/nrprobe/nrprobe/collector/query"
	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
)

// Config is collector.yaml.
type Config struct {
	Listen     string        `yaml:"listen" help:"address of the write API, the query API, the page and /metrics"`
	TLS        TLSConfig     `yaml:"tls"`
	TokensFile string        `yaml:"tokens_file" help:"file that lists who may write and read; without it everybody may"`
	Reading    string        `yaml:"reading" help:"whether reading (query API, fleet, /metrics) needs a token where there are tokens" oneof:"token,open"`
	Queue      queue.Config  `yaml:"queue"`
	Sinks      Sinks         `yaml:"sinks"`
	Limits     ingest.Limits `yaml:"limits"`
	Query      query.Config  `yaml:"query"`
	Forget     time.Duration `yaml:"forget" help:"how long an agent that is not heard of stays on the page and on /metrics" min:"1m"`
	Grace      time.Duration `yaml:"grace" help:"how long sinks may take to store what waits when the collector ends" min:"0s" max:"10m"`
}

// TLSConfig is how the collector proves who it is. Both or none.
type TLSConfig struct {
	Cert string `yaml:"cert" help:"file with the certificate chain, PEM"`
	Key  string `yaml:"key" help:"file with its private key, PEM"`
}

// Validate implements configs.Validator.
func (c *TLSConfig) Validate(r *configs.Report, at configs.At) {
	if (c.Cert == "") != (c.Key == "") {
		r.Problem(at, "", "want both cert and key, or none of them")
	}
}

// Sinks is the list of sinks. The catalog says which kinds there are.
type Sinks struct {
	// Kinds of sinks that a file may name.
	Kinds catalog.Catalog[sinks.Kind]
	List  []SinkConfig
}

// SinkConfig is one sink: its kind, its name and the kind's own configuration.
type SinkConfig struct {
	Kind sinks.Kind
	// Name is the sink's place in the queue. It must not change while the queue holds data for the sink.
	Name string
	// Config is what Kind.NewConfig returned.
	Config any
}

// sinkHead are the keys that all kinds share.
type sinkHead struct {
	Kind string `yaml:"kind" help:"kind of the sink" required:"true"`
	Name string `yaml:"name" help:"name of the sink, for logs and metrics; the kind when left out"`
}

// DecodeNode implements configs.NodeDecoder: the key kind names the type of the other keys.
func (s *Sinks) DecodeNode(r *configs.Report, n *yaml.Node, path string) {
	s.List = nil
	if n.Kind != yaml.SequenceNode {
		r.Problem(r.At(n, path), "", "want a list of sinks here")
		return
	}
	taken := map[string]bool{}
	for i, item := range n.Content {
		one, ok := s.decode(r, item, fmt.Sprintf("%s[%d]", path, i))
		if !ok {
			continue
		}
		if taken[one.Name] {
			r.Problem(r.At(item, fmt.Sprintf("%s[%d]", path, i)), "name", "two sinks are named "+one.Name+": give each its own name")
		}
		taken[one.Name] = true
		s.List = append(s.List, one)
	}
}

func (s *Sinks) decode(r *configs.Report, n *yaml.Node, path string) (one SinkConfig, ok bool) {
	word := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" {
			word = n.Content[i+1].Value
		}
	}
	kind, err := s.Kinds.Find(word)
	if err != nil {
		if word == "" {
			r.Problem(r.At(n, path), "", "want a mapping with the key kind")
		} else {
			r.Problem(r.At(n, path), "kind", err.Error())
		}
		return one, false
	}
	var head sinkHead
	one = SinkConfig{Kind: kind, Config: kind.NewConfig()}
	r.Decode(n, path, &head, one.Config)
	if one.Name = head.Name; one.Name == "" {
		one.Name = kind.Name
	}
	return one, true
}

// Validate implements configs.Validator.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		r.Problem(at, "listen", fmt.Sprintf("%q is not an address with a port: write it like :8086 or 127.0.0.1:8086", c.Listen))
	}
	if c.Queue.Path == "" {
		r.Problem(at, "queue", "path is required: the folder in which accepted data is kept until every sink has it")
	}
	if len(c.Sinks.List) == 0 {
		r.Problem(at, "sinks", "want at least one sink, such as {kind: tsdb, path: /var/lib/nrprobe-collector/tsdb}")
	}
	for i, s := range c.Sinks.List {
		if s.Name == ingest.SeenReader {
			r.Problem(at, "sinks", "sinks["+strconv.Itoa(i)+"]: the name is reserved")
		}
	}
}

// Default is the configuration that holds without a file: everything in one data folder, the embedded store the only
// sink. With an empty folder neither queue nor sinks are set, which is where a file starts from.
func Default(data string, kinds catalog.Catalog[sinks.Kind]) (*Config, error) {
	c := &Config{
		Listen: ":8086", Reading: "token",
		Queue: queue.Defaults(), Limits: ingest.Defaults(), Query: query.Defaults(),
		Sinks: Sinks{Kinds: kinds},
		// An hour shows who went away; Prometheus remembers the rest.
		Forget: time.Hour,
		// What is not stored in time waits in the queue for the next start.
		Grace: 10 * time.Second,
	}
	if data == "" {
		return c, nil
	}
	c.Queue.Path = filepath.Join(data, "queue")
	kind, err := kinds.Find("tsdb")
	if err != nil {
		return nil, err
	}
	store := SinkConfig{Kind: kind, Name: kind.Name, Config: kind.NewConfig()}
	for _, f := range catalog.Fields(store.Config) {
		if f.Key == "path" {
			if err := f.Set(filepath.Join(data, "tsdb")); err != nil {
				return nil, err
			}
		}
	}
	c.Sinks.List = []SinkConfig{store}
	return c, nil
}

// Load reads collector.yaml. The error lists everything that is wrong with it.
func Load(path string, kinds catalog.Catalog[sinks.Kind]) (*Config, error) {
	c, err := Default("", kinds)
	if err != nil {
		return nil, err
	}
	if err := configs.LoadFile(path, c); err != nil {
		return nil, err
	}
	return c, nil
}
