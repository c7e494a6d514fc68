package budget

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// MaxInput is the largest file that is read as evidence. It holds a day of packets at 100 a second in any of the formats.
const MaxInput = 1 << 30

// InputError says what is wrong with a file or with what a store answered: file, line where there is one, value, remedy.
type InputError struct {
	File string
	Line int // 1-based; 0 for the whole file
	Text string
}

// Error implements error.
func (e *InputError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	}
	return e.File + ": " + e.Text
}

// Input is what a file held.
type Input struct {
	Pieces []Piece
	// Conditions are those that a saved baseline names, or those of its Results.
	Conditions Conditions
	// Warnings are oddities that did not keep the file from being read, one sentence each.
	Warnings []string
}

// ReadFile reads evidence from a file: a saved baseline, JSON (objects of Results one after the other, as --json prints
// them), line protocol, or CSV with a header line. columns say what the columns of CSV mean. "-" is not special.
// The error is an *InputError unless the file cannot be read at all.
func ReadFile(path string, columns Columns) (*Input, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading input: %w", err)
	}
	if info.IsDir() {
		return nil, &InputError{File: path, Text: "is a folder: name a file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading input: %w", err)
	}
	defer f.Close()
	return Read(path, f, columns)
}

// Read is ReadFile for a stream; name is only quoted in errors.
func Read(name string, r io.Reader, columns Columns) (*Input, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(text) > MaxInput {
		return nil, &InputError{File: name, Text: fmt.Sprintf("is larger than the %d MiB that one check reads: give a part of it", MaxInput>>20)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	body := bytes.TrimLeft(text, " \t\r\n")
	if len(body) == 0 {
		return nil, &InputError{File: name, Text: "is empty: there is nothing to judge"}
	}
	var in *Input
	switch {
	case body[0] == '{' || body[0] == '[':
		in, err = readJSON(name, body)
	case isLineProtocol(body):
		in, err = readLines(name, body)
	default:
		in, err = readCSV(name, text, columns)
	}
	if err != nil {
		return nil, err
	}
	if len(in.Pieces) == 0 {
		return nil, &InputError{File: name, Text: "holds no results: there is nothing to judge"}
	}
	in.Pieces = inOrder(in.Pieces)
	if in.Conditions.empty() {
		in.Conditions = ConditionsOf(in.Pieces, "", "")
	}
	return in, nil
}

func (c Conditions) empty() bool {
	return len(c.Targets)+len(c.Kinds)+len(c.Agents)+len(c.RATs)+len(c.Bands)+len(c.Cells)+len(c.Versions) == 0 && c.Interface == ""
}

// isLineProtocol says whether the first line that is no comment begins like one of ours.
func isLineProtocol(body []byte) bool {
	for line := range bytes.Lines(body) {
		if line[0] == '#' || len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		for _, m := range []string{wire.Measurement, wire.RadioMeasurement, wire.EventMeasurement} {
			if rest, ok := bytes.CutPrefix(line, []byte(m)); ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == ' ') && bytes.Contains(rest, []byte("=")) {
				return true
			}
		}
		return false
	}
	return false
}

func readLines(name string, body []byte) (*Input, error) {
	batch := wire.Decode(body, wire.Options{})
	in := &Input{}
	for _, r := range batch.Results {
		in.Pieces = append(in.Pieces, Piece{Result: r})
	}
	if batch.Bad > 0 {
		first := batch.Problems[0]
		if len(batch.Results) == 0 {
			return nil, &InputError{File: name, Line: first.Line, Text: first.Text}
		}
		in.Warnings = append(in.Warnings, fmt.Sprintf("%s: %d lines could not be read; the first is line %d: %s", name, batch.Bad, first.Line, first.Text))
	}
	return in, nil
}

// readJSON reads a saved baseline, or Results one after the other, or a list of them.
func readJSON(name string, body []byte) (*Input, error) {
	if body[0] == '{' {
		var head struct {
			Schema string `json:"schema"`
		}
		if json.NewDecoder(bytes.NewReader(body)).Decode(&head) == nil && head.Schema != "" {
			return readBaseline(name, body, head.Schema)
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	in := &Input{}
	if body[0] == '[' {
		if _, err := d.Token(); err != nil {
			return nil, jsonError(name, body, d, err)
		}
	}
	for d.More() {
		r := &probes.Result{}
		if err := d.Decode(r); err != nil {
			return nil, jsonError(name, body, d, err)
		}
		if err := checkResult(r); err != nil {
			return nil, &InputError{File: name, Line: lineAt(body, d.InputOffset()), Text: err.Error()}
		}
		in.Pieces = append(in.Pieces, Piece{Result: r})
	}
	return in, nil
}

func checkResult(r *probes.Result) error {
	if r.Values == nil && r.Hists == nil {
		return errors.New("an object without values is no Result: want what --json prints")
	}
	for name, v := range r.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s is %v, which is no measurement", name, v)
		}
	}
	if slices.Contains(mapValues(r), nil) {
		return errors.New("a histogram is null: leave it out")
	}
	return nil
}

func mapValues(r *probes.Result) []*probes.Hist {
	var list []*probes.Hist
	for _, h := range r.Hists {
		list = append(list, h)
	}
	return list
}

func jsonError(name string, body []byte, d *json.Decoder, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends in the middle of an object")
	}
	return &InputError{File: name, Line: lineAt(body, d.InputOffset()), Text: "not a Result in JSON: " + err.Error()}
}

// lineAt is the number of the line at an offset.
func lineAt(body []byte, offset int64) int {
	return 1 + bytes.Count(body[:min(int(offset), len(body))], []byte("\n"))
}

// shorten quotes foreign text without letting it fill the screen.
func shorten(text string) string {
	const most = 40
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
