package survey

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// tenure is the lease of a survey: one for all that follows the warm-up, so that no other load test of the site disturbs the
// idle link, or comes between two loads.
type tenure struct {
	held  context.Context // carries the lease, and ends with it; nil before there was one
	leave func()
}

// leaseTime is how long a lease is asked for: several times as long as all phases take, for those that hang.
const leaseTime = 3

// hold returns a context that carries a lease, for which it waits its turn; where the far end grants none, or cannot be
// reached, loads find that out for themselves. It returns false when the survey must end.
func (s *Survey) hold(ctx context.Context) (context.Context, bool) {
	if s.tenure.held != nil && s.tenure.held.Err() == nil {
		return s.tenure.held, true
	}
	s.release()
	begun := time.Now()
	held, leave, err := s.gate().Enter(ctx, s.told)
	s.told("")
	if waited := time.Since(begun); waited >= time.Second {
		s.mu.Lock()
		s.status.Planned += waited
		s.mu.Unlock()
		if err == nil {
			s.report.note(fmt.Sprintf("waited %s for other load tests to end", clock(waited)))
		}
	}
	switch {
	case err == nil:
		s.tenure = tenure{held, leave}
		return held, true
	case ctx.Err() != nil:
		s.report.end(probes.Canceled, "interrupted while waiting for other load tests to end")
		return ctx, false
	case probes.Classify(err) == probes.Busy:
		s.report.end(probes.Busy, err.Error())
		return ctx, false
	default:
		return ctx, true
	}
}

// gate is where the lease is asked for.
func (s *Survey) gate() *lease.Gate {
	env := s.deps.Env
	env.Log = slog.New(slog.DiscardHandler) // Status tells of it, and the report
	planned := time.Duration(0)
	for _, p := range s.plan {
		planned += p.planned()
	}
	return &lease.Gate{
		Env:    env,
		Target: probes.Target{Text: s.config.Host, Host: s.config.Host, Port: cmp.Or(s.config.StreamPort, farend.StreamPort)},
		Plain:  true, Terms: lease.DefaultTerms(),
		Ask: lease.Ask{Kind: "test", Bytes: int64(s.config.MaxBytes), Duration: leaseTime * planned},
	}
}

// told takes down where in the queue the survey stands: "" when it does not wait.
func (s *Survey) told(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Waiting = strings.TrimPrefix(state, "waiting: ")
}

// release gives the lease back.
func (s *Survey) release() {
	if s.tenure.leave != nil {
		s.tenure.leave()
	}
	s.tenure = tenure{}
}

// lost is why the lease ended before its time; nil while it has not.
func (s *Survey) lost() error {
	if s.tenure.held == nil || s.tenure.held.Err() == nil {
		return nil
	}
	return context.Cause(s.tenure.held)
}
