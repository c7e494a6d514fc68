//go:build !edge

package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/configs/demo"
)

func newDemo(p *Process) *cobra.Command {
	var trace string
	o := demo.Options{Kinds: p.Kinds, FarEnds: p.FarEnds, Version: p.Version, Out: p.Stdout}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything at once over an emulated 5G link",
		Long: `Runs a reflector, an emulated 5G drive for each of some agents, and a collector with its page, all in this process and
on free ports of the loopback interface. No root, no other server, nothing left behind.

The drive is made from a seed: stand-alone and non-stand-alone cells, a stretch of LTE, handovers, one outage of some
seconds. --trace replays a recorded one: a CSV with the columns t_s,dl_mbps,ul_mbps,rtt_ms[,rat] or
pub_unix_ms,rtt_ms[,cell_id,sinr_db,rsrp_dbm].`,
		Example: `  nrprobe demo
  nrprobe demo --listen 127.0.0.1:8086 --agents 5
  nrprobe demo --trace drive.csv`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Agents < 1 || o.Agents > 50 {
				return usage("--agents %d: want 1 to 50", o.Agents)
			}
			if trace != "" {
				recorded, err := demo.LoadTrace(trace)
				if err != nil {
					return usage("%w", err)
				}
				o.Trace = recorded
			}
			if !cmd.Flags().Changed("log-level") {
				if err := cmd.Flags().Set("log-level", slog.LevelWarn.String()); err != nil {
					return err
				}
			}
			log, err := p.logger(cmd)
			if err != nil {
				return err
			}
			o.Log = log
			return refused(cmd.Context(), demo.Run(cmd.Context(), o))
		},
	}
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the drives")
	cmd.Flags().StringVar(&trace, "trace", "", "CSV file of a recorded drive to replay")
	cmd.Flags().IntVar(&o.Agents, "agents", 2, "how many agents drive")
	cmd.Flags().StringVar(&o.Listen, "listen", "", "address of the collector (default: a free port of the loopback interface)")
	cmd.Flags().StringVar(&o.Data, "data", "", "folder to keep queue and store in (default: a temporary one, removed at the end)")
	return cmd
}
