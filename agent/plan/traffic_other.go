//go:build !linux

package plan

// Look reads the counters of an interface, which only Linux shows.
func Look(string) Traffic { return Traffic{} }
