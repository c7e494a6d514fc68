package schedule

import (
	"context"
	"hash/fnv"
	"time"
)

// Offset is where in its period a probe starts: a hash of the agent's and the probe's name, in [0, every). It is the same
// after each restart, and spreads the probes of an agent and the agents of a fleet evenly. every must be positive.
func Offset(agent, probe string, every time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(agent))
	h.Write([]byte{0})
	h.Write([]byte(probe))
	return time.Duration(h.Sum64() % uint64(every))
}

// First is the first moment, not before now, at which the wall clock stands at offset within a period of every, counted
// from 1970. So a restart keeps the phase. The result carries now's monotonic clock: later periods are counted from it
// and do not move when the wall clock does.
func First(now time.Time, offset, every time.Duration) time.Time {
	phase := time.Duration(now.UnixNano() % int64(every))
	if phase < 0 {
		phase += every // a clock before 1970
	}
	wait := offset - phase
	if wait < 0 {
		wait += every
	}
	return now.Add(wait)
}

// Every calls run at first and then once a period, until ctx ends. A run that takes longer than a period makes it skip
// the starts that have passed, so runs never pile up and never drift; skipped, if not nil, is told how many.
//
// Liveness: returns when ctx ends and run has returned.
func Every(ctx context.Context, first time.Time, every time.Duration, run func(context.Context), skipped func(int)) {
	for next := first; sleep(ctx, time.Until(next)); {
		run(ctx)
		missed := max(0, int((time.Since(next)-1)/every))
		if missed > 0 && skipped != nil && ctx.Err() == nil {
			skipped(missed)
		}
		next = next.Add(time.Duration(missed+1) * every)
	}
}

// The pause before a continuous probe that ended by itself is started again: it begins at one second, so that a reflector
// that was just restarted is measured again soon, doubles up to a minute, which keeps a target that is gone from being
// asked all the time, and begins anew once a run lasted longer than the longest pause.
const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// Forever calls run again and again until ctx ends, with a growing pause after each run. Where run returns true it was
// asked to make room and goes on at once, without a pause.
//
// Liveness: returns when ctx ends and run has returned.
func Forever(ctx context.Context, run func(context.Context) (again bool)) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		if run(ctx) {
			continue
		}
		if time.Since(began) > maxPause {
			pause = firstPause
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// sleep waits; false means that ctx ended. A wait that is already over still looks at ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
