package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// Live measures while the check judges.
type Live struct {
	// Env is what the probes may touch. Probes run one after the other, so one Env serves all.
	Env probes.Env
	// Runner makes the Results; its Radio joins what the modem says.
	Runner *probes.Runner
	// Target is the far end of budgets and of plans that name none. Compare is the other far end of a comparison in turns:
	// Target is what is judged and Compare what it is held against; "" without a comparison.
	Target, Compare string
	// Interface and Version go into the conditions.
	Interface, Version string
	// Progress is called after every run, from the goroutine of Check; nil when nobody looks on.
	Progress func(Progress)
}

// Progress is where a measurement stands.
type Progress struct {
	Elapsed, Longest time.Duration
	Bytes            unit.Bytes // sent and received so far, headers included, about
	Running          string     // what was just measured, for a person
	Trials           []*Trial
	Samples          int // of the probe that was just run
}

// station is one probe against one target, run again and again.
type station struct {
	spec     ProbeSpec
	index    int // of the probe in the plan
	target   string
	compare  bool // the other side of a comparison
	job      probes.Job
	packet   int // bytes a packet, headers included
	pieces   []Piece
	last     *probes.Result
	failures int // runs without a value, one after the other
}

// unreachableAfter is how many runs in a row must fail, with none before that yielded anything, until the target counts as
// unreachable: one may be a name server that slept.
const unreachableAfter = 3

// pause is the time between two rounds in which nothing was measured.
const pause = 500 * time.Millisecond

// stations are all that a plan needs measured, in an order in which a comparison takes turns.
func (l *Live) stations(p *Plan) ([]*station, error) {
	var list []*station
	for i, spec := range p.Probes {
		target := cmpOr(spec.Target, p.Target, l.Target)
		if l.Target != "" && spec.Target == "" {
			target = l.Target
		}
		if target == "" {
			return nil, fmt.Errorf("no target for the probe %s: give --target, or target in the budgets file", spec.Kind.Name)
		}
		sides := []string{target}
		if l.Compare != "" {
			sides = append(sides, l.Compare)
		}
		for side, name := range sides {
			s := &station{spec: spec, index: i, target: name, compare: side == 1}
			if err := l.prepare(s); err != nil {
				return nil, err
			}
			list = append(list, s)
		}
	}
	return list, nil
}

func (l *Live) prepare(s *station) error {
	kind := s.spec.Kind
	target, err := probes.ParseTarget(s.target, kind.Port)
	if err != nil {
		return err
	}
	timeout := kind.Timeout(s.spec.Config)
	if timeout == 0 {
		return fmt.Errorf("probe %s: measures without end with these settings: leave the window out, check measures again and again by itself", kind.Name)
	}
	probe, err := kind.Build(s.spec.Config, l.Env, target)
	if err != nil {
		return fmt.Errorf("probe %s: %w", kind.Name, err)
	}
	const headers, payload = 48, 64 // IPv6 and UDP; what kinds without a size send, about
	s.packet = headers + payload
	for _, f := range catalog.Fields(s.spec.Config) {
		if f.Key == "size" {
			if size, err := strconv.Atoi(f.String()); err == nil {
				s.packet = headers + size
			}
		}
	}
	s.job = probes.Job{Kind: kind.Name, Name: "check", Target: s.target, Probe: probe, Timeout: timeout}
	return nil
}

