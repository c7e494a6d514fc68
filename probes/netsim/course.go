package netsim

import (
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Course is a link over time together with what the modem at its edge would say. Drive makes one from a seed, LoadTrace
// from a recording. It repeats itself after Length. It is immutable and safe for concurrent use.
type Course struct {
	// Up and Down are the link's two directions.
	Up, Down Profile
	// RadioAt is the modem's reading at that time since the link began, without a time stamp; nil where none is known.
	// The caller may keep and change what it gets.
	RadioAt func(elapsed time.Duration) *probes.RadioSample
	// Length is how long it takes until everything begins again.
	Length time.Duration
	// Handovers are the moments in one Length at which the serving cell changes, where they are known.
	Handovers []Interval
	// Outages are the stretches of one Length in which nothing gets through, where they are known.
	Outages []Interval
}

// Radio returns a modem for a link that began at start: it reads the radio as it is now, with the present time. It has
// the shape of probes.Runner's Radio.
func (c *Course) Radio(start time.Time) func() *probes.RadioSample {
	return func() *probes.RadioSample {
		now := time.Now()
		s := c.RadioAt(now.Sub(start))
		if s != nil {
			s.Time = now.Round(0)
		}
		return s
	}
}

// Faster returns the course driven that many times as fast, from 0.01 to 1000 times: what happens along the way comes
// sooner, handovers and outages are shorter, while delays, rates and losses stay what they are.
func (c *Course) Faster(times float64) (*Course, error) {
	if !(times >= 0.01 && times <= 1000) {
		return nil, fmt.Errorf("speed-up: %v is not from 0.01 to 1000", times)
	}
	faster := func(d time.Duration) time.Duration { return time.Duration(float64(d) / times) }
	slower := func(d time.Duration) time.Duration { return time.Duration(float64(d) * times) }
	profile := func(p Profile) Profile {
		return ProfileFunc(func(elapsed time.Duration) State {
			s := p.At(slower(elapsed))
			s.Stall = faster(s.Stall)
			return s
		})
	}
	intervals := func(list []Interval) []Interval {
		moved := make([]Interval, len(list))
		for i, v := range list {
			moved[i] = Interval{faster(v.Start), faster(v.End)}
		}
		return moved
	}
	return &Course{
		Up: profile(c.Up), Down: profile(c.Down), Length: max(faster(c.Length), 1),
		RadioAt:   func(elapsed time.Duration) *probes.RadioSample { return c.RadioAt(slower(elapsed)) },
		Handovers: intervals(c.Handovers), Outages: intervals(c.Outages),
	}, nil
}

// within maps any time to one Length.
func within(elapsed, length time.Duration) time.Duration {
	elapsed %= length
	if elapsed < 0 {
		elapsed += length
	}
	return elapsed
}

// bufferOf is how many bytes a base station or modem queues at a rate: a fifth of a second's worth, the order of what
// load adds to the round trip in 5G networks, and no less than 64 KiB.
func bufferOf(rate float64) int { return max(int(rate/5), 64<<10) }
