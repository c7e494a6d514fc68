package cli

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

func newConfig(p *Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check configuration files",
		Args:  cobra.ArbitraryArgs,
		RunE:  onlyCommands,
	}
	cmd.AddCommand(newConfigCheck(p))
	return cmd
}

// role is what a configuration file is for, and the keys that only such a file has.
type role struct {
	name  string
	keys  []string
	check func(p *Process, path string) error
}

func newConfigCheck(p *Process) *cobra.Command {
	var wanted string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file and list everything that is wrong with it",
		Long: `Reads a configuration file as the role would that it is for, and lists every problem with its line.
The role is told by the file's keys; --role says it outright. Nothing is started and nothing is opened.`,
		Example: "  nrprobe config check agent.yaml\n  nrprobe config check --role collector empty.yaml",
		Args:    exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := roleOf(args[0], wanted)
			if err != nil {
				return err
			}
			if err := r.check(p, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "%s: good %s configuration\n", args[0], r.name)
			return err
		},
	}
	cmd.Flags().StringVar(&wanted, "role", "", "what the file is for: agent, reflector, collector, budgets")
	return cmd
}

// roleOf tells a file's role by its keys.
func roleOf(path, wanted string) (role, error) {
	list := append([]role{
		{"agent", []string{"agent", "probes", "uplink", "outbox", "plan"}, checkAgent},
		{"reflector", []string{"stamp", "streams", "tls", "data"}, checkReflector},
		{"budgets", []string{"budgets"}, checkBudgets},
	}, serverRoles()...)
	text, err := os.ReadFile(path)
	if err != nil {
		return role{}, usage("reading configuration: %w", err)
	}
	keys := map[string]yaml.Node{}
	_ = yaml.Unmarshal(text, &keys) // a file that does not parse gets its error, with the line, from the role's own check
	for _, r := range list {
		if wanted == r.name || wanted == "" && slices.ContainsFunc(r.keys, func(k string) bool { _, ok := keys[k]; return ok }) {
			return r, nil
		}
	}
	if wanted != "" {
		return role{}, usage("--role %q is not one of agent, reflector, collector, budgets", wanted)
	}
	if len(keys) == 0 {
		return list[0], nil
	}
	return role{}, usage("%s: no key tells what the file is for: add --role", path)
}
