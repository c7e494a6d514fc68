package capacity

import "time"

// silence is how long a peer has said nothing while this process was there to hear it. One that did not run for a second
// heard nothing for a second, which is no reason to give the peer up.
type silence struct {
	heard  time.Time // when the peer was heard, and later by as long as this process stood still since
	looked time.Time
}

func newSilence(now time.Time) silence { return silence{heard: now, looked: now} }

// hear says that the peer was heard.
func (s *silence) hear(now time.Time) { s.heard = now }

// worked says that the time until now went by in work, such as waiting for room in the socket's buffer.
func (s *silence) worked(now time.Time) { s.looked = now }

// lasts returns how long it has lasted. A loop that is to turn once in planned calls it at each turn.
func (s *silence) lasts(now time.Time, planned time.Duration) time.Duration {
	if still := now.Sub(s.looked) - planned; still > feedbackInterval {
		s.heard = s.heard.Add(still)
		if s.heard.After(now) {
			s.heard = now
		}
	}
	s.looked = now
	return now.Sub(s.heard)
}
