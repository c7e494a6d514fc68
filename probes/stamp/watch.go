package stamp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// surrounding is what happened around the session between two looks.
type surrounding struct {
	span          time.Duration
	processorWait time.Duration
	waitKnown     bool
	own, others   load.Octets // on the interface named trafficOn
	trafficKnown  bool
	trafficOn     string
}

// watch keeps the readings of the last look. over, sent and received are safe for concurrent use beside look, which one
// goroutine at a time may call.
type watch struct {
	load.Readers

	sentBytes, receivedBytes atomic.Int64

	mu        sync.Mutex
	name      string // of the interface
	at        time.Duration
	wait      time.Duration
	waitKnown bool
	all, own  load.Octets
	known     bool // that all and own are of this interface
}

// over says which address the session has from now on.
func (w *watch) over(local netip.Addr) {
	if w.InterfaceOf == nil {
		return
	}
	name := w.InterfaceOf(local)
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
	if w.ProcessorWait != nil {
		wait, ok := w.ProcessorWait()
		s.waitKnown = ok && w.waitKnown
		s.processorWait = max(0, wait-w.wait) // threads that ended take theirs along
		w.wait, w.waitKnown = wait, ok
	}
	if w.Octets == nil || w.name == "" {
		return s
	}
	all, ok := w.Octets(w.name)
	own := load.Octets{Up: float64(w.sentBytes.Load()), Down: float64(w.receivedBytes.Load())}
	s.trafficKnown = ok && w.known && s.span > 0
	s.own = load.Octets{Up: own.Up - w.own.Up, Down: own.Down - w.own.Down}
	s.others = load.Octets{Up: max(0, all.Up-w.all.Up-s.own.Up), Down: max(0, all.Down-w.all.Down-s.own.Down)}
	w.all, w.own, w.known = all, own, ok
	return s
}
