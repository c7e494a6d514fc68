package lease

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nrprobe/nrprobe/probes/frame"
)

// protocolVersion is the version of the messages. A reflector that does not speak it refuses.
const protocolVersion = 1

// maxFrame is the largest message that is read: an ask whose names are all escapes has some 2,500 bytes.
const maxFrame = 4096

// maxName bounds the names in an ask, in bytes. Labels of an agent have at most as many.
const maxName = 128

// message is one frame: exactly one of its fields is set.
type message struct {
	Ask     *Ask      `json:"ask,omitempty"`
	Queued  *queued   `json:"queued,omitempty"`
	Granted *granted  `json:"granted,omitempty"`
	Refused *refusal  `json:"refused,omitempty"` // answers an ask
	Ended   *refusal  `json:"ended,omitempty"`   // takes back what was granted
	Alive   *struct{} `json:"alive,omitempty"`
}

// Ask is what a client says of the test it wants to run.
type Ask struct {
	Version int `json:"version"`
	// Site is whose link it is, at most 128 bytes without control characters; "" lets the reflector take the client's address.
	Site string `json:"site,omitempty"`
	// Agent and Kind say who asks and what for, to whoever reads the reflector's log. They are bounded as Site is.
	Agent string `json:"agent,omitempty"`
	Kind  string `json:"kind,omitempty"`
	// Rate is the most that the test sends, in bytes per second; 0 for as fast as it goes.
	Rate float64 `json:"rate,omitempty"`
	// Bytes is the most that it moves, both directions together; 0 is unknown.
	Bytes int64 `json:"bytes,omitempty"`
	// Duration is how long the lease may last; 0 for as long as the reflector grants.
	Duration time.Duration `json:"duration,omitempty"`
}

// queued says that the client has to wait.
type queued struct {
	// Position counts from 1: the one that is next.
	Position int `json:"position"`
	// TTL is how long either end may be silent, in nanoseconds.
	TTL time.Duration `json:"ttl"`
}

// granted is a lease. The reflector drew its id, so that nobody can guess another's.
type granted struct {
	ID       string        `json:"id"`
	Duration time.Duration `json:"duration"` // after that it ends
	TTL      time.Duration `json:"ttl"`
}

// refusal says why there is no lease, or no more. Outcome is one of probes.Outcomes.
type refusal struct {
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

var errFrame = errors.New("not a message of the lease protocol")

var frames = frame.Format{Limit: maxFrame, Foreign: errFrame}

// readMessage reads one frame. It reads no byte beyond it.
func readMessage(r io.Reader) (m message, err error) {
	if err := frames.Read(r, &m); err != nil {
		return message{}, err
	}
	return m, m.check()
}

// check refuses what makes no sense, so that nobody behind it needs to.
func (m message) check() error {
	bad := func(what string, v any) error { return fmt.Errorf("%w: %s %v is out of range", errFrame, what, v) }
	switch {
	case m.Ask != nil:
		return m.Ask.check(bad)
	case m.Queued != nil && m.Queued.Position < 1:
		return bad("position", m.Queued.Position)
	case m.Queued != nil && !possibleTTL(m.Queued.TTL):
		return bad("ttl", m.Queued.TTL)
	case m.Granted != nil && !possibleTTL(m.Granted.TTL):
		return bad("ttl", m.Granted.TTL)
	case m.Granted != nil && (m.Granted.ID == "" || len(m.Granted.ID) > maxName):
		return bad("id", fmt.Sprintf("%q", m.Granted.ID))
	case m.Granted != nil && m.Granted.Duration <= 0:
		return bad("duration", m.Granted.Duration)
	}
	return nil
}

func (a *Ask) check(bad func(string, any) error) error {
	for what, name := range map[string]string{"site": a.Site, "agent": a.Agent, "kind": a.Kind} {
		if !possibleName(name) {
			return bad(what, fmt.Sprintf("%q", name))
		}
	}
	switch {
	case a.Rate < 0 || math.IsInf(a.Rate, 0) || math.IsNaN(a.Rate):
		return bad("rate", a.Rate)
	case a.Bytes < 0:
		return bad("bytes", a.Bytes)
	case a.Duration < 0:
		return bad("duration", a.Duration)
	}
	return nil
}

// The bounds of what a reflector may be configured to; Config has the same.
const (
	minTTL = time.Second
	maxTTL = time.Minute
)

func possibleTTL(d time.Duration) bool { return d >= minTTL && d <= maxTTL }

// possibleName says whether a name may stand in a log: short, and nothing in it moves a terminal's cursor.
func possibleName(name string) bool {
	for _, c := range name {
		if unicode.IsControl(c) {
			return false
		}
	}
	return len(name) <= maxName && utf8.ValidString(name)
}

// writeMessage writes what goes before the first frame, if anything, and one frame, with a single Write.
func writeMessage(w io.Writer, before string, m message) error {
	b, err := frames.Append([]byte(before), m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
