package demo

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nrprobe/nrprobe/probes/netsim"
)

// drive is one agent's way through the cells.
type drive struct {
	agent  string
	course *netsim.Course
	path   *netsim.Path
	start  time.Time
}

// Trace is a recorded drive.
type Trace struct {
	path   string
	course *netsim.Course
}

// LoadTrace reads a recorded drive; see netsim.LoadTrace for the columns. The error names the file, and the line where one
// is wrong.
func LoadTrace(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the trace: %w", err)
	}
	defer f.Close()
	course, err := netsim.LoadTrace(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Trace{path: path, course: course}, nil
}

// newLinks lays out one drive an agent: seeded ones, or the recorded one for all of them.
func newLinks(o Options) []drive {
	start := time.Now()
	links := make([]drive, o.Agents)
	for i := range links {
		seed := o.Seed + uint64(i)
		var course *netsim.Course
		if o.Trace != nil {
			course = o.Trace.course
		} else {
			course = netsim.Drive(seed, netsim.DriveConfig{})
		}
		links[i] = drive{
			agent: fmt.Sprintf("van-%02d", i+1), course: course, start: start,
			path: netsim.NewPath(seed, start, course.Up, course.Down),
		}
	}
	return links
}

// entrances are the addresses at which an agent finds the far end behind its link.
type entrances struct{ stamp, streams, quic string }

// relays opens the link's entrances: one for each of the reflector's services, all of them through the same path, so
// that a load test fills the queue that latency probes wait in.
func (d drive) relays(ctx context.Context, o Options, s scene, running *group) (entrances, error) {
	far := s.far.Addrs()
	log := o.Log.With("role", "link", "agent", d.agent)
	var in entrances
	for _, relay := range []struct {
		open   func(context.Context, netsim.RelayConfig) (*netsim.Relay, error)
		target string
		addr   *string
	}{
		{netsim.RelayUDP, far.STAMP[0].String(), &in.stamp},
		{netsim.RelayTCP, far.Streams[0].String(), &in.streams},
		{netsim.RelayUDP, far.QUIC[0].String(), &in.quic},
	} {
		r, err := relay.open(ctx, netsim.RelayConfig{Path: d.path, Target: relay.target, Log: log})
		if err != nil {
			return in, fmt.Errorf("opening the emulated link of %s: %w", d.agent, err)
		}
		*relay.addr = r.Addr()
		running.run(func() error { return r.Run(ctx) })
	}
	return in, nil
}
