package schedule

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"time"
)

// Offset is where in a period a probe starts, in [0, every): a hash of the agent's and the probe's name and of the period's
// number. It is the same after a restart, it spreads the agents of a fleet evenly, and it orders the probes of an agent anew
// in each period, so that none is always measured in the wake of another, or in step with something periodic of the network
// (RFC 2330 section 11.1). every must be positive.
func Offset(agent, probe string, period int64, every time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(agent))
	h.Write([]byte{0})
	h.Write([]byte(probe))
	h.Write([]byte{0})
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(period)))
	return time.Duration(mix(h.Sum64()) % uint64(every))
}

// mix spreads what differs in the last bytes over all bits (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Starts are the moments at which a probe starts, one in each period. Periods are counted from 1970 by the wall clock, so a
// restart keeps them.
type Starts struct {
	agent, probe string
	every        time.Duration
	began        time.Time // the period in which the probe was first scheduled; carries the monotonic clock
	number       int64     // of that period
}

// NewStarts returns the starts from now on. Later periods are counted by now's monotonic clock: they do not move when the
// wall clock does. every must be positive.
func NewStarts(now time.Time, agent, probe string, every time.Duration) Starts {
	number, phase := now.UnixNano()/int64(every), now.UnixNano()%int64(every)
	if phase < 0 {
		number, phase = number-1, phase+int64(every) // a clock before 1970
	}
	return Starts{agent, probe, every, now.Add(-time.Duration(phase)), number}
}

// At is the start in the nth period after the one in which the probe was first scheduled.
func (s Starts) At(n int) time.Time {
	offset := Offset(s.agent, s.probe, s.number+int64(n), s.every)
	return s.began.Add(time.Duration(n)*s.every + offset)
}

// Every calls run at each start, until ctx ends. A run that is still going at the next start delays it; one that takes
// until the end of a period or longer makes it skip that period's start, so runs never pile up. skipped, if not nil, is
// told how many were.
//
// Liveness: returns when ctx ends and run has returned.
func Every(ctx context.Context, starts Starts, run func(context.Context), skipped func(int)) {
	n := 0
	if starts.At(0).Before(time.Now()) {
		n = 1
	}
	for sleep(ctx, time.Until(starts.At(n))) {
		run(ctx)
		n++
		missed := max(0, int((time.Since(starts.began)-1)/starts.every)-n)
		if missed > 0 && skipped != nil && ctx.Err() == nil {
			skipped(missed)
		}
		n += missed
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
