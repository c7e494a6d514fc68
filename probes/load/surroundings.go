package load

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Octets is a number of bytes each way over an interface, IP headers included.
type Octets struct{ Up, Down float64 }

// Readers ask the host what surrounds a measurement. A nil one knows nothing, which is so for emulated networks and on systems
// that do not tell. They are safe for concurrent use.
type Readers struct {
	// InterfaceOf is the name of the interface that has the address; "" when there is none, or when it is the loopback
	// interface, where everything on the host meets and nothing queues.
	InterfaceOf func(local netip.Addr) string
	// Octets is what has passed an interface in all.
	Octets func(name string) (Octets, bool)
	// ProcessorWait is how long the threads of this process have been ready to run without a processor, in all.
	ProcessorWait func() (time.Duration, bool)
}

// Surroundings is what happens around a load test: what others move over its interface, and whether this process gets a
// processor when it needs one. It is not safe for concurrent use. A nil one knows nothing.
type Surroundings struct {
	Readers
	name  string // of the interface; "" when it is not known, and then only the processor is judged
	start time.Time
	first Octets
	wait  time.Duration
	known bool // whether wait is
}

// Surround begins to watch the processor and the interface that a connected socket uses. It returns nil where the host tells of
// neither, and for the socket of an emulated network.
func Surround(c net.Conn) *Surroundings {
	if _, kernels := c.(syscall.Conn); !kernels {
		return nil
	}
	return surround(HostReaders(), c.LocalAddr())
}

func surround(host Readers, local net.Addr) *Surroundings {
	s := &Surroundings{Readers: host}
	if address, ok := local.(interface{ AddrPort() netip.AddrPort }); ok && host.InterfaceOf != nil {
		s.name = host.InterfaceOf(address.AddrPort().Addr().Unmap())
	}
	s.again()
	if s.name == "" && !s.known {
		return nil
	}
	return s
}

// again begins anew. It is false when no interface is known, or it has gone.
func (s *Surroundings) again() bool {
	s.start = time.Now()
	if s.ProcessorWait != nil {
		s.wait, s.known = s.ProcessorWait()
	}
	if s.name == "" {
		return false
	}
	var ok bool
	if s.first, ok = s.Octets(s.name); !ok {
		s.name = ""
	}
	return ok
}

// others is how many bytes per second others have moved since the beginning, when own is what the test moved itself.
func (s *Surroundings) others(own Octets) (rate Octets, ok bool) {
	all, ok := s.Octets(s.name)
	span := time.Since(s.start).Seconds()
	if !ok || span <= 0 {
		return Octets{}, false
	}
	return Octets{
		Up:   max(0, all.Up-s.first.Up-own.Up) / span,
		Down: max(0, all.Down-s.first.Down-own.Down) / span,
	}, true
}

// crossLimit is how much traffic of others, in bytes a second of either direction, takes from a test what shows: a tenth of an
// uplink of 10 Mbit/s. quietLook is over how long it is judged while waiting for quiet.
const (
	crossLimit = 125_000
	quietLook  = 500 * time.Millisecond
)

// busy says whether others move more than may be let pass beside a test of own bytes per second. A fiftieth of the test's own
// rate is within what is not known of its headers and repetitions.
func (o Octets) busy(own Octets) bool {
	return o.Up > max(crossLimit, own.Up/50) || o.Down > max(crossLimit, own.Down/50)
}

// AwaitQuiet waits until others leave the interface alone for half a second, but no longer than limit or until done is closed.
// It notes what they moved in the last half second, and sets the flag when that was too much. A limit of 0 does nothing.
func (s *Surroundings) AwaitQuiet(done <-chan struct{}, limit time.Duration, rec *probes.Recorder) {
	if s == nil || limit <= 0 {
		return
	}
	end := time.Now().Add(limit)
	for {
		if !s.again() {
			return
		}
		look := time.NewTimer(quietLook)
		select {
		case <-look.C:
		case <-done:
			look.Stop()
			return
		}
		others, ok := s.others(Octets{})
		if !ok {
			return
		}
		rec.Note("other_traffic_before", others.text(s.name))
		if !others.busy(Octets{}) {
			return
		}
		if time.Now().Add(quietLook).After(end) {
			rec.Flag(probes.CrossTraffic)
			return
		}
	}
}

// Begin starts the time that Judge judges.
func (s *Surroundings) Begin() {
	if s != nil {
		s.again()
	}
}

// starvedShare is the share of the time for which threads waited for a processor from which on a test tells of this host as
// much as of the link.
const starvedShare = 0.1

// Judge takes down what others moved since Begin, when own is the most that the test moved itself, and flags what makes the
// result doubtful.
func (s *Surroundings) Judge(own Octets, rec *probes.Recorder) {
	if s == nil {
		return
	}
	span := time.Since(s.start)
	if s.known {
		wait, ok := s.ProcessorWait()
		rec.Note("processor_wait", (wait - s.wait).Round(time.Millisecond).String())
		if ok && float64(wait-s.wait) > starvedShare*float64(span) {
			rec.Flag(probes.CPUStarved)
		}
	}
	if s.name == "" {
		return
	}
	others, ok := s.others(own)
	if !ok {
		return
	}
	rec.Note("other_traffic", others.text(s.name))
	if others.busy(Octets{Up: own.Up / span.Seconds(), Down: own.Down / span.Seconds()}) {
		rec.Flag(probes.CrossTraffic)
	}
}

func (o Octets) text(name string) string {
	return fmt.Sprintf("up %.0f, down %.0f bytes per second on %s", o.Up, o.Down, name)
}
