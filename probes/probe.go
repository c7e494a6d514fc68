package probes

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Probe measures one thing against one target.
type Probe interface {
	// Measure blocks until the measurement is complete or ctx ends, and takes down in the recorder what it sees as it
	// sees it. When ctx ends early it returns ctx's error after having taken down what came in until then. It returns
	// only when every goroutine it started has ended and every socket it opened is closed. The runner calls it again for
	// the next run, never twice at once.
	Measure(ctx context.Context, r *Recorder) error
}

// ProbeFunc is a function that is a Probe.
type ProbeFunc func(ctx context.Context, r *Recorder) error

// Measure implements Probe.
func (f ProbeFunc) Measure(ctx context.Context, r *Recorder) error { return f(ctx, r) }

// Lane says what may run at the same time on one interface.
type Lane uint8

// The lanes.
const (
	// Latency probes are light. They run at any time but not while a load probe has the interface.
	Latency Lane = iota
	// Load probes fill the link. One runs at a time, and no latency probe beside it.
	Load
)

// String names the lane.
func (l Lane) String() string { return [...]string{"latency", "load"}[l] }

// Target is the far end of a probe as the user wrote it: a host name or address, with a port where one was given.
type Target struct {
	Host string
	Port uint16 // the kind's default when the user gave none; 0 for kinds without ports
	Text string // as the user wrote it; label "target" of the Result
}

// Address is host:port for net.Dial.
func (t Target) Address() string {
	return net.JoinHostPort(t.Host, portText(t.Port))
}

// Env is all that a probe may touch of the outside. Under test it is a netsim network in virtual time.
type Env struct {
	// Net opens sockets on the interface that the user chose. Never nil.
	Net Network
	// Log is for what happens beside the measurement. Never nil.
	Log *slog.Logger
	// Rand is the only source of randomness, seeded under test. Never nil. It is not safe for concurrent use.
	Rand *rand.Rand
	// TLS returns a configuration that verifies the far end as the user chose: by its pin, by an authority, or on first
	// use. The caller adds its ALPN protocols and may change the copy it got. Never nil.
	TLS func(t Target) *tls.Config
	// Agent and Site say who measures and where, to far ends that let one load test of a site run at a time. Without a site
	// they take the address.
	Agent, Site string
}

// Network opens sockets. The host's own is package host; netsim has emulated ones.
// All methods are safe for concurrent use.
type Network interface {
	// Resolve returns the addresses of a host name, or of an address literal itself, preferred one first.
	Resolve(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address literal with port. network is "tcp" or "udp", with 4 or 6 behind it to insist.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// ListenPacket opens a UDP socket. An empty address means any port on the chosen interface.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// Listen opens a TCP listener.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
}

// Kind is a kind of probe: all that the command line, the configuration, the agent and the documentation need to know.
type Kind struct {
	// Name is the word in configuration files, in the command line and in the label "kind".
	Name string
	// Summary is one line without a full stop; Help says in some lines what is measured and what is not.
	Summary, Help string
	// Example is a command line that works against `nrprobe reflector` on the same host.
	Example string
	// Lane says what may run beside it.
	Lane Lane
	// Port is the default port of the target; 0 for kinds whose target has none.
	Port uint16
	// Continuous kinds can run without end and yield a Result per window.
	Continuous bool
	// Foreign kinds measure anybody's servers. Where the user says nothing else, the system's authorities verify these, and
	// not their first certificate seen, which public servers replace every few weeks.
	Foreign bool
	// Metrics are the words of the vocabulary that the kind can fill.
	Metrics []*Metric

	newConfig func() any
	build     func(config any, env Env, target Target) (Probe, error)
	timeout   func(config any) time.Duration
}

// CatalogName implements catalog.Named.
func (k Kind) CatalogName() string { return k.Name }

// NewConfig returns a pointer to a fresh configuration struct that holds the kind's defaults.
func (k Kind) NewConfig() any { return k.newConfig() }

// Build makes a probe from a configuration that NewConfig returned. It opens nothing. The error names the setting.
func (k Kind) Build(config any, env Env, target Target) (Probe, error) {
	return k.build(config, env, target)
}

// Timeout is how long one run with that configuration may take before the runner ends it; 0 for as long as ctx lasts.
func (k Kind) Timeout(config any) time.Duration { return k.timeout(config) }

// Config is what the typed configuration of a kind can do. *C must implement it for Define.
type Config interface {
	// Timeout is how long one run may take before the runner ends it, slack included; 0 for continuous measurement.
	Timeout() time.Duration
}

// Define completes a kind with its typed configuration: defaults makes a fresh one, build a probe from it.
func Define[C any, P interface {
	*C
	Config
}](k Kind, defaults func() C, build func(c C, env Env, target Target) (Probe, error)) Kind {
	k.newConfig = func() any { c := defaults(); return &c }
	k.build = func(config any, env Env, target Target) (Probe, error) { return build(*config.(*C), env, target) }
	k.timeout = func(config any) time.Duration { return P(config.(*C)).Timeout() }
	return k
}
