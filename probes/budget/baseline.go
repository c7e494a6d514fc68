package budget

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// BaselineSchema is the word in saved baselines that says what they are. The number grows with every change that an
// older reader would misread.
const BaselineSchema = "nrprobe-baseline/1"

type baselineJSON struct {
	Schema     string      `json:"schema"`
	Saved      time.Time   `json:"saved"`
	Conditions Conditions  `json:"conditions"`
	Pieces     []pieceJSON `json:"pieces"`
}

type pieceJSON struct {
	Result *probes.Result        `json:"result"`
	Tracks map[string]*trackJSON `json:"tracks,omitempty"`
}

// trackJSON has null for lost packets, and times in microseconds since the start of the Result.
type trackJSON struct {
	Values  []*float64 `json:"values"`
	At      []int64    `json:"at_us,omitempty"`
	HasLost bool       `json:"has_lost,omitempty"`
}

// SaveBaseline writes a measurement to a file, to compare later ones with. It replaces the file as a whole or not at all.
func SaveBaseline(path string, pieces []Piece, conditions Conditions, now time.Time) error {
	b := baselineJSON{Schema: BaselineSchema, Saved: now.UTC().Round(time.Second), Conditions: conditions}
	for _, p := range pieces {
		j := pieceJSON{Result: p.Result, Tracks: map[string]*trackJSON{}}
		for name, t := range p.Tracks {
			j.Tracks[name] = t.json(p.Result.Start)
		}
		b.Pieces = append(b.Pieces, j)
	}
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("saving baseline: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".baseline-*")
	if err != nil {
		return fmt.Errorf("saving baseline: %w", err)
	}
	defer os.Remove(temporary.Name())
	if _, err = temporary.Write(append(text, '\n')); err == nil {
		err = temporary.Chmod(0o644)
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("saving baseline: %w", err)
	}
	return nil
}

func (t *Track) json(start time.Time) *trackJSON {
	j := &trackJSON{HasLost: t.HasLost, Values: make([]*float64, len(t.Values))}
	for i, v := range t.Values {
		if !math.IsInf(v, 0) {
			j.Values[i] = &v
		}
	}
	for _, at := range t.At {
		j.At = append(j.At, at.Sub(start).Microseconds())
	}
	return j
}

func (j *trackJSON) track(start time.Time) (*Track, error) {
	t := &Track{HasLost: j.HasLost, Values: make([]float64, len(j.Values))}
	for i, v := range j.Values {
		t.Values[i] = math.Inf(1)
		if v != nil {
			t.Values[i] = *v
		}
	}
	if len(j.At) > 0 && len(j.At) != len(j.Values) {
		return nil, fmt.Errorf("%d times for %d values", len(j.At), len(j.Values))
	}
	for _, us := range j.At {
		t.At = append(t.At, start.Add(time.Duration(us)*time.Microsecond))
	}
	return t, nil
}

func readBaseline(name string, body []byte, schema string) (*Input, error) {
	if schema != BaselineSchema {
		hint := "this version reads " + BaselineSchema
		if strings.HasPrefix(schema, reportSchemaName) {
			hint = "it is the report of a check; a baseline is written with --save"
		}
		return nil, &InputError{File: name, Text: fmt.Sprintf("has the schema %s: %s", shorten(schema), hint)}
	}
	var b baselineJSON
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&b); err != nil {
		return nil, jsonError(name, body, d, err)
	}
	in := &Input{Conditions: b.Conditions}
	for i, j := range b.Pieces {
		if j.Result == nil {
			return nil, &InputError{File: name, Text: fmt.Sprintf("pieces[%d] has no result", i)}
		}
		p := Piece{Result: j.Result, Tracks: map[string]*Track{}}
		for metric, tj := range j.Tracks {
			if tj == nil {
				return nil, &InputError{File: name, Text: fmt.Sprintf("pieces[%d].tracks.%s is null", i, metric)}
			}
			t, err := tj.track(j.Result.Start)
			if err != nil {
				return nil, &InputError{File: name, Text: fmt.Sprintf("pieces[%d].tracks.%s: %v", i, metric, err)}
			}
			p.Tracks[metric] = t
		}
		in.Pieces = append(in.Pieces, p)
	}
	return in, nil
}
