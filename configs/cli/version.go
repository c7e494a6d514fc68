package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(p *Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of nrprobe and of what it measures with",
		Example: "  nrprobe version --json",
		Args:    exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			v := versions(p.Version)
			if asJSON {
				return json.NewEncoder(p.Stdout).Encode(v)
			}
			_, err := fmt.Fprintf(p.Stdout, "nrprobe %s (%s, quic-go %s, %s/%s)\n", v["version"], v["go"], v["quic_go"], runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func versions(version string) map[string]string {
	v := map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "quic_go": "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/quic-go/quic-go" {
			v["quic_go"] = dep.Version
		}
	}
	return v
}
