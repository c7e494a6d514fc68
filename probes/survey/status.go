package survey

import (
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Status is how far a survey has come, for a display that is drawn again and again.
type Status struct {
	// Label names the phase that runs, number Phase of Phases, counted from 1.
	Label         string
	Phase, Phases int
	// Waiting says where the survey stands in the far end's queue of load tests: "position 2". "" while it measures.
	Waiting string
	// Elapsed is the time since the start, Planned about how long all of it takes.
	Elapsed, Planned time.Duration
	// Down and Up are the rates now, in bytes per second; 0 while nothing is loaded.
	Down, Up float64
	// Latency is the median of the latest round trips; 0 before the first.
	Latency time.Duration
}

// Status says how far the survey has come.
func (s *Survey) Status() Status {
	s.mu.Lock()
	status, load := s.status, s.live[kindThroughput]
	s.mu.Unlock()
	if status.Phase > 0 {
		status.Elapsed = time.Since(s.start)
	}
	status.Latency = s.recent.latency()
	if load != nil {
		now := load.Snapshot().Values
		status.Down = now[probes.Goodput.ValueName(probes.Down, "")]
		status.Up = now[probes.Goodput.ValueName(probes.Up, "")]
	}
	return status
}

func (s *Survey) enter(i int, p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Phase, s.status.Label = i+1, p.label
}

// watch takes down single values of the probe that begins to run.
func (s *Survey) watch(kind string, r *probes.Recorder) {
	s.mu.Lock()
	s.live[kind] = r
	s.mu.Unlock()
	if kind == s.latency || kind == kindThroughput {
		r.Tap(s.recent.tap)
	}
}

func (s *Survey) unwatch(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, kind)
}

// point is one value at one moment since the start of the survey: a round trip in seconds or a rate in bytes per second.
type point struct {
	at time.Duration
	v  float64
}

// recent gathers the single values of one phase. It is safe for concurrent use; the zero value is ready.
type recent struct {
	mu    sync.Mutex
	rtts  []arrival
	rates map[probes.Direction][]float64
}

// arrival is a round trip and when the recorder was told of it, which is up to a quarter of a second late.
type arrival struct {
	at time.Time
	v  float64
}

func (p *recent) tap(m *probes.Metric, d probes.Direction, v float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m {
	case probes.RTT:
		p.rtts = append(p.rtts, arrival{time.Now(), v})
	case probes.IntervalRate:
		if p.rates == nil {
			p.rates = map[probes.Direction][]float64{}
		}
		p.rates[d] = append(p.rates[d], v)
	}
}

// latency is the median of the latest round trips.
func (p *recent) latency() time.Duration {
	const latest = 50 // half a second of them
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.rtts)
	if n == 0 {
		return 0
	}
	var v []float64
	for _, a := range p.rtts[max(0, n-latest):] {
		v = append(v, a.v)
	}
	slices.Sort(v)
	return seconds(v[len(v)/2])
}

// take takes the round trips of the phase and the rates of its load out.
func (p *recent) take() (rtts []arrival, rates map[probes.Direction][]float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rtts, rates = p.rtts, p.rates
	p.rtts, p.rates = nil, nil
	return rtts, rates
}

// spread gives round trips that the recorder was told of in one go the moments at which they arrived: one interval apart,
// the last one now, and none before the batch ahead of it.
func spread(arrivals []arrival, start time.Time) []point {
	const together = 5 * time.Millisecond
	var points []point
	previous := time.Duration(-1 << 62)
	for i := 0; i < len(arrivals); {
		n := 1
		for i+n < len(arrivals) && arrivals[i+n].at.Sub(arrivals[i+n-1].at) < together {
			n++
		}
		last := arrivals[i+n-1].at.Sub(start)
		step := min(interval, (last-max(previous, last-time.Hour))/time.Duration(n))
		for k := range n {
			points = append(points, point{last - time.Duration(n-1-k)*step, arrivals[i+k].v})
		}
		previous = last
		i += n
	}
	return points
}

// rateInterval is how often a load is counted.
const rateInterval = 100 * time.Millisecond

// intervals puts the rates of one direction on the time line: one an interval, behind the ramp.
func intervals(rates []float64, begun, ramp time.Duration) []point {
	var points []point
	for i, v := range rates {
		points = append(points, point{begun + ramp + time.Duration(i+1)*rateInterval, v})
	}
	return points
}

// seconds turns seconds into a Duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
