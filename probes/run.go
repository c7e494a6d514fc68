package probes

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Runner runs probes and makes Results of what they take down. It alone stamps identity, time, outcome and radio.
// Its fields are set before first use; Run is safe for concurrent use.
type Runner struct {
	// Agent and Boot are stamped into every ID.
	Agent, Boot string
	// Labels are stamped into every Result.
	Labels map[string]string
	// Radio reads the modem; nil when there is none. It must return at once, from what is already known.
	Radio func() *RadioSample

	seq atomic.Uint64
}

// Job is one probe, ready to run.
type Job struct {
	Kind, Name, Target string
	Probe              Probe
	// Timeout ends a run that takes longer; 0 lets it run until ctx ends.
	Timeout time.Duration
	// Recorded is called with the recorder when the run begins; nil when nobody looks on.
	Recorded func(*Recorder)
}

// Run measures once and hands out the Result; a continuous probe hands out one per window, the last one when ctx ends.
// It blocks until the probe has returned. Nothing that the probe does, a panic included, keeps a Result from emit;
// emit is called from one goroutine at a time.
func (r *Runner) Run(ctx context.Context, job Job, emit func(*Result)) {
	before := r.radio()
	rec := NewRecorder()
	rec.emit = func(window *Recorder) {
		after := r.radio()
		emit(r.finish(job, window, before, after, window.err))
		before = after
	}
	if job.Recorded != nil {
		job.Recorded(rec)
	}
	err := measure(ctx, job, rec)
	if rec.empty() && job.Timeout == 0 && ctx.Err() != nil {
		return // a continuous probe that was stopped right behind a cut: there is nothing left to say
	}
	emit(r.finish(job, rec, before, r.radio(), err))
}

func (r *Runner) radio() *RadioSample {
	if r.Radio == nil {
		return nil
	}
	return r.Radio()
}

// measure calls the probe under its deadline and turns a panic into an error.
func measure(ctx context.Context, job Job, rec *Recorder) (err error) {
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, job.Timeout, Fail(Timeout, "not complete after %v", job.Timeout))
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = Fail(Error, "panic in probe: %v\n%s", p, debug.Stack())
		}
	}()
	err = job.Probe.Measure(ctx, rec)
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

func (r *Runner) finish(job Job, rec *Recorder, before, after *RadioSample, err error) *Result {
	result := rec.Snapshot()
	result.ID = ID{Agent: r.Agent, Boot: r.Boot, Seq: r.seq.Add(1)}
	result.Agent = r.Agent
	result.Kind, result.Probe, result.Target = job.Kind, job.Name, job.Target
	result.Labels = r.Labels
	result.Outcome = Classify(err)
	if err != nil {
		result.Error = err.Error()
		if len(result.Values) > 0 {
			result.Quality |= Partial
		}
	}
	if before != nil || after != nil {
		result.Radio = &Radio{Before: before, After: after}
	}
	if before != nil && after != nil && !before.SameCell(after) {
		result.Events = append(result.Events, Event{Time: after.Time, Type: Handover, Detail: fmt.Sprintf("%s to %s", before.cellText(), after.cellText())})
	}
	return result
}

func (r *Recorder) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.values) == 0 && len(r.hists) == 0
}

// cellText names a cell for a person: "NR-SA pci 94".
func (s *RadioSample) cellText() string {
	switch {
	case s.PCI != nil:
		return fmt.Sprintf("%s pci %d", s.RAT, *s.PCI)
	case s.Cell != "":
		return s.RAT + " cell " + s.Cell
	default:
		return s.RAT
	}
}
