// Package survey is what a person asks of a link: how good is it now? In half a minute it measures latency on the idle
// link, then the rates down, up and both ways at once with latency beside each, QUIC against TCP, and how long
// connections take; and it makes a report of it: a card for the terminal, an object for machines, a page with charts.
//
// Behind the warm-up it asks the far end for a lease, so that no other load test of the site runs meanwhile.
//
//	warm-up ─> idle latency ─> handshakes ─> load down ─> up ─> both ─> QUIC down ─> QUIC up
//	                                          └─────── latency beside each ───────┘
//
// It knows the kinds of probes by name only. That latency probes run beside load probes breaks the rule of the lanes on
// purpose: what happens to latency meanwhile is the question here.
package survey

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// Config says what to measure. The zero value of everything but Host is usable.
type Config struct {
	// Host is the name or address of the reflector, without a port.
	Host string
	// Quick measures for a third of the time, with less certainty.
	Quick bool
	// MaxBytes bounds what all load phases transfer together; 0 is no limit.
	MaxBytes unit.Bytes
	// STAMPPort, StreamPort and TLSPort say where the reflector listens; 0 stands for its defaults.
	STAMPPort, StreamPort, TLSPort uint16
}

// MinBytes is the least that MaxBytes can be: enough for one short load. From 20 MB on there is something for each.
const MinBytes unit.Bytes = 2e6

// Deps are what a survey works with. None may be nil.
type Deps struct {
	Kinds catalog.Catalog[probes.Kind]
	Env   probes.Env
	// Runner stamps who measured into the Results, and reads the radio where there is one.
	Runner *probes.Runner
}

// Survey is one measurement of one link. Status is safe for concurrent use; Run is called once.
type Survey struct {
	config Config
	deps   Deps
	plan   []phase
	budget *budget
	start  time.Time
	report *Report
	tenure tenure

	latency string // the kind that latency is measured with

	mu     sync.Mutex
	status Status
	live   map[string]*probes.Recorder // of the jobs that run now, by kind
	recent recent
}

// New plans a survey. It opens nothing. The error names the setting that cannot be used.
func New(c Config, d Deps) (*Survey, error) {
	if t, err := probes.ParseTarget(c.Host, 0); err != nil {
		return nil, err
	} else if t.Port != 0 {
		return nil, fmt.Errorf("%q: want a host without a port: several ports of it are used", c.Host)
	}
	if c.MaxBytes > 0 && c.MaxBytes < MinBytes {
		return nil, fmt.Errorf("max_bytes: %v is below the minimum of %v", c.MaxBytes, MinBytes)
	}
	s := &Survey{config: c, deps: d, plan: newPlan(c.Quick), latency: kindSTAMP, live: map[string]*probes.Recorder{}}
	s.budget = newBudget(c.MaxBytes, s.plan)
	for _, p := range s.plan {
		s.status.Planned += p.planned()
		s.status.Phases++
	}
	return s, nil
}

// errDone ends the latency probe when the load beside it has ended.
var errDone = errors.New("the load has ended")

// Run measures, phase by phase, and returns what came of it; never nil. When ctx ends it returns what was measured until
// then. It ends early, too, when the far end is gone. Liveness: every probe that it started has returned.
func (s *Survey) Run(ctx context.Context) *Report {
	s.start = time.Now()
	s.report = newReport(s)
	defer s.release()
	for i, p := range s.plan {
		held, ok := ctx, true
		if p.name != warmUp {
			held, ok = s.hold(ctx)
		}
		if !ok {
			break
		}
		s.enter(i, p)
		done := s.run(held, p)
		s.report.Phases = append(s.report.Phases, done)
		if ctx.Err() != nil {
			s.report.end(probes.Canceled, "interrupted during "+p.label)
			break
		}
		if (done.failed() || done.silent() || s.lost() != nil) && !s.goOn(ctx, p, done) {
			break
		}
		if p.load != nil && i < len(s.plan)-1 {
			pause(ctx, p.pause) // so that the queue of one phase is no part of the next
		}
	}
	s.report.Elapsed = time.Since(s.start)
	s.report.sumUp()
	return s.report
}

// goOn decides what a phase that failed, or that ended in silence, means for the rest: whether the far end is still there.
func (s *Survey) goOn(ctx context.Context, p phase, done Phase) bool {
	alive := s.alive(ctx)
	switch {
	case ctx.Err() != nil:
		s.report.end(probes.Canceled, "interrupted during "+p.label)
		return false
	case alive.Outcome != probes.OK && !s.report.Reached():
		s.report.end(alive.Outcome, fmt.Sprintf("%s could not be reached: %s", s.config.Host, alive.Error))
		return false
	case alive.Outcome != probes.OK:
		s.report.end(alive.Outcome, fmt.Sprintf("%s stopped answering during %s: %s", s.config.Host, p.label, alive.Error))
		return false
	case s.lost() != nil:
		s.report.end(probes.Classify(s.lost()), fmt.Sprintf("%s: %s", p.label, s.lost()))
		return true // with another lease
	case !done.failed():
		return true // an outage that is over, or a reply that was lost
	case p.name == warmUp:
		s.latency = kindTCP
		s.report.note("no answer to STAMP packets on UDP, so that latency is that of echoes over TCP: losses hide in it")
		return true
	case p.name == handshakes && done.failedKind(kindQUIC) != nil:
		s.report.end(done.failedKind(kindQUIC).Outcome, "QUIC: "+done.failedKind(kindQUIC).Error)
		s.dropQUIC("the QUIC handshake failed")
		return true
	default:
		r := done.failure()
		s.report.end(r.Outcome, fmt.Sprintf("%s: %s", p.label, r.Error))
		return true
	}
}

// dropQUIC takes the phases over QUIC out of what is to be done.
func (s *Survey) dropQUIC(why string) {
	for i := range s.plan {
		if l := s.plan[i].load; l != nil && l.transport == kindQUIC {
			s.plan[i].skip = why
		}
	}
}

// alive asks whether the far end accepts a TCP connection.
func (s *Survey) alive(ctx context.Context) *probes.Result {
	return s.measure(ctx, job{kind: kindTCP, name: "alive", fields: map[string]string{"echo": "false", "count": "1", "connect_timeout": "3s"}})
}

// random gives each probe randomness of its own: several run at once, and a source belongs to one goroutine.
func (s *Survey) random() *rand.Rand {
	return rand.New(rand.NewPCG(s.deps.Env.Rand.Uint64(), s.deps.Env.Rand.Uint64()))
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
