package survey

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Schema names the form of the JSON object. Fields may be added under the same name; none changes its meaning.
const Schema = "nrprobe-test/1"

// Report is what came of a survey. It is not changed any more when Run has returned it.
type Report struct {
	Agent  string
	Target string
	Start  time.Time
	// Elapsed is how long all of it took.
	Elapsed time.Duration
	Quick   bool
	// MaxBytes is the limit that was set, Transferred what the load phases moved, both ways together. Bytes.
	MaxBytes, Transferred int64
	// Outcome is OK when everything was measured that was asked for, left out phases apart; else what went wrong first.
	Outcome probes.Outcome
	Error   string
	Phases  []Phase
	// Figures are what is drawn from several phases, by name, in base units.
	Figures map[string]float64
	// Grades are letters by the phase whose added delay they judge, and "overall", the worst of them.
	Grades map[string]string
	// Notes say what a reader should know, as sentences without a full stop.
	Notes   []string
	Quality probes.Quality
}

// Phase is one part of a survey.
type Phase struct {
	Name, Label string
	// Start is since the start of the survey.
	Start, Elapsed time.Duration
	// Skipped says why there are no Results; "" when it was run.
	Skipped string
	Results []*probes.Result

	rtts  []point
	rates map[probes.Direction][]point
	begun time.Duration // when data began to flow
}

func newReport(s *Survey) *Report {
	return &Report{
		Agent: s.deps.Runner.Agent, Target: s.config.Host, Start: s.start.Round(0), Quick: s.config.Quick,
		MaxBytes: int64(s.config.MaxBytes), Outcome: probes.OK, Figures: map[string]float64{}, Grades: map[string]string{},
	}
}

// end takes down what went wrong. The first counts, but that the user interrupted it says more than what came of that.
func (r *Report) end(o probes.Outcome, text string) {
	if r.Outcome == probes.OK || o == probes.Canceled {
		first, _, _ := strings.Cut(text, "\n") // the Results have all of it
		r.Outcome, r.Error = o, first
	}
}

func (r *Report) note(text string) { r.Notes = append(r.Notes, text) }

// Reached says whether any probe got an answer from the far end.
func (r *Report) Reached() bool {
	for _, p := range r.Phases {
		for _, x := range p.Results {
			if x.Values[probes.PacketsReceived.ValueName(probes.Both, "")] > 0 || transferred(x) > 0 || x.Outcome == probes.OK {
				return true
			}
		}
	}
	return false
}

// phase finds a phase that was run; nil when it was not, or has no Result.
func (r *Report) phase(name string) *Phase {
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Name == name && len(p.Results) > 0 {
			return p
		}
	}
	return nil
}

func (p *Phase) add(r *probes.Result) {
	if r != nil {
		p.Results = append(p.Results, r)
	}
}

// of is the phase's first Result of a kind; nil when there is none.
func (p *Phase) of(kinds ...string) *probes.Result {
	for _, r := range p.Results {
		if slices.Contains(kinds, r.Kind) {
			return r
		}
	}
	return nil
}

// latency is the Result that round trips are in; nil when there is none.
func (p *Phase) latency() *probes.Result { return p.of(kindSTAMP, kindTCP) }

// load is the Result that rates are in; nil when there is none.
func (p *Phase) load() *probes.Result { return p.of(kindThroughput) }

// failed says whether something was to be measured and was not.
func (p *Phase) failed() bool { return p.failure() != nil }

// silent says whether the last second and a half brought no reply: a load may have run to its end with nobody there.
func (p *Phase) silent() bool {
	if p.latency() == nil || p.Name == handshakes || p.Elapsed < silence {
		return false
	}
	last := p.Start
	for _, x := range p.rtts {
		last = max(last, x.at)
	}
	return p.Start+p.Elapsed-last > silence
}

// silence is longer than the round trips of a queue that is worse than most, and shorter than a latency probe waits for the
// last reply.
const silence = 1500 * time.Millisecond

// failure is the Result that tells most about what went wrong: a load says more than latency beside it.
func (p *Phase) failure() (worst *probes.Result) {
	for _, r := range p.Results {
		if r.Outcome != probes.OK && (worst == nil || r.Kind == kindThroughput) {
			worst = r
		}
	}
	return worst
}

// failedKind is the Result of that kind that failed; nil when none did.
func (p *Phase) failedKind(kind string) *probes.Result {
	for _, r := range p.Results {
		if r.Kind == kind && r.Outcome != probes.OK {
			return r
		}
	}
	return nil
}

// trace puts the rates on the time line.
func (p *Phase) trace(rates map[probes.Direction][]float64, begun time.Duration) {
	r := p.load()
	if r == nil || len(rates) == 0 {
		return
	}
	p.begun, p.rates = begun, map[probes.Direction][]point{}
	for way, v := range rates {
		p.rates[way] = intervals(v, begun, seconds(r.Values[probes.Ramp.ValueName(way, "")]))
	}
}

type reportJSON struct {
	Schema      string             `json:"schema"`
	Agent       string             `json:"agent"`
	Target      string             `json:"target"`
	Start       time.Time          `json:"start"`
	Elapsed     float64            `json:"elapsed_seconds"`
	Quick       bool               `json:"quick"`
	MaxBytes    int64              `json:"max_bytes,omitempty"`
	Transferred int64              `json:"transferred_bytes"`
	Outcome     probes.Outcome     `json:"outcome"`
	Error       string             `json:"error,omitempty"`
	Figures     map[string]float64 `json:"figures"`
	Grades      map[string]string  `json:"grades"`
	Notes       []string           `json:"notes,omitempty"`
	Quality     probes.Quality     `json:"quality"`
	Phases      []phaseJSON        `json:"phases"`
}

type phaseJSON struct {
	Name    string           `json:"name"`
	Start   float64          `json:"start_seconds"`
	Elapsed float64          `json:"elapsed_seconds"`
	Skipped string           `json:"skipped,omitempty"`
	Results []*probes.Result `json:"results"`
}

// MarshalJSON writes the object that --json prints. Everything is in seconds, bytes and ratios.
func (r *Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{
		Schema: Schema, Agent: r.Agent, Target: r.Target, Start: r.Start, Elapsed: r.Elapsed.Seconds(), Quick: r.Quick,
		MaxBytes: r.MaxBytes, Transferred: r.Transferred, Outcome: r.Outcome, Error: r.Error,
		Figures: r.Figures, Grades: r.Grades, Notes: r.Notes, Quality: r.Quality, Phases: []phaseJSON{},
	}
	for _, p := range r.Phases {
		results := p.Results
		if results == nil {
			results = []*probes.Result{}
		}
		j.Phases = append(j.Phases, phaseJSON{Name: p.Name, Start: p.Start.Seconds(), Elapsed: p.Elapsed.Seconds(), Skipped: p.Skipped, Results: results})
	}
	return json.Marshal(j)
}
