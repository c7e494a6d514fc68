package stamp

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// Config is the configuration of one stamp probe.
type Config struct {
	Count    int           `yaml:"count" help:"packets to plan in a one-shot run without duration" min:"1" max:"1000000"`
	Interval time.Duration `yaml:"interval" help:"planned time between two packets" min:"1ms" max:"1h"`
	Duration time.Duration `yaml:"duration" help:"length of a one-shot run; 0 goes by count" min:"0s" max:"24h"`
	Window   time.Duration `yaml:"window" help:"measure without end and give a result per window; 0 measures once" min:"0s" max:"5m"`
	Warmup   int           `yaml:"warmup" help:"packets sent first that count in no figure" min:"0" max:"1000"`
	Burst    int           `yaml:"burst" help:"packets in a row before each pause of idle; 0 makes no pauses" min:"0" max:"10000"`
	Idle     Pauses        `yaml:"idle" help:"pause before each burst, whose first packet measures waking up; several, as in 0.1s,1s,5s,15s,30s, are made in turn"`
	Size     int           `yaml:"size" help:"UDP payload in bytes, both ways; 112 or more with a key" min:"44" max:"9000"`
	Pattern  string        `yaml:"pattern" help:"send the frames of an application in place of equal packets; a late frame counts as lost" oneof:"none,gaming,voice,ar,remote-driving"`
	PathMTU  bool          `yaml:"path_mtu" help:"search for the largest packet that passes before measuring (RFC 8899)"`
	Spacing  string        `yaml:"spacing" help:"equal gaps, or random ones with the interval as their mean (RFC 2330)" oneof:"periodic,poisson"`
	Wait     time.Duration `yaml:"timeout" help:"a packet not answered for this long counts as lost until it comes after all" min:"10ms" max:"60s"`
	Gap      time.Duration `yaml:"gap" help:"record an event for each interruption of at least this length; 0 is 100ms or three intervals" min:"0s" max:"1h"`
	Key      string        `yaml:"key" help:"secret of the authenticated mode, 16 bytes or more"`
	KeyFile  string        `yaml:"key_file" help:"file that holds the secret"`
	DSCP     int           `yaml:"dscp" help:"differentiated services code point of packets and replies; says how it arrived" min:"0" max:"63"`
	ECN      string        `yaml:"ecn" help:"explicit congestion notification of the packets; counts marks of congestion" oneof:"not-ect,ect0,ect1"`
	Stamps   string        `yaml:"stamps" help:"where packets are stamped: kernel leaves the queues of both hosts out, user counts them as an application feels them" oneof:"kernel,user"`
	TLVs     bool          `yaml:"extensions" help:"ask the reflector for more by RFC 8972 extensions"`
	Trace    string        `yaml:"trace" help:"file to write each packet to, anew with each run: a capture for Wireshark where the name ends in .pcapng, else a line of CSV"`
	Peer     string        `yaml:"plain_peer" help:"what to do when the reflector lacks RFC 8972 (SSID zero)" oneof:"continue,stop"`
}

func defaults() Config {
	return Config{
		Count: 100, Interval: 10 * time.Millisecond, Size: 200, Pattern: patternNone, Spacing: periodic, Wait: 3 * time.Second,
		ECN: ecnWordNone, Stamps: stampsKernel, TLVs: true, Peer: peerContinue,
	}
}

// The words of Spacing, Peer and Pattern; a pattern's word is its name.
const (
	patternNone  = "none"
	periodic     = "periodic"
	poisson      = "poisson"
	peerContinue = "continue"
	peerStop     = "stop"
)

// maxPlanned bounds the records of one window, 48 bytes each.
const maxPlanned = 1_000_000

// Timeout implements probes.Config: the planned length, the wait for the last reply, and slack for resolving the name.
// Random gaps add up to more than their mean as often as to less; half as much again is out of reach of chance for any
// count that takes long.
func (c *Config) Timeout() time.Duration {
	if c.Window > 0 {
		return 0
	}
	planned := c.planned()
	if c.Spacing == poisson {
		planned += planned/2 + 10*c.Interval
	}
	if c.PathMTU {
		planned += mtuTimeout
	}
	return planned + c.Wait + 10*time.Second
}

// planned is how long a one-shot run sends, warm-up included.
func (c *Config) planned() time.Duration {
	warmup := time.Duration(c.Warmup) * c.Interval
	if d := c.length(); d > 0 {
		return warmup + d
	}
	pauses := time.Duration(0)
	if c.Burst > 0 {
		pauses = c.Idle.total((c.Count-1)/c.Burst + 1)
	}
	return warmup + time.Duration(c.Count)*c.Interval + pauses
}

// length is how long the counted packets of a one-shot run take, if it goes by time: a pattern once through unless told
// otherwise. 0 when it goes by count.
func (c *Config) length() time.Duration {
	if p := c.pattern(); p != nil && c.Duration == 0 {
		return p.cycle()
	}
	return c.Duration
}

// gap is the shortest interruption that makes an event.
func (c *Config) gap() time.Duration {
	if c.Gap > 0 {
		return c.Gap
	}
	return c.ordinaryGap()
}

func (c *Config) ordinaryGap() time.Duration {
	spacing := c.Interval
	if p := c.pattern(); p != nil {
		spacing = p.slowest()
	}
	return max(100*time.Millisecond, 3*spacing)
}

// check finds what the bounds of single fields cannot: settings that contradict each other.
func (c *Config) check() error {
	length := max(c.Window, c.Duration)
	switch {
	case c.pattern() == nil && length/c.Interval > maxPlanned:
		return fmt.Errorf("interval: %v over %v makes more than %d packets in one result: lengthen the interval, or set a shorter window", c.Interval, length, maxPlanned)
	case c.Window > 0 && c.Window < c.Interval:
		return fmt.Errorf("window: %v is shorter than the interval of %v, so some results would hold no packet", c.Window, c.Interval)
	case c.Window > 0 && c.Window < time.Second:
		return fmt.Errorf("window: %v is below the minimum of 1s", c.Window)
	case (c.Burst > 0) != (c.Idle != ""):
		return fmt.Errorf("burst: %d packets with pauses of %q: set both burst and idle, or neither", c.Burst, c.Idle)
	case c.PathMTU && c.Window > 0:
		return fmt.Errorf("path_mtu: it is searched for before a measurement that ends: leave window away")
	case c.Key != "" && c.KeyFile != "":
		return fmt.Errorf("key_file: key is set as well: keep one of them")
	}
	return c.checkPattern()
}

// secret is the key of the authenticated mode; empty for the unauthenticated one.
func (c *Config) secret() ([]byte, error) {
	if c.KeyFile == "" {
		return []byte(c.Key), nil
	}
	text, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, fmt.Errorf("key_file: %s is empty: it should hold the secret", c.KeyFile)
	}
	return text, nil
}
