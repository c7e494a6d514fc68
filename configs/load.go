// Package configs reads nrprobe's configuration files: strictly, with every problem listed at once, each with the line it
// stands on, the key's full path and the remedy. The folder also holds commented examples for every role and what
// installs them.
package configs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxFileSize is the largest configuration file that is read. A larger one is no configuration of ours.
const MaxFileSize = 1 << 20

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File string // as the user named it
	Line int    // 1-based; 0 when the problem belongs to the whole file
	Path string // as in "probes[2].interval"; empty at the top
	Text string // names the value and the remedy
}

// String writes the problem as "agent.yaml:14: probes[2].interval: 50µs is below the minimum of 1ms".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is all that is wrong with a configuration file, in the order of its lines. It is an error.
type Problems []Problem

// Error implements error, one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// LoadFile reads the file into config, a pointer to a struct that already holds the defaults.
// The error is a Problems, also when the file could not be read; config is then unfit for use.
func LoadFile(path string, config any) error {
	info, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if info.Size() > MaxFileSize {
		return Problems{{File: path, Text: fmt.Sprintf("the file has %d bytes, more than the %d that a configuration may have", info.Size(), MaxFileSize)}}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return unreadable(path, err)
	}
	return Load(path, text, os.LookupEnv, config)
}

// unreadable leaves out the path that os errors repeat.
func unreadable(path string, err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = p.Err
	}
	return Problems{{File: path, Text: "cannot be read: " + err.Error()}}
}

// Load reads YAML text into config, a pointer to a struct that already holds the defaults. The file name is only quoted in
// problems. lookup resolves ${NAME} inside scalar values; a name it does not know is a problem. Unknown keys, duplicate
// keys, wrong units and values outside their bounds are problems; all of them are reported.
// After decoding, every value in the tree that is a Validator is asked, inner ones first.
func Load(file string, text []byte, lookup func(string) (string, bool), config any) error {
	if len(text) > MaxFileSize {
		return Problems{{File: file, Text: fmt.Sprintf("%d bytes are more than the %d that a configuration may have", len(text), MaxFileSize)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return Problems{syntaxProblem(file, err)}
	}
	r := &Report{file: file, lookup: lookup, budget: 100_000}
	if len(doc.Content) > 0 {
		r.Decode(doc.Content[0], "", config)
	} else {
		r.Decode(&yaml.Node{Kind: yaml.MappingNode, Line: 1}, "", config)
	}
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
	return r.problems
}

// syntaxProblem takes the line number out of yaml.v3's error text, which has it nowhere else.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
	var line int
	if n, scanErr := fmt.Sscanf(p.Text, "line %d:", &line); scanErr == nil && n == 1 {
		p.Line = line
		_, p.Text, _ = strings.Cut(p.Text, ": ")
	}
	return p
}

// Secret returns the value itself, or what the file holds when a file is named, without surrounding white space.
// Naming both is an error, and so is an empty file: an empty secret is never what was meant.
func Secret(value, file string) (string, error) {
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", errors.New("both the secret and a file for it are given: keep one")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("reading secret: %s is empty", file)
	}
	return secret, nil
}
