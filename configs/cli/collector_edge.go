//go:build edge

package cli

import "github.com/spf13/cobra"

// An edge build has neither collector nor demo: its commands say so instead of being unknown.
func serverCommands(*Process) []*cobra.Command {
	missing := func(name string) *cobra.Command {
		return &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return usage("%s is not part of this build for the edge: use a full build of nrprobe", name)
			},
		}
	}
	return []*cobra.Command{missing("collector"), missing("demo")}
}

func serverRoles() []role { return nil }
