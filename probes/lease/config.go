package lease

import (
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// Config is what a reflector grants: the section "leases" of reflector.yaml. Start with Defaults.
type Config struct {
	// PerSite above 1 lets tests of a site measure each other.
	PerSite int `yaml:"per_site" help:"load tests of one site at once" min:"1" max:"1000"`
	Total   int `yaml:"total" help:"load tests at once, of all sites together; one address gets half of them, or per_site if that is more" min:"1" max:"1000"`
	// Rate is shared by all leases at once. A test counts with the rate it is limited to, one without a limit with
	// AssumedRate, and no test with more than all of Rate: such a test runs alone.
	Rate        unit.Rate `yaml:"rate" help:"what the reflector's own link carries, shared by load tests at once; 0 is no limit" max:"1000Gbit/s"`
	AssumedRate unit.Rate `yaml:"assumed_rate" help:"what a load test without a rate of its own counts of rate; 0 is all of it" max:"1000Gbit/s"`
	Queue       int       `yaml:"queue" help:"load tests that may wait" min:"0" max:"100000"`
	// QueuePerAddress bounds what one client can fill of the queue, since names of sites are free.
	QueuePerAddress int           `yaml:"queue_per_address" help:"load tests of one address that may wait, such as those of a fleet behind one address translator" min:"0" max:"100000"`
	MaxDuration     time.Duration `yaml:"max_duration" help:"how long one lease may last" min:"1s" max:"1d"`
	MaxBytes        unit.Bytes    `yaml:"max_bytes" help:"refuse load tests that announce more than this; 0 is no limit"`
	TTL             time.Duration `yaml:"ttl" help:"take a lease back when its holder has been silent for so long" min:"1s" max:"1m"`
	Required        bool          `yaml:"required" help:"serve no load without a lease, which shuts out other people's clients of networkQuality, iperf3 and QUIC perf"`
}

// Defaults are the terms of a reflector that is told nothing else.
func Defaults() Config {
	return Config{
		PerSite: 1,
		Total:   8, // as many as a host of four processors feeds at 1 Gbit/s each
		Queue:   1000,
		// A fleet behind one address translator, and a tenth of the queue.
		QueuePerAddress: 100,
		// The longest test that can be configured, apart from iperf3, takes five minutes, behind four of waiting for others on
		// the interface, and its setup some seconds.
		MaxDuration: 10 * time.Minute,
		// As long as a throughput test waits for a link that stands still. Less would end tests that a handover or a tunnel
		// interrupts, since TCP is silent for up to twice as long as the link was.
		TTL: 5 * time.Second,
	}
}

// Terms are what the configurations of load probes have in common: they embed it. Start with DefaultTerms.
type Terms struct {
	LeaseWait time.Duration `yaml:"lease_wait" help:"how long to wait for the reflector's lease while other load tests of the site run; 0 does not wait" min:"0s" max:"1h"`
	LeasePort uint16        `yaml:"lease_port" help:"the reflector's plain TCP port, which grants leases, where the target's is another one and it is not 8620"`
}

// DefaultTerms wait as long as a dozen tests of ten seconds take.
func DefaultTerms() Terms { return Terms{LeaseWait: 2 * time.Minute} }
