package cli

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// reachFlags say by which interface a far end is reached and why it is trusted.
type reachFlags struct {
	interfaceName, family string
	sourceFallback        bool
	dns                   []string
	pin, caFile           string
	insecure              bool
	site                  string
}

// addSite is for commands that load the link.
func (f *reachFlags) addSite(flags *pflag.FlagSet) {
	flags.StringVar(&f.site, "site", "", "site to which this link belongs: a reflector lets one load test of a site run at a time (default: the address it sees)")
}

func (f *reachFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.interfaceName, "interface", "", "network interface to send on, for instance wwan0")
	flags.StringVar(&f.family, "ip-family", "any", "address family to use (any, 4, 6)")
	flags.BoolVar(&f.sourceFallback, "source-fallback", false, "bind to the interface's address where the kernel refuses the interface itself; routes may then send packets out by another one")
	flags.StringSliceVar(&f.dns, "dns", nil, "name server to ask through the interface, as address or address:port (default: the system resolves names its own way)")
	flags.StringVar(&f.pin, "pin", "", "accept only this certificate, as sha256:HEX")
	flags.StringVar(&f.caFile, "ca", "", "accept certificates of the authorities in this PEM file")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate")
}

// env is what a one-shot command lets its probe touch. A certificate seen for the first time is trusted and remembered,
// unless a flag says otherwise; that of a server which is not ours is verified by the system's authorities.
func (f *reachFlags) env(p *Process, kind probes.Kind, log *slog.Logger) (probes.Env, error) {
	network, err := host.New(host.Config{Interface: f.interfaceName, Family: f.family, DNS: f.dns, SourceFallback: f.sourceFallback, Log: log})
	if err != nil {
		return probes.Env{}, usage("%w", err)
	}
	policy, err := f.policy(p, kind)
	if err != nil {
		return probes.Env{}, err
	}
	return probes.Env{Net: network, Log: log, Rand: newRand(), TLS: policy.TLS, Agent: hostName(), Site: f.site}, nil
}

// policy says why a far end is trusted. What is wrong with the flags themselves shows at once.
func (f *reachFlags) policy(p *Process, kind probes.Kind) (trust.Policy, error) {
	policy := trust.Policy{Pin: f.pin, CAFile: f.caFile, Insecure: f.insecure}
	if f.pin == "" && f.caFile == "" && !f.insecure {
		if kind.Foreign {
			return policy, nil
		}
		path, err := dataPath(p, "known_hosts")
		if err != nil {
			return policy, err
		}
		policy.Known = trust.NewKnownHosts(path)
		return policy, nil
	}
	if _, err := policy.Config(probes.Target{Host: "localhost"}); err != nil {
		return policy, usage("%w", err)
	}
	return policy, nil
}

// dataPath is a file or folder of ours under the user's data folder (XDG base directories).
func dataPath(p *Process, name string) (string, error) {
	if dir, ok := p.LookupEnv("XDG_DATA_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "nrprobe", name), nil
	}
	home, ok := p.LookupEnv("HOME")
	if !ok || home == "" {
		return "", usage("neither HOME nor XDG_DATA_HOME is set: set one of them, or name every path")
	}
	return filepath.Join(home, ".local", "share", "nrprobe", name), nil
}

// newRand is seeded by the system: tests have their own.
func newRand() *mathrand.Rand {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // crypto/rand.Read never returns an error
	return mathrand.New(mathrand.NewChaCha8(seed))
}

// newBoot names this start of the program.
func newBoot() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	return hex.EncodeToString(b[:])
}

// hostName is the default name of an agent.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unnamed"
	}
	return name
}
