package outbox

import (
	"time"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
)

// Config is the section "outbox" of agent.yaml.
type Config struct {
	Path      string        `yaml:"path" help:"folder for what must outlive a restart"`
	Storage   string        `yaml:"storage" help:"where results wait for delivery: flash is on disk in path, ram is in memory, auto is on disk where path can be written" oneof:"auto,ram,flash"`
	MaxBytes  unit.Bytes    `yaml:"max_bytes" help:"how much may wait; beyond it the oldest results are dropped" min:"64KiB" max:"1TiB"`
	MaxAge    time.Duration `yaml:"max_age" help:"how long results may wait; older ones are dropped" min:"1m" max:"3650d"`
	SyncEvery time.Duration `yaml:"sync_every" help:"how often what was written is made to survive a power cut; longer spares flash" min:"10ms" max:"1h"`
	SyncBytes unit.Bytes    `yaml:"sync_bytes" help:"how much may be written before it is made to survive a power cut" min:"1B" max:"64MiB"`
}

// The words of Config.Storage.
const (
	Auto  = "auto"
	RAM   = "ram"
	Flash = "flash"
)

// Default is the section as it is without a file. 64 MiB hold weeks of latency results. A sync each 5 s or 64 KiB writes a
// few erase blocks of flash an hour, not one for each result; only a power cut can lose what was written since the last.
func Default() Config {
	return Config{
		Path: "/var/lib/nrprobe", Storage: Auto, MaxBytes: 64 << 20, MaxAge: 7 * 24 * time.Hour,
		SyncEvery: 5 * time.Second, SyncBytes: 64 << 10,
	}
}

// Validate implements configs.Validator.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	if c.Path == "" && c.Storage != RAM && r.Good(at, "storage") {
		r.Problem(at, "path", "is empty: name a folder, or keep results in memory with storage: ram")
	}
}
