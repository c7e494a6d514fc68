// Package cli is nrprobe's command line: one file a command, and the only place that touches arguments, environment,
// signals, standard streams and exit codes. It wires the rooms together and decides nothing about measuring.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Process is what the program may touch of the process it runs in. Tests make their own.
type Process struct {
	Args      []string // without the program's name
	LookupEnv func(string) (string, bool)
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	// Terminal says that stderr is a terminal: then there is a progress display.
	Terminal bool
	Version  string
	Kinds    catalog.Catalog[probes.Kind]
	// FarEnds lists what a reflector serves, with leases for load out of the book.
	FarEnds func(log *slog.Logger, leases *lease.Book) []farend.Service
}

// The exit codes. Scripts rely on them.
const (
	exitOK           = 0
	exitFailed       = 1   // measured but failed; check: a budget is broken
	exitUsage        = 2   // command line or configuration
	exitInconclusive = 3   // check only
	exitUnreachable  = 4   // the target could not be reached
	exitInterrupted  = 130 // Ctrl-C
)

// exitError carries an exit code with what is to be said, if anything.
type exitError struct {
	code int
	err  error // nil when all was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// Run executes the command line and returns the exit code. SIGINT and SIGTERM end it in order, and it returns only when
// everything has ended; a second signal ends the process at once.
func Run(p Process) int {
	ctx, stop := untilSignal()
	defer stop()
	root := newRoot(&p)
	root.SetArgs(p.Args)
	err := root.ExecuteContext(ctx)
	return p.exitCode(err)
}

// untilSignal is a context that the first SIGINT or SIGTERM ends, plainly: signal.NotifyContext gives its context a cause
// of its own, and rooms that ask for the cause would take an orderly end for a failure.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signaled, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(signaled, func() {
		release() // gives the second signal its default effect
		cancel()
	})
	return ctx, release
}

func (p *Process) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err != nil {
			p.complain(e.err)
		}
		return e.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted // whoever pressed Ctrl-C knows
	}
	p.complain(err)
	if problems, ok := errors.AsType[configs.Problems](err); ok && len(problems) > 0 {
		return exitUsage
	}
	switch probes.Classify(err) {
	case probes.Timeout, probes.Refused, probes.Unreachable:
		return exitUnreachable
	default:
		return exitFailed
	}
}

func (p *Process) complain(err error) {
	if problems, ok := errors.AsType[configs.Problems](err); ok {
		fmt.Fprintln(p.Stderr, problems) // each line begins with file and line, for editors
		return
	}
	fmt.Fprintf(p.Stderr, "nrprobe: %v\n", err)
}

func newRoot(p *Process) *cobra.Command {
	root := &cobra.Command{
		Use:   "nrprobe",
		Short: "Tells what a 5G link is really like",
		Long: `nrprobe tells what a 5G link is really like: how late packets are, how many are lost and in which
direction, how fast data moves, and what the radio was doing at that moment.

  nrprobe demo                        see all of it working on this machine
  nrprobe reflector                   the far end, on a host beyond the link
  nrprobe test HOST                   how good is the link now? in half a minute
  nrprobe probe stamp HOST            measure once, now
  nrprobe agent --target HOST --to URL    measure for ever and deliver
  nrprobe collector                   receive, store and show what agents deliver

Exit codes: 0 ok, 1 measured but failed, 2 usage or configuration, 3 check inconclusive,
4 target not reachable, 130 interrupted.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          onlyCommands,
		Args:          cobra.ArbitraryArgs,
	}
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w: see %s --help", err, cmd.CommandPath())
	})
	root.PersistentFlags().String("log-level", "info", "least severe message to log: debug, info, warn or error")
	root.AddCommand(newTest(p), newProbe(p), newCheck(p), newReflector(p), newAgent(p), newConfig(p), newVersion(p))
	root.AddCommand(serverCommands(p)...)
	return root
}

func suggest(cmd *cobra.Command, word string) string {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if near := catalog.Nearest(word, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// logger writes what happens beside the work to stderr.
func (p *Process) logger(cmd *cobra.Command) (*slog.Logger, error) {
	text, err := cmd.Flags().GetString("log-level")
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return nil, usage("--log-level %q is not one of debug, info, warn, error", text)
	}
	return slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: level})), nil
}

// exactArgs is cobra.ExactArgs with an error that says what is missing.
func exactArgs(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(what):
			return nil
		case len(what) == 0:
			return usage("%s takes no arguments, got %q: see %[1]s --help", cmd.CommandPath(), args[0])
		default:
			return usage("%s wants %s, got %d arguments: see %[1]s --help", cmd.CommandPath(), strings.Join(what, " "), len(args))
		}
	}
}

// onlyCommands is the RunE of a command that does nothing without one of its subcommands.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q%s: see %s --help", args[0], suggest(cmd, args[0]), cmd.CommandPath())
	}
	return cmd.Help()
}
