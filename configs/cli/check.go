package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
	"github.com/nrprobe/nrprobe/probes/budget/store"
)

// checkFlags are the flags of nrprobe check.
type checkFlags struct {
	reach                     reachFlags
	file, target              string
	profiles, compare         []string
	input, timeColumn         string
	values                    []string
	query, tokenFile          string
	since, until              string
	baseline, save            string
	junit, markdown           string
	asJSON                    bool
	inconclusive              string
	maxDuration, maxBytesText string
}

func newCheck(p *Process) *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Fail when a link breaks its budget, and never because of noise",
		Long: `Judges budgets for latency, loss and speed: pass, fail, or inconclusive where the samples do not tell. A budget passes or
fails only when its confidence bound lies on that side; samples that depend on each other count for less, and the check
measures until everything is settled or --max-duration is over. Trouble that comes seldom has to have its time: at 95 %
confidence nothing passes within 88 s, unless --max-duration is over.

The evidence is measured now against --target, or read from --input (Results as --json prints them, line protocol, or
anybody's CSV with a header), or from a store by --query. --save keeps it as a baseline; --baseline compares with one, and fails only when the
difference is real and larger than what the budget tolerates. --compare measures two far ends in turns.

Exit codes: 0 pass, 1 fail, 2 usage or configuration, 3 inconclusive (see --inconclusive), 4 target not reachable.

Built-in profiles: ` + strings.Join(profileNames(), ", ") + `.`,
		Example: `  nrprobe check -c budgets.yaml --target reflector.example
  nrprobe check --profile gaming --target reflector.example --junit report.xml
  nrprobe check -c budgets.yaml --input drive.csv --time unix_ms --value rtt=rtt_ms
  nrprobe check -c budgets.yaml --target reflector.example --save base.json
  nrprobe check -c budgets.yaml --target reflector.example --baseline base.json
  nrprobe check -c budgets.yaml --query prometheus=http://collector.example:8086 --since 24h
  nrprobe check -c budgets.yaml --compare old.example,new.example`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCheck(cmd, p, flags) },
	}
	f := cmd.Flags()
	f.StringVarP(&flags.file, "config", "c", "", "file with the budgets (YAML)")
	f.StringSliceVar(&flags.profiles, "profile", nil, "built-in profile to judge by, instead of a file")
	f.StringVar(&flags.target, "target", "", "far end of budgets that name none")
	f.StringSliceVar(&flags.compare, "compare", nil, "two far ends, the first held against the second: HOST_A,HOST_B")
	f.StringVar(&flags.input, "input", "", "read the evidence from this file instead of measuring; - is standard input")
	f.StringVar(&flags.timeColumn, "time", "", "column of a CSV file with the time, as in unix_ms")
	f.StringArrayVar(&flags.values, "value", nil, "column of a CSV file with a metric, as in rtt=rtt_ms; an empty value is a lost packet")
	f.StringVar(&flags.query, "query", "", "read the evidence from a store: prometheus=URL or influx=URL")
	f.StringVar(&flags.since, "since", "1h", "begin of the evidence in the store, as a duration before now or in RFC 3339")
	f.StringVar(&flags.until, "until", "0s", "end of the evidence in the store, likewise")
	f.StringVar(&flags.tokenFile, "token-file", "", "file with the token that the store wants")
	f.StringVar(&flags.baseline, "baseline", "", "compare with this file: a saved baseline, or what --input takes")
	f.StringVar(&flags.save, "save", "", "save what was measured to this file, as a baseline for later checks")
	f.StringVar(&flags.junit, "junit", "", "write the verdicts to this file as JUnit XML")
	f.StringVar(&flags.markdown, "markdown", "", "write the verdicts to this file as Markdown (in a GitHub job, appended to its summary)")
	f.BoolVar(&flags.asJSON, "json", false, "print one JSON object instead of a table")
	f.StringVar(&flags.inconclusive, "inconclusive", "", "what an inconclusive check means: pass or fail (default: its own exit code, 3)")
	f.StringVar(&flags.maxDuration, "max-duration", "", "longest time to measure (default: what the file says)")
	f.StringVar(&flags.maxBytesText, "max-bytes", "", "most data to send and receive (default: what the file says)")
	flags.reach.add(f)
	flags.reach.addSite(f)
	return cmd
}

