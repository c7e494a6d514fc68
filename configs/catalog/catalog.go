// Package catalog is how nrprobe holds things that come in kinds (probes, sinks): an explicit, ordered list built by one
// function, and a typed configuration struct per kind whose fields describe themselves. There is no registration at
// start-up and nothing global: whoever needs a catalog is given one.
package catalog

import (
	"fmt"
	"strings"
)

// Named is anything a catalog can list.
type Named interface {
	// CatalogName is the word that configuration files and the command line use. It never changes once released.
	CatalogName() string
}

// Catalog is an ordered list of entries with distinct names. It is immutable, and safe for concurrent use.
type Catalog[T Named] struct {
	what    string
	entries []T
}

// New lists entries under the word for what they are ("probe kind"), which errors use.
// It panics on a duplicate or empty name, because that is a mistake in the program and never in its input.
func New[T Named](what string, entries ...T) Catalog[T] {
	seen := map[string]bool{}
	for _, e := range entries {
		name := e.CatalogName()
		if name == "" || seen[name] {
			panic(fmt.Sprintf("catalog: %s %q is listed twice or has no name", what, name))
		}
		seen[name] = true
	}
	return Catalog[T]{what: what, entries: entries}
}

// All returns the entries in the order they were listed. The caller must not change them.
func (c Catalog[T]) All() []T { return c.entries }

// Names returns the names in the order they were listed.
func (c Catalog[T]) Names() []string {
	names := make([]string, len(c.entries))
	for i, e := range c.entries {
		names[i] = e.CatalogName()
	}
	return names
}

// Find returns the entry with that name. The error suggests the nearest name and lists all of them.
func (c Catalog[T]) Find(name string) (T, error) {
	for _, e := range c.entries {
		if e.CatalogName() == name {
			return e, nil
		}
	}
	var none T
	hint := ""
	if near := Nearest(name, c.Names()); near != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	return none, fmt.Errorf("unknown %s %q%s: one of %s", c.what, name, hint, strings.Join(c.Names(), ", "))
}

// Nearest returns the candidate that differs from name by the fewest edits, or "" when none is near enough to be what
// was meant (at most a third of the letters, and at least two edits are allowed).
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance between two short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
