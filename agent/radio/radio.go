// Package radio is where the agent learns what the modem says about the serving cell. Readers of modems are Sources; the
// agent asks its source before and after each measurement.
package radio

import "github.com/nrprobe/nrprobe/probes"

// Source knows the latest state of the radio.
type Source interface {
	// Sample returns the latest reading, or nil when there is none. It returns at once, from what is already known: whoever
	// polls the modem does so elsewhere, at its own pace. Nobody changes the sample afterwards. It is safe for concurrent use.
	Sample() *probes.RadioSample
}

// None is the source of a host without a modem: it never has a reading.
type None struct{}

// Sample implements Source.
func (None) Sample() *probes.RadioSample { return nil }

// Func is a function that is a Source. A nil Func has no reading.
type Func func() *probes.RadioSample

// Sample implements Source.
func (f Func) Sample() *probes.RadioSample {
	if f == nil {
		return nil
	}
	return f()
}