func profileNames() []string {
	var names []string
	for _, p := range budget.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

func runCheck(cmd *cobra.Command, p *Process, flags checkFlags) error {
	policy, err := budget.ParsePolicy(flags.inconclusive)
	if err != nil {
		return usage("--inconclusive: %w", err)
	}
	plan, err := loadPlan(p, flags)
	if err != nil {
		return err
	}
	o, err := checkOptions(cmd, p, flags, plan)
	if err != nil {
		return err
	}
	show := p.showCheck()
	if o.Live != nil {
		o.Live.Progress = show.draw
	}
	report, err := budget.Check(cmd.Context(), plan, o)
	show.clear()
	if err != nil {
		return usage("%w", err)
	}
	if err := p.writeCheck(report, flags, policy); err != nil {
		return usage("%w", err) // whatever it is, no budget is broken by it
	}
	if cmd.Context().Err() != nil {
		return &exitError{code: exitInterrupted}
	}
	if code := report.ExitCode(policy); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// loadPlan reads the budgets of the file, or of the profiles.
func loadPlan(p *Process, flags checkFlags) (*budget.Plan, error) {
	var plan *budget.Plan
	var err error
	switch {
	case flags.file != "" && len(flags.profiles) > 0:
		return nil, usage("--config and --profile exclude each other: name the profile in the file")
	case flags.file != "":
		plan, err = budget.Load(flags.file, p.Kinds)
	case len(flags.profiles) > 0:
		var text strings.Builder
		text.WriteString("budgets:\n")
		for _, name := range flags.profiles {
			fmt.Fprintf(&text, "  - {name: %q, profile: %q}\n", name, name)
		}
		plan, err = budget.Parse("--profile", []byte(text.String()), p.LookupEnv, p.Kinds)
	default:
		err = usage("no budgets: give a file (-c budgets.yaml) or --profile NAME, one of %s", strings.Join(profileNames(), ", "))
	}
	if err != nil {
		return nil, err
	}
	if flags.maxDuration != "" {
		if plan.MaxDuration, err = unit.ParseDuration(flags.maxDuration); err != nil || plan.MaxDuration < time.Second {
			return nil, usage("--max-duration %q: want a duration of at least 1s, like 30s or 5m", flags.maxDuration)
		}
	}
	if flags.maxBytesText != "" {
		if plan.MaxBytes, err = unit.ParseBytes(flags.maxBytesText); err != nil {
			return nil, usage("--max-bytes: %w", err)
		}
	}
	return plan, nil
}

// checkOptions says where the evidence comes from and what it is compared with.
func checkOptions(cmd *cobra.Command, p *Process, flags checkFlags, plan *budget.Plan) (budget.Options, error) {
	o := budget.Options{Kinds: p.Kinds}
	columns, err := budget.ParseColumns(flags.timeColumn, flags.values)
	if err != nil {
		return o, usage("%w", err)
	}
	if flags.baseline != "" {
		if o.Baseline, err = budget.ReadFile(flags.baseline, columns); err != nil {
			return o, usage("--baseline: %w", err)
		}
	}
	if len(flags.compare) != 0 && len(flags.compare) != 2 {
		return o, usage("--compare wants two far ends, as HOST_A,HOST_B; got %d", len(flags.compare))
	}
	if flags.input != "" || flags.query != "" {
		o.Input, err = recorded(cmd.Context(), p, flags, columns, plan)
		return o, err
	}
	log, err := p.logger(cmd)
	if err != nil {
		return o, err
	}
	env, err := flags.reach.env(p, probes.Kind{}, log)
	if err != nil {
		return o, err
	}
	o.Live = &budget.Live{
		Env: env, Runner: &probes.Runner{Agent: hostName(), Boot: newBoot()},
		Target: flags.target, Interface: flags.reach.interfaceName, Version: p.Version,
	}
	if len(flags.compare) == 2 {
		o.Live.Target, o.Live.Compare = flags.compare[0], flags.compare[1]
	}
	return o, nil
}

// recorded reads what was measured before, from a file or from a store.
func recorded(ctx context.Context, p *Process, flags checkFlags, columns budget.Columns, plan *budget.Plan) (*budget.Input, error) {
	var input *budget.Input
	var err error
	switch {
	case flags.target != "" || len(flags.compare) > 0:
		return nil, usage("--input, --query and --target, --compare exclude each other: what was recorded has its far end already")
	case flags.input != "" && flags.query != "":
		return nil, usage("--input and --query exclude each other: give one source")
	case flags.query != "":
		return fetch(ctx, flags, plan)
	case flags.input == "-":
		input, err = await(ctx, func() (*budget.Input, error) { return budget.Read("standard input", p.Stdin, columns) })
	default:
		input, err = await(ctx, func() (*budget.Input, error) { return budget.ReadFile(flags.input, columns) })
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, usage("--input: %w", err)
	}
	return input, nil
}

// await reads evidence until ctx ends.
// Liveness: the goroutine ends with what is read. When ctx ends first that is as late as the process at worst: nobody can call
// back the read of a pipe that says nothing.
func await(ctx context.Context, read func() (*budget.Input, error)) (*budget.Input, error) {
	type answer struct {
		input *budget.Input
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		input, err := read()
		done <- answer{input, err}
	}()
	select {
	case a := <-done:
		return a.input, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// storeTimeout is how long a store may take: it may have to read a month from disk.
const storeTimeout = 2 * time.Minute

// fetch asks a store. One that cannot be reached ends with that exit code, and one that wants another token as a wrong use.
func fetch(ctx context.Context, flags checkFlags, plan *budget.Plan) (*budget.Input, error) {
	q, err := store.Parse(flags.query)
	if err != nil {
		return nil, usage("--query: %w", err)
	}
	now := time.Now()
	if q.From, err = moment(flags.since, now); err != nil {
		return nil, usage("--since: %w", err)
	}
	if q.To, err = moment(flags.until, now); err != nil {
		return nil, usage("--until: %w", err)
	}
	if !q.From.Before(q.To) {
		return nil, usage("--since, --until: the time range ends at %s, before it begins at %s", q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	}
	if q.Token, err = configs.Secret("", flags.tokenFile); err != nil {
		return nil, usage("--token-file: %w", err)
	}
	input, err := store.Fetch(ctx, &http.Client{Timeout: storeTimeout}, q, plan)
	if bad, ok := errors.AsType[*budget.InputError](err); ok {
		return nil, usage("--query: %w", bad)
	}
	if err != nil && probes.Classify(err) == probes.Auth {
		return nil, usage("--query, --token-file: %w", err)
	}
	return input, err
}

// moment reads a duration before now, or a time.
func moment(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := unit.ParseDuration(text)
	if err != nil || d < 0 {
		return now, fmt.Errorf("%q: want a duration before now like 24h, or a time like 2026-11-23T12:00:00Z", text)
	}
	return now.Add(-d), nil
}

// writeCheck prints the report and writes every file that was asked for. What was judged is worth having even when the
// check failed, so all of them are written whatever the verdict.
func (p *Process) writeCheck(r *budget.Report, flags checkFlags, policy budget.Policy) error {
	print := r.WriteTable
	if flags.asJSON {
		print = r.WriteJSON
	}
	if err := print(p.Stdout); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if flags.junit != "" {
		if err := writeFile(flags.junit, os.O_TRUNC, func(w io.Writer) error { return r.WriteJUnit(w, policy) }); err != nil {
			return err
		}
	}
	markdown, flag := flags.markdown, os.O_TRUNC
	if summary, ok := p.LookupEnv("GITHUB_STEP_SUMMARY"); ok && markdown == "" {
		markdown, flag = summary, os.O_APPEND // the steps of a job share it
	}
	if markdown != "" {
		if err := writeFile(markdown, flag, r.WriteMarkdown); err != nil {
			return err
		}
	}
	if _, ok := p.LookupEnv("GITHUB_ACTIONS"); ok {
		if err := r.WriteAnnotations(p.Stderr); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if flags.save == "" {
		return nil
	}
	return budget.SaveBaseline(flags.save, r.Pieces, r.Conditions, r.Start)
}

// writeFile opens a report's file and closes it again; a full disk shows when it is closed.
func writeFile(name string, flag int, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flag, 0o644)
	if err != nil {
		return usage("writing the report: %w", err)
	}
	if err := write(f); err != nil {
		_ = f.Close() // that it could not be written is said already
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// checkDisplay redraws one line while a check measures. Without a terminal it does nothing.
type checkDisplay struct {
	p     *Process
	drawn bool
}

func (p *Process) showCheck() *checkDisplay { return &checkDisplay{p: p} }

// draw is called by Check, from one goroutine.
func (d *checkDisplay) draw(now budget.Progress) {
	if !d.p.Terminal {
		return
	}
	settled := 0
	for _, t := range now.Trials {
		if t.Outcome() != budget.Inconclusive {
			settled++
		}
	}
	d.drawn = true
	fmt.Fprintf(d.p.Stderr, "\r\x1b[K%s of at most %s  %d of %d budgets settled  %d samples  %s  %s", unit.FormatDuration(now.Elapsed.Truncate(time.Second)),
		unit.FormatDuration(now.Longest), settled, len(now.Trials), now.Samples, person(float64(now.Bytes), probes.BytesUnit), now.Running)
}

func (d *checkDisplay) clear() {
	if d.drawn {
		fmt.Fprint(d.p.Stderr, "\r\x1b[K")
	}
}

// checkBudgets is what `config check` does for a budgets file.
func checkBudgets(p *Process, path string) error {
	_, err := budget.Load(path, p.Kinds)
	return err
}
