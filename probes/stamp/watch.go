package stamp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// readers ask the host about what surrounds a session. A nil one knows nothing, which is so for emulated networks and on
// systems that do not tell.
type readers struct {
	// processorWait is how long the threads of this process have been ready to run without a processor, in all.
	processorWait func() (time.Duration, bool)
	// interfaceOf is the name of the interface that has the address; "" when there is none, or when it is the loopback
	// interface, where everything on the host meets and nothing queues.
	interfaceOf func(local netip.Addr) string
	// octets is what has passed an interface in all.
	octets func(name string) (traffic, bool)
}

// traffic is a number of bytes each way, IP headers included.
type traffic struct{ up, down float64 }

func (t traffic) less(o traffic) traffic { return traffic{up: t.up - o.up, down: t.down - o.down} }

// surrounding is what happened around the session between two looks.
type surrounding struct {
	span          time.Duration
	processorWait time.Duration
	waitKnown     bool
	own, others   traffic // on the interface named trafficOn
	trafficKnown  bool
	trafficOn     string
}

// watch keeps the readings of the last look. over, sent and received are safe for concurrent use beside look, which one
// goroutine at a time may call.
type watch struct {
	readers

	sentBytes, receivedBytes atomic.Int64

	mu        sync.Mutex
	name      string // of the interface
	at        time.Duration
	wait      time.Duration
	waitKnown bool
	all, own  traffic
	known     bool // that all and own are of this interface
}

// over says which address the session has from now on.
func (w *watch) over(local netip.Addr) {
	if w.interfaceOf == nil {
		return
	}
	name := w.interfaceOf(local)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = w.known && w.name == name
	w.name = name
}

func (w *watch) sent(size int, refused error) {
	if refused == nil {
		w.sentBytes.Add(int64(size) + probes.HeaderUDP)
	}
}

func (w *watch) received(size int) { w.receivedBytes.Add(int64(size) + probes.HeaderUDP) }

// look says what happened since the last look. The first one says nothing.
func (w *watch) look(now time.Duration) surrounding {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := surrounding{span: now - w.at, trafficOn: w.name}
	w.at = now
	if w.processorWait != nil {
		wait, ok := w.processorWait()
		s.waitKnown = ok && w.waitKnown
		s.processorWait = max(0, wait-w.wait) // threads that ended take theirs along
		w.wait, w.waitKnown = wait, ok
	}
	if w.octets == nil || w.name == "" {
		return s
	}
	all, ok := w.octets(w.name)
	own := traffic{up: float64(w.sentBytes.Load()), down: float64(w.receivedBytes.Load())}
	s.trafficKnown = ok && w.known && s.span > 0
	s.own = own.less(w.own)
	s.others = all.less(w.all).less(s.own)
	s.others = traffic{up: max(0, s.others.up), down: max(0, s.others.down)}
	w.all, w.own, w.known = all, own, ok
	return s
}
