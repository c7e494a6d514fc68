package survey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// interval is the time between two latency packets: short enough to see an interruption of a handover, and 0.2 Mbit/s
// at most, which no load phase notices.
const interval = 10 * time.Millisecond

// tail is how much earlier than the load the latency packets beside it end, so that none sees a queue that drains: data was
// seen to flow so much too late, at most, and a round trip goes by.
const tail = 250 * time.Millisecond

// job is one run of one probe.
type job struct {
	kind, name string
	fields     map[string]string // configuration keys in the syntax of flags
	// wrap, where given, stands between the runner and the probe.
	wrap func(probes.Probe) probes.Probe
}

// measure runs one probe and returns its Result. A job that cannot be built is a Result, too.
func (s *Survey) measure(ctx context.Context, j job) *probes.Result {
	probe, timeout, err := s.build(j)
	if err != nil {
		probe = probes.ProbeFunc(func(context.Context, *probes.Recorder) error {
			return probes.Fail(probes.Invalid, "%s: %w", j.kind, err)
		})
	}
	if j.wrap != nil {
		probe = j.wrap(probe)
	}
	var result *probes.Result
	s.deps.Runner.Run(ctx, probes.Job{
		Kind: j.kind, Name: j.name, Target: s.config.Host, Probe: probe, Timeout: timeout,
		Recorded: func(r *probes.Recorder) { s.watch(j.kind, r) },
	}, func(r *probes.Result) { result = r })
	s.unwatch(j.kind)
	return result
}

// build makes a probe of a kind that is known by name alone, as its configuration file would.
func (s *Survey) build(j job) (probes.Probe, time.Duration, error) {
	kind, err := s.deps.Kinds.Find(j.kind)
	if err != nil {
		return nil, 0, err
	}
	config := kind.NewConfig()
	known := map[string]catalog.Field{}
	for _, f := range catalog.Fields(config) {
		known[f.Key] = f
	}
	for key, text := range j.fields {
		f, ok := known[key]
		if !ok {
			return nil, 0, fmt.Errorf("the kind has no setting %q", key)
		}
		if err := f.Set(text); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", key, err)
		}
	}
	target, err := probes.ParseTarget(s.target(j), kind.Port)
	if err != nil {
		return nil, 0, err
	}
	env := s.deps.Env
	env.Rand = s.random()
	probe, err := kind.Build(config, env, target)
	return probe, kind.Timeout(config), err
}

// target is the host, with a port where the reflector's is not the default one.
func (s *Survey) target(j job) string {
	port := s.config.StreamPort
	switch {
	case j.kind == kindSTAMP:
		port = s.config.STAMPPort
	case j.kind == kindQUIC || j.fields["transport"] == kindQUIC:
		port = s.config.TLSPort
	}
	if port == 0 {
		return s.config.Host
	}
	return net.JoinHostPort(s.config.Host, strconv.Itoa(int(port)))
}

// run runs one phase.
func (s *Survey) run(ctx context.Context, p phase) Phase {
	done := Phase{Name: p.name, Label: p.label, Start: time.Since(s.start), Skipped: p.skip}
	var begun time.Time
	switch {
	case p.load != nil:
		begun = s.runLoad(ctx, p, &done)
	case p.name == handshakes:
		s.runHandshakes(ctx, &done)
	default:
		done.add(s.measure(ctx, s.latencyJob(p, p.length)))
	}
	done.Elapsed = time.Since(s.start) - done.Start
	rtts, rates := s.recent.take()
	done.rtts = spread(rtts, s.start)
	done.trace(rates, begun.Sub(s.start)-rateInterval) // what is seen first is an interval old
	return done
}

// latencyJob measures round trips for the given time, behind what the phase leaves out.
func (s *Survey) latencyJob(p phase, length time.Duration) job {
	if s.latency == kindTCP {
		return job{kind: kindTCP, name: p.name, fields: map[string]string{
			"interval": unit.FormatDuration(5 * interval), "count": strconv.Itoa(max(1, int((p.settle+length)/(5*interval)))), "timeout": "2s", "connect_timeout": "3s",
		}}
	}
	return job{kind: kindSTAMP, name: p.name, fields: map[string]string{
		"interval": unit.FormatDuration(interval), "duration": unit.FormatDuration(length), "timeout": "2s",
		"warmup": strconv.Itoa(int(p.settle / interval)),
		"stamps": "user", // the queue of the own interface is part of what load does to latency
	}}
}

// runHandshakes measures connections on the idle link: by TCP, and by QUIC with and without a session to resume.
func (s *Survey) runHandshakes(ctx context.Context, done *Phase) {
	done.add(s.measure(ctx, job{kind: kindTCP, name: handshakes, fields: map[string]string{
		"echo": "false", "count": "5", "interval": "50ms", "connect_timeout": "3s",
	}}))
	for range 3 {
		if ctx.Err() != nil || done.failed() {
			return
		}
		done.add(s.measure(ctx, job{kind: kindQUIC, name: handshakes, fields: map[string]string{
			"count": "1", "timeout": "1s", "handshake_timeout": "3s",
		}}))
	}
}

