package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/survey"
)

// testFlags are the flags of nrprobe test.
type testFlags struct {
	reach              reachFlags
	quick, asJSON      bool
	maxBytes, htmlFile string
	stamp, stream, tls uint16
}

func newTest(p *Process) *cobra.Command {
	var flags testFlags
	cmd := &cobra.Command{
		Use:   "test HOST",
		Short: "Tell in half a minute how good a link is now",
		Long: `Measures a link to a host where nrprobe reflector runs, for about 30 s: latency on the idle link, then the
rates down, up and both ways at once with latency beside each, QUIC against TCP, and how long connections take.
Uses as much data as the link carries in some 20 s: on a data plan, set --max-bytes or --quick.

` + survey.Definitions + `

Load tests of one site run one after the other: while another one runs, this one waits for two minutes at most.

Ctrl-C ends it early; what was measured until then is printed, and the exit code is 130. When the far end is gone
the exit code is 1 if something was measured before, and 4 if nothing was.`,
		Example: `  nrprobe test reflector.example
  nrprobe test reflector.example --quick --max-bytes 500MB
  nrprobe test 192.0.2.1 --interface wwan0 --report link.html
  nrprobe test reflector.example --json | jq .figures`,
		Args: exactArgs("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error { return runTest(cmd, p, flags, args[0]) },
	}
	cmd.Flags().BoolVar(&flags.quick, "quick", false, "take about 10 s, with less certainty")
	cmd.Flags().StringVar(&flags.maxBytes, "max-bytes", "", "transfer at most so much, as in 500MB; a tenth of it is kept back for headers and latency packets")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object instead of the report card")
	cmd.Flags().StringVar(&flags.htmlFile, "report", "", "write the report with charts to this file, one page of HTML that needs nothing else")
	flags.reach.add(cmd.Flags())
	flags.reach.addSite(cmd.Flags())
	cmd.Flags().Uint16Var(&flags.stamp, "stamp-port", 0, "the reflector's STAMP port, where it is not 8620")
	cmd.Flags().Uint16Var(&flags.stream, "stream-port", 0, "the reflector's plain TCP port, where it is not 8620")
	cmd.Flags().Uint16Var(&flags.tls, "tls-port", 0, "the reflector's QUIC port, where it is not 8443")
	for _, name := range []string{"stamp-port", "stream-port", "tls-port"} {
		cmd.Flags().Lookup(name).DefValue = "" // "default 0" would only be noise
	}
	return cmd
}

func runTest(cmd *cobra.Command, p *Process, flags testFlags, host string) error {
	log, err := p.logger(cmd)
	if err != nil {
		return err
	}
	config := survey.Config{Host: host, Quick: flags.quick, STAMPPort: flags.stamp, StreamPort: flags.stream, TLSPort: flags.tls}
	if flags.maxBytes != "" {
		if config.MaxBytes, err = unit.ParseBytes(flags.maxBytes); err != nil {
			return usage("--max-bytes: %w", err)
		}
	}
	env, err := flags.reach.env(p, probes.Kind{}, log) // the far end is a reflector, whatever the kind
	if err != nil {
		return err
	}
	s, err := survey.New(config, survey.Deps{Kinds: p.Kinds, Env: env, Runner: &probes.Runner{Agent: hostName(), Boot: newBoot()}})
	if err != nil {
		return usage("%w", err)
	}
	page, err := openReport(flags.htmlFile)
	if err != nil {
		return err
	}
	show := p.showSurvey(s)
	report := s.Run(cmd.Context())
	show.stop()
	if err := writeReport(report, page); err != nil {
		return err
	}
	if err := p.printReport(report, flags.asJSON); err != nil {
		return err
	}
	return reportError(report, flags.asJSON)
}

// openReport opens the file before half a minute is spent on what could not be written. No name is no file.
func openReport(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, usage("--report: %w", err)
	}
	return f, nil
}

func writeReport(r *survey.Report, f *os.File) error {
	if f == nil {
		return nil
	}
	if err := r.HTML(f); err != nil {
		_ = f.Close() // that it could not be written is said already
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (p *Process) printReport(r *survey.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(p.Stdout).Encode(r)
	} else {
		err = r.Card(p.Stdout)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// reportError turns the outcome into an exit code. The card says the error itself.
func reportError(r *survey.Report, asJSON bool) error {
	e := &exitError{code: exitFailed}
	switch {
	case r.Outcome == probes.OK:
		return nil
	case r.Outcome == probes.Canceled:
		e.code = exitInterrupted
	case !r.Reached() && r.Outcome != probes.Busy:
		e.code = exitUnreachable
	}
	if asJSON {
		e.err = fmt.Errorf("%s: %s", r.Outcome, firstLine(r.Error))
	}
	return e
}

// surveyShow redraws one line on the terminal while a survey runs. Without a terminal it does nothing.
type surveyShow struct {
	quit chan struct{}
	done sync.WaitGroup
}

// showSurvey begins to draw.
// Liveness: the goroutine ends when stop is called, and stop waits for it.
func (p *Process) showSurvey(s *survey.Survey) *surveyShow {
	show := &surveyShow{quit: make(chan struct{})}
	if !p.Terminal {
		return show
	}
	show.done.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond) // slow enough to read, quick enough to look alive
		defer tick.Stop()
		for {
			select {
			case <-show.quit:
				fmt.Fprint(p.Stderr, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprintf(p.Stderr, "\r\x1b[K%s", surveyLine(s.Status()))
			}
		}
	})
	return show
}

func (s *surveyShow) stop() {
	close(s.quit)
	s.done.Wait()
}

// surveyLine fits into 80 columns: a bar, the time, the phase, and what it sees now.
func surveyLine(s survey.Status) string {
	const width = 8
	share := 0.0
	if s.Planned > 0 {
		share = min(1, s.Elapsed.Seconds()/s.Planned.Seconds())
	}
	full := int(share * width)
	line := fmt.Sprintf("[%s%s] %2.0f/%.0f s  ", strings.Repeat("#", full), strings.Repeat("·", width-full), s.Elapsed.Seconds(), s.Planned.Seconds())
	if s.Waiting != "" {
		return line + "waiting for other load tests: " + s.Waiting
	}
	line += fmt.Sprintf("%-13s", s.Label)
	if s.Down > 0 {
		line += "  ↓ " + person(s.Down, probes.BytesPerSecond)
	}
	if s.Up > 0 {
		line += "  ↑ " + person(s.Up, probes.BytesPerSecond)
	}
	if s.Latency > 0 {
		line += "  " + person(s.Latency.Seconds(), probes.Seconds)
	}
	return line
}
