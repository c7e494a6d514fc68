//go:build !edge

package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/collector"
	sinksall "github.com/nrprobe/nrprobe/collector/sinks/all"
)

// serverCommands are the commands that an edge build leaves out.
func serverCommands(p *Process) []*cobra.Command {
	return []*cobra.Command{newCollector(p), newDemo(p)}
}

// serverRoles are the configuration files that only those commands read.
func serverRoles() []role {
	return []role{{"collector", []string{"queue", "sinks", "tokens_file"}, checkCollector}}
}

type collectorFlags struct{ file, listen, data string }

func newCollector(p *Process) *cobra.Command {
	var flags collectorFlags
	cmd := &cobra.Command{
		Use:   "collector",
		Short: "Receive what agents deliver, store it, forward it and show it",
		Long: `Accepts InfluxDB line protocol on POST /api/v2/write and acknowledges a batch only when it is on disk; from there each
sink gets it: an InfluxDB or any v2-write store, and an embedded Prometheus store with PromQL. The same port serves a page
with all agents, the Prometheus query API (so that Grafana can use it as a data source) and /metrics of the fleet.

Without a file it keeps everything in one folder and listens on :8086. SIGHUP reads the tokens again.`,
		Example: `  nrprobe collector
  nrprobe collector --data /var/lib/nrprobe-collector --listen 127.0.0.1:8086
  nrprobe collector -c /etc/nrprobe/collector.yaml`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCollector(cmd, p, flags) },
	}
	cmd.Flags().StringVarP(&flags.file, "config", "c", "", "configuration file (YAML)")
	cmd.Flags().StringVar(&flags.listen, "listen", "", "address to listen on (default :8086, or what the file says)")
	cmd.Flags().StringVar(&flags.data, "data", "", "folder for queue and store, without a file (default: the user's data folder)")
	return cmd
}

func runCollector(cmd *cobra.Command, p *Process, flags collectorFlags) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	config, err := loadCollector(p, flags)
	if err != nil {
		return err
	}
	if flags.listen != "" {
		config.Listen = flags.listen
	}
	c, err := collector.New(config, collector.Deps{Log: log, Version: p.Version})
	if err != nil {
		return refused(cmd.Context(), err)
	}
	return serve(cmd.Context(), log, c.Run, func() {
		if err := c.Reload(); err != nil {
			log.Error("the tokens file is wrong; the old tokens stay", "error", err)
		}
	})
}

func loadCollector(p *Process, flags collectorFlags) (*collector.Config, error) {
	if flags.file != "" && flags.data != "" {
		return nil, usage("--config and --data exclude each other: write the folders into the file")
	}
	if flags.file != "" {
		return collector.Load(flags.file, sinksall.Kinds())
	}
	data := flags.data
	if data == "" {
		path, err := dataPath(p, "collector")
		if err != nil {
			return nil, err
		}
		data = path
	}
	absolute, err := filepath.Abs(data)
	if err != nil {
		return nil, usage("--data %s: %w", data, err)
	}
	return collector.Default(absolute, sinksall.Kinds())
}

// checkCollector is what `config check` does for a collector's file.
func checkCollector(_ *Process, path string) error {
	_, err := collector.Load(path, sinksall.Kinds())
	return err
}
