package cli

import (
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/reflector"
)

// reflectorFlags are the flags of nrprobe reflector. What they set stands above the file.
type reflectorFlags struct {
	file, data                string
	stamp, streams, tls, quic []string
	iperf3                    []string
	stampKeyFile              string
}

func (f *reflectorFlags) add(to *pflag.FlagSet) {
	to.StringVarP(&f.file, "config", "c", "", "configuration file (YAML)")
	to.StringVar(&f.data, "data", "", "folder for the certificate (default: the user's data folder)")
	for _, port := range []struct {
		name, what string
		listen     *[]string
	}{
		{"stamp", "UDP `ADDRESS` for STAMP", &f.stamp},
		{"streams", "TCP `ADDRESS` for plain TCP probes", &f.streams},
		{"tls", "TCP `ADDRESS` for TLS", &f.tls},
		{"quic", "UDP `ADDRESS` for QUIC", &f.quic},
	} {
		to.StringSliceVar(port.listen, port.name, nil, port.what+"; may be repeated. The word off alone closes it")
	}
	to.StringVar(&f.stampKeyFile, "stamp-key-file", "", "`FILE` with the secret of authenticated STAMP, 16 bytes or more")
	to.StringSliceVar(&f.iperf3, "iperf3", nil, "answer iperf3 clients, on this `ADDRESS` or on port 5201 (--iperf3=:5202)")
	to.Lookup("iperf3").NoOptDefVal = ":" + strconv.Itoa(farend.Iperf3Port)
}

// off closes a port that is open by default.
const off = "off"

// apply puts what the flags say in the place of what the configuration says.
func (f *reflectorFlags) apply(c *reflector.Config) error {
	if f.data != "" {
		c.Data = f.data
	}
	for _, port := range []struct {
		name   string
		flag   []string
		listen *reflector.Listen
	}{
		{"stamp", f.stamp, &c.STAMP.Listen},
		{"streams", f.streams, &c.Streams},
		{"tls", f.tls, &c.TLS},
		{"quic", f.quic, &c.QUIC},
		{"iperf3", f.iperf3, &c.Iperf3},
	} {
		switch {
		case len(port.flag) == 0:
		case len(port.flag) == 1 && port.flag[0] == off:
			port.listen.Addresses = nil
		case slices.Contains(port.flag, off):
			return usage("--%s %s: off closes the port and stands alone: leave it out, or the addresses", port.name, strings.Join(port.flag, ","))
		default:
			port.listen.Addresses = port.flag
		}
	}
	if f.stampKeyFile != "" {
		c.STAMP.Key, c.STAMP.KeyFile = "", f.stampKeyFile
	}
	return nil
}

func newReflector(p *Process) *cobra.Command {
	var flags reflectorFlags
	cmd := &cobra.Command{
		Use:   "reflector",
		Short: "Serve the far end of every kind of probe",
		Long: `Answers what probes send: STAMP on UDP 862 (where the process may open it) and 8620, plain TCP on 8620, TLS and QUIC on
8443. A certificate is made at first start and kept; its pin is logged, for agents to hold it to.

Load tests take turns: each asks for a lease first, and by default one of each site has it at a time. Sites, rates and
times are set under "leases" in the configuration file; the log tells who has a lease and why it ended.

It needs no configuration. Open these ports on the way: UDP 8620, TCP 8620, UDP 8443, TCP 8443. Other addresses are
chosen with --stamp, --streams, --tls and --quic, each as often as it takes; the word off, which stands alone, closes a
port.

With --stamp-key-file STAMP is authenticated (RFC 8762): only senders with the same key are answered, and a sender with
another one is told so. Who wants to answer all others as well starts a second reflector on another port.

With --iperf3 it answers iperf3 as well, several clients at once, on TCP and UDP 5201: any iperf3 -c HOST measures
against it. A test may take ten minutes, and eight run at a time.`,
		Example: `  nrprobe reflector
  nrprobe reflector --data /var/lib/nrprobe-reflector
  nrprobe reflector --stamp 192.0.2.1:862 --stamp :9000 --quic off
  openssl rand -hex 16 > stamp.key && chmod 600 stamp.key && nrprobe reflector --stamp-key-file stamp.key
  nrprobe reflector --iperf3
  nrprobe reflector --iperf3=192.0.2.1:5202
  nrprobe reflector -c /etc/nrprobe/reflector.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && cmd.Flags().Changed("iperf3") {
				return usage("an address for --iperf3 needs an equals sign: --iperf3=%s", args[0])
			}
			return exactArgs()(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runReflector(cmd, p, flags) },
	}
	flags.add(cmd.Flags())
	return cmd
}

func runReflector(cmd *cobra.Command, p *Process, flags reflectorFlags) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	config, err := loadReflector(p, flags.file)
	if err != nil {
		return err
	}
	if err := flags.apply(&config); err != nil {
		return err
	}
	network, err := host.New(host.Config{})
	if err != nil {
		return err
	}
	r, err := reflector.New(config, network, log, p.FarEnds(log, lease.NewBook(config.Leases, log))...)
	if err != nil {
		return usage("%w", err) // it opens no port: what is wrong is what it was told
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
	list := []any{"stamp", texts(a.STAMP), "tcp", texts(a.Streams), "tls", texts(a.TLS), "quic", texts(a.QUIC)}
	if len(a.Iperf3) > 0 {
		list = append(list, "iperf3", texts(a.Iperf3))
	}
	log.Info("ready", append(list, "pin", r.Pin())...)
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
