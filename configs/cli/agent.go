package cli

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/agent"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// defaultAgent is the configuration of an agent that was started with --target and --to instead of a file.
//
//go:embed agent.default.yaml
var defaultAgent []byte

type agentFlags struct {
	file, target, to, name string
	once, asJSON           bool
}

func newAgent(p *Process) *cobra.Command {
	var flags agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Measure on schedule, keep the results and deliver them",
		Long: `Runs the probes of a configuration file for ever: results are kept on disk while the uplink is down, delivered by the
InfluxDB v2 write API (to a collector or to InfluxDB itself), and shown on the agent's own /metrics.

Without a file, --target and --to are enough: STAMP, TCP and QUIC probes that use about 70 MB of data a day.
SIGHUP reads the file again; a file that is wrong is reported, and the old configuration stays.`,
		Example: `  nrprobe agent -c /etc/nrprobe/agent.yaml
  nrprobe agent --target reflector.example --to http://collector.example:8086
  nrprobe agent -c agent.yaml --once --json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd, p, flags) },
	}
	cmd.Flags().StringVarP(&flags.file, "config", "c", "", "configuration file (YAML)")
	cmd.Flags().StringVar(&flags.target, "target", "", "reflector to measure against, without a file")
	cmd.Flags().StringVar(&flags.to, "to", "", "address to deliver to, without a file: http://HOST:8086")
	cmd.Flags().StringVar(&flags.name, "name", "", "name of this agent, without a file (default: the host's name)")
	cmd.Flags().BoolVar(&flags.once, "once", false, "run every probe once, deliver, print the results and end")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "with --once: print one JSON object a result")
	return cmd
}

func runAgent(cmd *cobra.Command, p *Process, flags agentFlags) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	config, err := loadAgent(p, flags)
	if err != nil {
		return err
	}
	known, err := dataPath(p, "known_hosts")
	if err != nil {
		known = filepath.Join(config.Outbox.Path, "known_hosts") // a service of a router may have no home
	}
	deps := agent.Deps{
		Kinds: p.Kinds,
		Network: func(w agent.Way) (probes.Network, error) {
			return host.New(host.Config{Interface: w.Interface, Family: w.Family, DNS: w.DNS, SourceFallback: w.SourceFallback, Log: log})
		},
		Known: trust.NewKnownHosts(known), Log: log, Version: p.Version,
	}
	var worst error
	if flags.once {
		deps.OnResult = func(r *probes.Result) { worst = errors.Join(worst, p.printOnce(r, flags.asJSON)) }
	}
	a, err := agent.New(config, deps)
	if err != nil {
		return usage("%w", err)
	}
	if flags.once {
		err := a.Once(cmd.Context()) // it calls OnResult until it returns
		return p.endOnce(cmd.Context(), worst, err)
	}
	return serve(cmd.Context(), log, a.Run, func() { reload(a, log, func() (*agent.Config, error) { return loadAgent(p, flags) }) })
}

// endOnce decides how --once ended. The first probe that failed has the exit code, and Ctrl-C before all of them; what was not
// delivered is said in any case.
func (p *Process) endOnce(ctx context.Context, worst, err error) error {
	switch {
	case ctx.Err() != nil:
		if left, ok := errors.AsType[*agent.LeftBehind](err); ok {
			p.complain(left)
		}
		return &exitError{code: exitInterrupted}
	case worst == nil:
		return err
	case err != nil:
		p.complain(err)
	}
	return worst
}

func loadAgent(p *Process, flags agentFlags) (*agent.Config, error) {
	switch {
	case flags.file != "" && (flags.target != "" || flags.to != "" || flags.name != ""):
		return nil, usage("--config and --target, --to, --name exclude each other: write them into the file")
	case flags.file != "":
		return agent.Load(flags.file, p.Kinds)
	case flags.target == "" || flags.to == "":
		return nil, usage("want a configuration file (-c agent.yaml), or both --target HOST and --to URL: see nrprobe agent --help")
	}
	// STAMP, TCP and QUIC are on ports of their own, so one port cannot be right for all of them.
	if target, err := probes.ParseTarget(flags.target, 0); err != nil || target.Port != 0 {
		return nil, usage("--target %q: want a host without a port; other ports than the reflector's own need a file (-c)", flags.target)
	}
	name := flags.name
	if name == "" {
		name = hostName()
	}
	outbox, err := dataPath(p, "outbox")
	if err != nil {
		return nil, err
	}
	values := map[string]string{"NAME": name, "TARGET": flags.target, "TO": flags.to, "OUTBOX": outbox}
	lookup := func(key string) (string, bool) { v, ok := values[key]; return v, ok }
	return agent.Parse("--target and --to", defaultAgent, lookup, p.Kinds)
}

func reload(a *agent.Agent, log *slog.Logger, load func() (*agent.Config, error)) {
	config, err := load()
	if err != nil {
		a.ReloadFailed(err)
		log.Error("the new configuration is wrong; the old one stays", "error", err)
		return
	}
	if err := a.Reload(config); err != nil {
		log.Error("the new configuration cannot be put in force; the old one stays", "error", err)
		return
	}
	log.Info("configuration reloaded")
}

// printOnce prints a result of --once; one that is not ok is an error at the end.
func (p *Process) printOnce(r *probes.Result, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(p.Stdout).Encode(r); err != nil {
			return err
		}
	} else if err := printResult(p.Stdout, r); err != nil {
		return err
	}
	return resultError(r, asJSON)
}

// checkAgent is what `config check` does for an agent's file.
func checkAgent(p *Process, path string) error {
	_, err := agent.Load(path, p.Kinds)
	return err
}
