package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
)

// bothFamilies is the word for measuring over IPv4 and IPv6 at the same time.
const bothFamilies = "both"

// side is one of the measurements that run at the same time.
type side struct {
	family string // "" when it is the only one
	runner *probes.Runner
	job    probes.Job
	after  time.Duration // how much later it begins than the first
}

// sides prepares what the flags ask for: one measurement, or one over each family. Of two with an interval the second one
// begins half an interval later, so that their packets alternate.
func (f *probeFlags) sides(p *Process, kind probes.Kind, config any, target probes.Target, log *slog.Logger) ([]side, error) {
	families := []string{f.reach.family}
	after := time.Duration(0)
	if f.reach.family == bothFamilies {
		if kind.Lane == probes.Load {
			return nil, usage("--ip-family both: two %s tests at once would only share the link: measure one after the other", kind.Name)
		}
		families = []string{"4", "6"}
		for _, field := range catalog.Fields(config) {
			switch value, isTime := reflect.TypeAssert[time.Duration](field.Value()); {
			case field.Key == "interval" && isTime:
				after = value / 2
			case field.Key == "trace" && !field.IsZero():
				return nil, usage("--ip-family both: --trace is one file, and there are two measurements: measure one after the other")
			}
		}
	}
	var list []side
	for i, family := range families {
		reach := f.reach
		reach.family = family
		env, err := reach.env(p, kind, log)
		if err != nil {
			return nil, err
		}
		probe, err := kind.Build(config, env, target)
		if err != nil {
			return nil, usage("%w", err)
		}
		s := side{
			runner: &probes.Runner{Agent: hostName(), Boot: newBoot()}, after: time.Duration(i) * after,
			job: probes.Job{Kind: kind.Name, Name: kind.Name, Target: target.Text, Probe: probe, Timeout: kind.Timeout(config)},
		}
		if len(families) > 1 {
			s.family, s.runner.Labels = family, map[string]string{"ip_family": family}
		}
		list = append(list, s)
	}
	return list, nil
}

// measureBoth runs the sides at the same time and prints each Result as it comes. The exit code is that of the first side
// that failed. The progress display is that of the first one.
//
// Liveness: a goroutine for each side, which ends with its measurement; measureBoth waits for both.
func (p *Process) measureBoth(ctx context.Context, sides []side, to printer) error {
	show := p.newProgress(sides[0].job)
	sides[0].job.Recorded = show.watch
	last := make([]*probes.Result, len(sides))
	var mu sync.Mutex // over what is printed and kept
	var writeErr error
	var running sync.WaitGroup
	for i, s := range sides {
		running.Go(func() {
			select {
			case <-time.After(s.after):
			case <-ctx.Done():
				return
			}
			s.runner.Run(ctx, s.job, func(r *probes.Result) {
				mu.Lock()
				defer mu.Unlock()
				show.clear()
				last[i] = r
				to.flight.Look(r)
				if !to.asJSON {
					_, err := fmt.Fprintf(p.Stdout, "IPv%s: ", s.family)
					writeErr = errors.Join(writeErr, err)
				}
				writeErr = errors.Join(writeErr, to.print(p.Stdout, r))
			})
		})
	}
	running.Wait()
	show.stop()
	if writeErr != nil {
		return fmt.Errorf("writing the result: %w", writeErr)
	}
	for _, r := range last {
		if r == nil || ctx.Err() != nil {
			return &exitError{code: exitInterrupted}
		}
	}
	for _, r := range last {
		if err := resultError(r, to.asJSON); err != nil {
			return err
		}
	}
	return nil
}
