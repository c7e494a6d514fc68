package capacity

import (
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// controlBytes is what the control connection takes, with feedback each 50 ms for a minute.
const controlBytes = 300_000

// WorstCase implements probes.Priced: where the bytes are bounded, a quarter more than them for what was under way when the
// receiver had counted that many.
func (c *Config) WorstCase() unit.Bytes {
	data := unit.Bytes(c.plan().MaxBytes)
	if data == 0 {
		return 0
	}
	return data + data/4 + controlBytes + probes.LookupBytes
}
