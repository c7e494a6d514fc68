package agent

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// stepThreshold is the difference between wall clock and monotonic clock that counts as a step. Slewing moves both alike,
// so what is left between two looks is the resolution of the clocks and the time between reading them: far less.
const stepThreshold = 50 * time.Millisecond

// maxSteps bounds the steps that are remembered; a clock that steps more often than this is no clock.
const maxSteps = 64

// clockSet is a moment at which every clock that was ever set must be by now. Devices without a battery start in 1970, at
// the date of their firmware's kernel, or at the newest file they find.
func clockSet() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }

// clock watches the wall clock against the monotonic one. It is safe for concurrent use.
type clock struct {
	wall  func() time.Time     // the wall clock; tests shift it
	slept func() time.Duration // how long the host slept since it was started; tests let it sleep

	mu        sync.Mutex
	lastMono  time.Time
	lastWall  time.Time
	lastSlept time.Duration
	steps     []step
}

// step is a jump of the wall clock by an amount, or a sleep of the host, somewhere between two moments of the monotonic
// clock, which stands still while the host sleeps.
type step struct {
	after, until time.Time
	by           time.Duration // of the wall clock against the time that really passed
	slept        time.Duration
}

// flags are what the step makes of a measurement that it falls into.
func (s step) flags() (q probes.Quality) {
	if s.by != 0 {
		q |= probes.ClockStepped
	}
	if s.slept != 0 {
		q |= probes.Suspended
	}
	return q
}

// substantial leaves out what is no more than the resolution of the clocks.
func substantial(d time.Duration) time.Duration {
	if d.Abs() < stepThreshold {
		return 0
	}
	return d
}

func newClock() *clock {
	c := &clock{wall: func() time.Time { return time.Now().Round(0) }, slept: hostSlept}
	c.lastMono, c.lastWall, c.lastSlept = time.Now(), c.wall(), c.slept()
	return c
}

// look compares the clocks. It returns the step since the last look; 0 is none.
func (c *clock) look() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono, wall, asleep := time.Now(), c.wall(), c.slept()
	s := step{after: c.lastMono, until: mono, slept: substantial(asleep - c.lastSlept)}
	s.by = substantial(wall.Sub(c.lastWall) - mono.Sub(c.lastMono) - s.slept)
	if s.flags() != 0 {
		c.steps = append(c.steps, s)
		c.steps = slices.Delete(c.steps, 0, max(0, len(c.steps)-maxSteps))
	}
	c.lastMono, c.lastWall, c.lastSlept = mono, wall, asleep
	return s.by
}

// stamp looks at the clocks at the end of a measurement and flags its result, which is the caller's own copy.
func (c *clock) stamp(r *probes.Result) {
	if by := c.look(); by != 0 {
		r.Events = append(slices.Clip(r.Events), probes.Event{
			Time: c.wall(), Type: probes.ClockStep, Detail: fmt.Sprintf("the wall clock stepped by %+.3f s", by.Seconds()),
		})
	}
	now := time.Now()
	began := now.Add(-r.Elapsed)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.steps {
		if s.until.After(began) && s.after.Before(now) {
			r.Quality |= s.flags()
		}
	}
	if c.lastWall.Before(clockSet()) {
		r.Quality |= probes.ClockUnset
	}
}

// isSet says whether the wall clock showed a possible date at the last look.
func (c *clock) isSet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lastWall.Before(clockSet())
}

// since is how far the wall clock has stepped since a moment, all steps added; it goes on by itself while the host sleeps.
func (c *clock) since(moment time.Time) (by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.steps {
		if s.until.After(moment) {
			by += s.by
		}
	}
	return by
}

// undated keeps results that were measured before the clock was set until it is, so that they are delivered with the time
// at which they were measured. It belongs to one goroutine.
type undated struct {
	clock *clock
	held  []heldResult
}

type heldResult struct {
	at     time.Time // when it came, with the monotonic clock
	result *probes.Result
}

// maxHeld bounds the results that wait for a date: hours of a few probes, and a MiB or two.
const maxHeld = 1000

// pass returns what may go on: r itself, or nothing while its date is unknown, or r behind all that waited for a date.
func (u *undated) pass(r *probes.Result) []*probes.Result {
	if r.Quality.Has(probes.ClockUnset) && !u.clock.isSet() {
		u.held = append(u.held, heldResult{time.Now(), r})
		if len(u.held) <= maxHeld {
			return nil
		}
		oldest := u.held[0].result
		u.held = u.held[1:]
		return []*probes.Result{oldest}
	}
	return append(u.flush(), r)
}

// flush returns all that waited, dated as well as is known by now.
func (u *undated) flush() []*probes.Result {
	list := make([]*probes.Result, len(u.held))
	for i, h := range u.held {
		list[i] = redate(h.result, u.clock.since(h.at))
	}
	u.held = nil
	return list
}

// redate moves a result to the time that the clock shows since it was set.
func redate(r *probes.Result, by time.Duration) *probes.Result {
	if by == 0 {
		return r
	}
	c := r.Clone()
	c.Start = c.Start.Add(by)
	for i := range c.Events {
		c.Events[i].Time = c.Events[i].Time.Add(by)
	}
	if c.Radio != nil {
		for _, s := range []*probes.RadioSample{c.Radio.Before, c.Radio.After} {
			if s != nil {
				s.Time = s.Time.Add(by)
			}
		}
	}
	if c.Info == nil {
		c.Info = map[string]string{}
	}
	c.Info["redated_by"] = by.String()
	return c
}