// runLoad fills the link and measures latency beside it, from the moment that data flows, which it returns, to the moment
// that it ends.
func (s *Survey) runLoad(ctx context.Context, p phase, done *Phase) (begun time.Time) {
	bytes, ok := s.budget.share(p.load)
	if done.Skipped == "" && !ok {
		done.Skipped = fmt.Sprintf("the %s that --max-bytes leaves are too little to measure with", humanBytes(float64(max(0, s.budget.left))))
	}
	if done.Skipped != "" {
		s.report.note(p.label + " left out: " + done.Skipped)
		return begun
	}
	flow := newFlow(ctx)
	var loaded *probes.Result
	var loading sync.WaitGroup
	loading.Go(func() {
		defer flow.end()
		loaded = s.measure(ctx, job{kind: kindThroughput, name: p.name, wrap: flow.watched, fields: map[string]string{
			"transport": p.load.transport, "direction": p.load.direction, "duration": unit.FormatDuration(p.length),
			"max_bytes": strconv.FormatInt(bytes, 10), "interval": unit.FormatDuration(rateInterval),
		}})
	})
	if flow.begun(ctx) {
		beside := s.latencyJob(p, p.length-p.settle-tail)
		beside.wrap = func(probe probes.Probe) probes.Probe { return flow.beside(probe, p.length) }
		done.add(s.measure(ctx, beside))
	}
	loading.Wait()
	if l := done.latency(); l != nil && l.Outcome == probes.OK && l.Hists[probes.RTT.HistName(probes.Both)] == nil {
		s.report.note(p.label + ": the load was over before latency could be measured beside it")
	}
	done.add(loaded)
	s.budget.spend(transferred(loaded))
	if half := float64(bytes / 2); p.load.direction == both && bytes > 0 && loaded.Info["ended_by"] != "max_bytes" {
		for _, way := range []probes.Direction{probes.Up, probes.Down} {
			if loaded.Values[probes.Transferred.ValueName(way, "")] >= half {
				s.report.note(fmt.Sprintf("%s: %s had its half of --max-bytes before the other, so that its rate is too low", p.label, way))
			}
		}
	}
	return flow.at
}

// flow is the course of one load, for the latency probe beside it.
type flow struct {
	at      time.Time       // when data was first seen to flow; set before flowing is done
	flowing context.Context // done when data flows, or when it never will
	flows   context.CancelFunc
	loading context.Context // done when the load has ended
	ended   context.CancelCauseFunc
}

func newFlow(ctx context.Context) *flow {
	f := &flow{}
	f.flowing, f.flows = context.WithCancel(ctx)
	f.loading, f.ended = context.WithCancelCause(ctx)
	return f
}

func (f *flow) end() {
	f.ended(errDone)
	f.flows()
}

// begun waits for the first data; it returns false when there will be none.
func (f *flow) begun(ctx context.Context) bool {
	<-f.flowing.Done()
	return ctx.Err() == nil && f.loading.Err() == nil
}

// watched is the load probe, with somebody who looks whether data flows yet.
// Liveness: the goroutine ends with the probe, and the probe's end waits for it.
func (f *flow) watched(load probes.Probe) probes.Probe {
	return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
		watching, stop := context.WithCancel(ctx)
		var watcher sync.WaitGroup
		watcher.Go(func() { f.look(watching, r) })
		defer watcher.Wait()
		defer stop()
		return load.Measure(ctx, r)
	})
}

// look finds the first bytes that arrived.
func (f *flow) look(ctx context.Context, r *probes.Recorder) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if transferred(r.Snapshot()) > 0 {
				f.at = time.Now()
				f.flows()
				return
			}
		}
	}
}

// beside is the latency probe, which ends when the load ends before its time. Behind its time the probe waits for the
// last replies without being disturbed.
func (f *flow) beside(latency probes.Probe, length time.Duration) probes.Probe {
	return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
		r.Flag(probes.LoadConcurrent)
		sent := time.Now().Add(length - interval)
		measuring, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := f.whenOver(func() {
			if time.Now().Before(sent) {
				cancel(errDone)
			}
		})
		defer stop()
		err := latency.Measure(measuring, r)
		if ctx.Err() == nil && errors.Is(context.Cause(measuring), errDone) {
			r.Note("ended_by", "the load beside it")
			return nil
		}
		return err
	})
}

// whenOver has act called when the load has ended, unless the function that it returns is called before.
func (f *flow) whenOver(act func()) (stop func() bool) { return context.AfterFunc(f.loading, act) }

// transferred is how many bytes a load has moved, both ways together.
func transferred(r *probes.Result) int64 {
	return int64(r.Values[probes.Transferred.ValueName(probes.Up, "")] + r.Values[probes.Transferred.ValueName(probes.Down, "")])
}
