package stamp

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/nrprobe/nrprobe/probes"
)

// trouble gathers what may explain that nothing came back. It is safe for concurrent use.
type trouble struct {
	target probes.Target
	config *Config
	keyed  bool

	mu         sync.Mutex
	refusal    error // the kernel's latest
	forged     bool  // a reply did not fit the key
	turnedAway bool  // a host said that nobody listens
}

func (t *trouble) sawRefusal(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusal = err
}

func (t *trouble) sawForged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forged = true
}

func (t *trouble) sawTurnedAway() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnedAway = true
}

// explain says why none of so many packets came back, and begins anew.
func (t *trouble) explain(sent uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	refusal, forged, turnedAway := t.refusal, t.forged, t.turnedAway
	t.refusal, t.forged, t.turnedAway = nil, false, false
	const none = "no reply from %s to %d packets within %v: no STAMP reflector there, or "
	switch {
	case sent == 0 && refusal != nil:
		return fmt.Errorf("the kernel refused every packet towards %s: %w", t.target.Text, refusal)
	case sent == 0:
		return probes.Fail(probes.Error, "no packet was sent in time: the host is too busy for an interval of %v", t.config.Interval)
	case forged:
		return probes.Fail(probes.Auth, "the key is not that of the reflector at %s: set the same at both ends", t.target.Text)
	case turnedAway:
		return probes.Fail(probes.Refused, "%s turned packets away: no STAMP reflector on UDP port %d", t.target.Text, t.target.Port)
	case t.keyed:
		return probes.Fail(probes.Timeout, none+"its key is another", t.target.Text, sent, t.config.Wait)
	default:
		return probes.Fail(probes.Timeout, none+"UDP is blocked", t.target.Text, sent, t.config.Wait)
	}
}

// isTurnedAway says whether an error is news of an earlier packet for which nobody listens.
func isTurnedAway(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
