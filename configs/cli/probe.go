package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/agent/flight"
	"github.com/nrprobe/nrprobe/probes"
)

func newProbe(p *Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "probe KIND TARGET",
		Short: "Measure one link once and print what was seen",
		Long: `Measures once against a target and prints the result. Each kind has its own flags: nrprobe probe KIND --help.
Kinds: ` + strings.Join(p.Kinds.Names(), ", ") + `.

Ctrl-C ends a measurement early; what was measured until then is printed, and the exit code is 130.`,
		Example: `  nrprobe probe stamp 192.0.2.1
  nrprobe probe quic reflector.example --count 20 --json
  nrprobe probe throughput reflector.example --direction down --interface wwan0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("which kind? one of %s: see nrprobe probe --help", strings.Join(p.Kinds.Names(), ", "))
			}
			_, err := p.Kinds.Find(args[0])
			return usage("%w", err)
		},
		Args: cobra.ArbitraryArgs,
	}
	for _, kind := range p.Kinds.All() {
		cmd.AddCommand(newProbeKind(p, kind))
	}
	return cmd
}

// probeFlags are the flags that all kinds share.
type probeFlags struct {
	reach  reachFlags
	asJSON bool
	flight string // file of the flight recorder
}

func newProbeKind(p *Process, kind probes.Kind) *cobra.Command {
	var flags probeFlags
	config := kind.NewConfig()
	cmd := &cobra.Command{
		Use:     kind.Name + " TARGET",
		Short:   kind.Summary,
		Long:    strings.TrimSpace(kind.Help),
		Example: "  " + kind.Example,
		Args:    exactArgs("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProbe(cmd, p, kind, config, flags, args[0])
		},
	}
	addFlags(cmd.Flags(), config)
	flags.reach.add(cmd.Flags())
	cmd.Flags().Lookup("ip-family").Usage = "address family to use (any, 4, 6), or both at the same time (both): a result each, labelled ip_family"
	if kind.Lane == probes.Load {
		flags.reach.addSite(cmd.Flags())
	}
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object instead of text")
	cmd.Flags().StringVar(&flags.flight, "flight-recorder", "", "file for a trace of this program's last seconds if it was late itself: go tool trace FILE")
	return cmd
}

func runProbe(cmd *cobra.Command, p *Process, kind probes.Kind, config any, flags probeFlags, text string) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	target, err := probes.ParseTarget(text, kind.Port)
	if err != nil {
		return usage("%w", err)
	}
	sides, err := flags.sides(p, kind, config, target, log)
	if err != nil {
		return err
	}
	show := printer{asJSON: flags.asJSON}
	if flags.flight != "" {
		if show.flight, err = flight.Start(flight.Config{File: flags.flight}, log); err != nil {
			return usage("--flight-recorder: %w", err)
		}
		defer show.flight.Close()
	}
	if len(sides) > 1 {
		return p.measureBoth(cmd.Context(), sides, show)
	}
	return p.measure(cmd.Context(), sides[0].runner, sides[0].job, show)
}

// printer says what happens to Results.
type printer struct {
	asJSON bool
	flight *flight.Recorder // nil when none is wanted
}

// print writes one Result.
func (t *printer) print(w io.Writer, r *probes.Result) error {
	if t.asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	return printResult(w, r)
}

// measure runs the job with a progress display and prints each Result. The outcome of the last one decides the exit code.
func (p *Process) measure(ctx context.Context, runner *probes.Runner, job probes.Job, to printer) error {
	show := p.newProgress(job)
	job.Recorded = show.watch
	var last *probes.Result
	var writeErr error
	runner.Run(ctx, job, func(r *probes.Result) {
		show.clear()
		last = r
		to.flight.Look(r)
		writeErr = to.print(p.Stdout, r)
	})
	show.stop()
	if writeErr != nil {
		return fmt.Errorf("writing the result: %w", writeErr)
	}
	if last == nil || ctx.Err() != nil {
		return &exitError{code: exitInterrupted}
	}
	return resultError(last, to.asJSON)
}

// resultError turns the outcome of a Result into an exit code. With JSON the error is said there already, and a person
// reading stderr still deserves it.
func resultError(r *probes.Result, asJSON bool) error {
	code := exitFailed
	switch r.Outcome {
	case probes.OK:
		return nil
	case probes.Canceled:
		code = exitInterrupted
	case probes.Timeout, probes.Refused, probes.Unreachable:
		code = exitUnreachable
	default: // the far end was there, and it was not measured: exitFailed
	}
	if !asJSON {
		return &exitError{code: code} // the text output ends with the error
	}
	return &exitError{code: code, err: fmt.Errorf("%s %s: %s: %s", r.Kind, r.Target, r.Outcome, firstLine(r.Error))}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
