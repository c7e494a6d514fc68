package cli

import (
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/reflector"
)

func newReflector(p *Process) *cobra.Command {
	var file, data string
	cmd := &cobra.Command{
		Use:   "reflector",
		Short: "Serve the far end of every kind of probe",
		Long: `Answers what probes send: STAMP on UDP 862 (where the process may open it) and 8620, plain TCP on 8620, TLS and QUIC on
8443. A certificate is made at first start and kept; its pin is logged, for agents to hold it to.

It needs no configuration. Open these ports on the way: UDP 8620, TCP 8620, UDP 8443, TCP 8443.`,
		Example: `  nrprobe reflector
  nrprobe reflector --data /var/lib/nrprobe-reflector
  nrprobe reflector -c /etc/nrprobe/reflector.yaml`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runReflector(cmd, p, file, data) },
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file (YAML)")
	cmd.Flags().StringVar(&data, "data", "", "folder for the certificate (default: the user's data folder)")
	return cmd
}

func runReflector(cmd *cobra.Command, p *Process, file, data string) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	config, err := loadReflector(p, file)
	if err != nil {
		return err
	}
	if data != "" {
		config.Data = data
	}
	network, err := host.New(host.Config{})
	if err != nil {
		return err
	}
	r, err := reflector.New(config, network, log, p.FarEnds(log)...)
	if err != nil {
		return err
	}
	announced := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(announced)
		select {
		case <-r.Ready():
			announceReflector(log, r)
		case <-over:
		}
	}()
	err = r.Run(cmd.Context())
	close(over)
	<-announced
	return ended(cmd.Context(), err)
}

func announceReflector(log *slog.Logger, r *reflector.Reflector) {
	texts := func(list []net.Addr) []string {
		out := make([]string, len(list))
		for i, a := range list {
			out[i] = a.String()
		}
		return out
	}
	a := r.Addrs()
	log.Info("ready", "stamp", texts(a.STAMP), "tcp", texts(a.Streams), "tls", texts(a.TLS), "quic", texts(a.QUIC), "pin", r.Pin())
}

// loadReflector reads the file, if any, on top of the defaults. The certificate's folder is the user's data folder
// unless something else is said.
func loadReflector(p *Process, file string) (reflector.Config, error) {
	config := reflector.Defaults()
	if file != "" {
		if err := configs.LoadFile(file, &config); err != nil {
			return config, err
		}
	}
	if config.Data == "" && config.CertFile == "" {
		data, err := dataPath(p, "reflector")
		if err != nil {
			return config, err
		}
		config.Data = data
	}
	return config, nil
}

// checkReflector is what `config check` does for a reflector's file.
func checkReflector(p *Process, path string) error {
	_, err := loadReflector(p, path)
	return err
}
