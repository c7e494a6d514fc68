package budget

import (
	"cmp"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Piece is one Result that is evidence, with the single values behind its histograms where they are known.
type Piece struct {
	Result *probes.Result
	// Tracks are single values by histogram name (Metric.HistName); nil when only the Result is known.
	Tracks map[string]*Track
}

// Track is a row of single values in the order of time.
type Track struct {
	// Values are in the metric's base unit; +Inf is a packet that never arrived.
	Values []float64
	// At is when each was measured; nil where the source had no times.
	At []time.Time
	// HasLost says that lost packets are among the values, each in its place. Otherwise the Result's counters have them.
	HasLost bool
}

// inOrder sorts pieces by time and drops copies of the same Result.
func inOrder(pieces []Piece) []Piece {
	seen := map[probes.ID]bool{}
	pieces = slices.DeleteFunc(slices.Clone(pieces), func(p Piece) bool {
		id := p.Result.ID
		copied := id != probes.ID{} && seen[id]
		seen[id] = true
		return copied
	})
	slices.SortStableFunc(pieces, func(a, b Piece) int { return a.Result.Start.Compare(b.Result.Start) })
	return pieces
}

// track returns the piece's single values of a histogram, when it has them all.
func (p *Piece) track(name string) *Track {
	t := p.Tracks[name]
	if t == nil {
		return nil
	}
	if h := p.Result.Hists[name]; h != nil && !t.HasLost && int(h.Count()) != len(t.Values) {
		return nil // some were merged in unseen
	}
	return t
}

// selects says whether a criterion is about a Result.
func (c *Criterion) selects(r *probes.Result) bool {
	if c.Kind != "" && r.Kind != "" && c.Kind != r.Kind || c.Target != "" && r.Target != "" && c.Target != r.Target {
		return false
	}
	for name, want := range c.Tags {
		if labelOf(r, name) != want {
			return false
		}
	}
	return true
}

func labelOf(r *probes.Result, name string) string {
	switch name {
	case "agent":
		return r.Agent
	case "probe":
		return r.Probe
	case "kind":
		return r.Kind
	case "target":
		return r.Target
	}
	return r.Labels[name]
}

// Conditions are what a measurement was made under. Figures of unlike conditions may be compared, but not without a word.
type Conditions struct {
	Targets  []string `json:"targets,omitempty"`
	Kinds    []string `json:"kinds,omitempty"`
	Agents   []string `json:"agents,omitempty"`
	RATs     []string `json:"rats,omitempty"`
	Bands    []string `json:"bands,omitempty"`
	Cells    []string `json:"cells,omitempty"`
	Versions []string `json:"versions,omitempty"`
	// Interface is what the check was bound to; "" for the system's choice.
	Interface string `json:"interface,omitempty"`
}

// ConditionsOf lists the conditions of some pieces. interfaceName and version are those of this program when it measured
// itself, and "" for what was read.
func ConditionsOf(pieces []Piece, interfaceName, version string) Conditions {
	c := Conditions{Interface: interfaceName}
	note := func(list *[]string, word string) {
		if word == "" {
			return
		}
		if i, found := slices.BinarySearchFunc(*list, word, cmp.Compare[string]); !found {
			*list = slices.Insert(*list, i, word)
		}
	}
	note(&c.Versions, version)
	for _, p := range pieces {
		r := p.Result
		note(&c.Targets, r.Target)
		note(&c.Kinds, r.Kind)
		note(&c.Agents, r.Agent)
		if r.Radio == nil {
			continue
		}
		for _, s := range []*probes.RadioSample{r.Radio.Before, r.Radio.After} {
			if s != nil {
				note(&c.RATs, s.RAT)
				note(&c.Bands, s.Band)
				note(&c.Cells, s.Cell)
			}
		}
	}
	return c
}

// Unlike says in words how two conditions differ, one sentence each. What one side does not know does not differ.
func (c Conditions) Unlike(baseline Conditions) []string {
	var list []string
	for _, f := range []struct {
		name      string
		now, then []string
	}{
		{"target", c.Targets, baseline.Targets},
		{"kind of probe", c.Kinds, baseline.Kinds},
		{"agent", c.Agents, baseline.Agents},
		{"interface", words(c.Interface), words(baseline.Interface)},
		{"radio access technology", c.RATs, baseline.RATs},
		{"band", c.Bands, baseline.Bands},
		{"cells", c.Cells, baseline.Cells},
		{"version of nrprobe", c.Versions, baseline.Versions},
	} {
		if len(f.now) > 0 && len(f.then) > 0 && !slices.Equal(f.now, f.then) {
			list = append(list, "unlike conditions: "+f.name+" is "+several(f.now)+", in the baseline "+several(f.then))
		}
	}
	return list
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// several writes a short list, and a long one as its first and its length.
func several(list []string) string {
	const most = 4
	text := ""
	for i, word := range list {
		if i == most {
			return text + " and others"
		}
		if i > 0 {
			text += ", "
		}
		text += word
	}
	return text
}