func cmpOr(words ...string) string {
	i := slices.IndexFunc(words, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return words[i]
}

// run measures once and keeps the piece.
func (l *Live) run(ctx context.Context, s *station) {
	tracks := map[string]*Track{}
	job := s.job
	job.Recorded = func(r *probes.Recorder) {
		r.Tap(func(m *probes.Metric, d probes.Direction, v float64) {
			name := m.HistName(d)
			if tracks[name] == nil {
				tracks[name] = &Track{}
			}
			tracks[name].Values = append(tracks[name].Values, v)
		})
	}
	l.Runner.Run(ctx, job, func(r *probes.Result) {
		s.last = r
		if ctx.Err() != nil && len(r.Hists) == 0 {
			return // time was up before anything came: that says nothing about the link
		}
		if s.failures++; answered(r) {
			s.failures = 0
		}
		s.pieces = append(s.pieces, Piece{Result: r, Tracks: tracks})
	})
}

// answered says whether anything came back. Histograms do not tell: some are of the instrument itself.
func answered(r *probes.Result) bool {
	return r.Outcome == probes.OK || r.Values[probes.PacketsReceived.ValueName(probes.Both, "")] > 0 || transferred(r) > 0
}

func transferred(r *probes.Result) (total float64) {
	for _, d := range probes.Directions() {
		total += r.Values[probes.Transferred.ValueName(d, "")]
	}
	return total
}

// away says whether a run failed because the target is not there or not to be had: one that is busy is there, and a user who
// interrupts says nothing about it.
func away(r *probes.Result) bool {
	return !slices.Contains([]probes.Outcome{probes.Busy, probes.OverPlan, probes.Canceled}, r.Outcome)
}

// bytes is how much a Result sent and received, about.
func (s *station) bytes(r *probes.Result) float64 {
	packets := r.Values[probes.PacketsSent.ValueName(probes.Both, "")] + r.Values[probes.PacketsReceived.ValueName(probes.Both, "")]
	return packets*float64(s.packet) + transferred(r)
}

// measurement is a check of a plan that measures as it goes.
type measurement struct {
	live     *Live
	plan     *Plan
	stations []*station
	family   *Family
	spending spending
	bytes    float64
	began    time.Time
}

// measure runs the stations in turns until every trial is settled, time or data are up, or ctx ends. The error says that a
// target cannot be reached, or that ctx ended; what was measured until then has been looked at.
func (m *measurement) measure(ctx context.Context) error {
	m.began = time.Now()
	limit, cancel := context.WithTimeoutCause(ctx, m.plan.MaxDuration, errTimeUp)
	defer cancel()
	for round := 0; ; round++ {
		before := m.bytes
		if err := m.round(limit, round); err != nil {
			m.look(1)
			return err
		}
		step := m.bytes - before
		if limit.Err() != nil || m.plan.MaxBytes > 0 && m.bytes+step > float64(m.plan.MaxBytes) {
			break
		}
		m.look(m.fraction())
		if m.plan.Sequential && m.family.Settled() {
			return nil
		}
		if !slices.ContainsFunc(m.stations, func(s *station) bool { return s.failures == 0 }) {
			select {
			case <-time.After(pause):
			case <-limit.Done():
			}
		}
	}
	m.look(1)
	return context.Cause(ctx)
}

// errTimeUp ends the last run of a check.
var errTimeUp = errors.New("the longest duration of the check is over")

// round runs every station once, in an order that alternates, so that neither side of a comparison is always first.
func (m *measurement) round(ctx context.Context, round int) error {
	order := slices.Clone(m.stations)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, s := range order {
		if ctx.Err() != nil {
			return nil
		}
		if m.done(s) {
			continue
		}
		m.live.run(ctx, s)
		if s.last != nil {
			m.bytes += s.bytes(s.last)
		}
		if s.failures >= unreachableAfter && len(s.pieces) == s.failures && away(s.last) {
			return probes.Fail(s.last.Outcome, "%s does not answer the probe %s: %s", s.target, s.spec.Kind.Name, s.last.Error)
		}
		m.progress(s)
	}
	return nil
}

// done says whether every trial that a station measures for is settled.
func (m *measurement) done(s *station) bool {
	return m.plan.Sequential && !slices.ContainsFunc(m.family.Trials, func(t *Trial) bool {
		return t.Criterion.Probe == s.index && t.Outcome() == Inconclusive
	})
}

func (m *measurement) progress(s *station) {
	if m.live.Progress == nil {
		return
	}
	p := Progress{
		Elapsed: time.Since(m.began), Longest: m.plan.MaxDuration, Bytes: unit.Bytes(m.bytes), Trials: m.family.Trials,
		Running: s.spec.Kind.Name + " " + s.target,
	}
	for _, piece := range s.pieces {
		most := 0
		for _, t := range piece.Tracks {
			most = max(most, len(t.Values))
		}
		p.Samples += most
	}
	m.live.Progress(p)
}

// fraction is how much of the time or of the data is used up.
func (m *measurement) fraction() float64 {
	f := time.Since(m.began).Seconds() / m.plan.MaxDuration.Seconds()
	if m.plan.MaxBytes > 0 {
		f = max(f, m.bytes/float64(m.plan.MaxBytes))
	}
	return math.Min(f, 0.999)
}

// look takes the looks that are due. Those that were missed are taken together.
func (m *measurement) look(fraction float64) {
	turn, due := m.spending.due(fraction)
	if !due {
		return
	}
	m.family.Look(turn, func(t *Trial) *Evidence {
		if t.Against == Pair {
			t.Baseline = t.Criterion.Gather(m.pieces(t.Criterion, true))
		}
		return t.Criterion.Gather(m.pieces(t.Criterion, false))
	})
}

// pieces are those of the station that measures for a criterion.
func (m *measurement) pieces(c *Criterion, compare bool) []Piece {
	for _, s := range m.stations {
		if s.index == c.Probe && s.compare == compare {
			return s.pieces
		}
	}
	return nil
}

// all are the pieces of every station, in the order of time.
func (m *measurement) all(compare bool) []Piece {
	var list []Piece
	for _, s := range m.stations {
		if s.compare == compare {
			list = append(list, s.pieces...)
		}
	}
	return inOrder(list)
}
