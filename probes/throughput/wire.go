package throughput

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nrprobe/nrprobe/probes/frame"
	"github.com/nrprobe/nrprobe/probes/load"
)

// protocolVersion is the version of the messages. A far end that does not speak it refuses the session.
const protocolVersion = 1

// maxFrame is the largest message that is read. The largest that is written has some 700 bytes.
const maxFrame = 4096

// idleLimit is how long a session may stand still before either end gives it up. A handover or a tunnel of some seconds
// passes; a peer that vanished is noticed soon.
const idleLimit = 5 * time.Second

// aliveInterval is how often the client says that it is there while it only receives: five times within idleLimit.
const aliveInterval = time.Second

// message is one frame: exactly one of its fields is set.
type message struct {
	Open     *open     `json:"open,omitempty"`
	Accepted *accepted `json:"accepted,omitempty"`
	Refused  *refused  `json:"refused,omitempty"`
	Data     *data     `json:"data,omitempty"`
	Start    *start    `json:"start,omitempty"`
	Report   *report   `json:"report,omitempty"`
	Alive    *struct{} `json:"alive,omitempty"`
	Stop     *struct{} `json:"stop,omitempty"` // ends a session: what is still under way is dropped
}

// open asks for a session.
type open struct {
	Version int `json:"version"`
	// Up and Down are the numbers of data connections in each direction.
	Up   int `json:"up"`
	Down int `json:"down"`
	// Duration and Interval are in nanoseconds.
	Duration time.Duration `json:"duration"`
	Interval time.Duration `json:"interval"`
	// Limit is how many bytes each direction may carry: it is over when the receiver has counted as many. 0 is no limit.
	Limit int64 `json:"limit,omitempty"`
	// CongestionControl is what the far end is to send with.
	CongestionControl string `json:"congestion_control,omitempty"`
	// Lease is the id of the lease that the client holds; the session ends with it. Empty where none was offered.
	Lease string `json:"lease,omitempty"`
}

// accepted grants a session. The far end drew its id, so that nobody can guess their way into another's session.
type accepted struct {
	Session string `json:"session"`
}

// refused declines or ends a session. Outcome is one of probes.Outcomes.
type refused struct {
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

// data binds a connection to a session.
type data struct {
	Session string `json:"session"`
	// Up is true when the client sends.
	Up bool `json:"up"`
}

// start says that data flows from now on.
type start struct {
	// Clock is the far end's clock, with an arbitrary zero, so that what it reports of several connections adds up.
	Clock time.Duration `json:"clock"`
}

// report is what the far end has seen since it sent start.
type report struct {
	Elapsed time.Duration `json:"elapsed"`
	// Received and Sent are bytes; Sent is what its kernel took, not what arrived.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
	// Loose is set when Received is of some moment before Elapsed, because the far end was interrupted while it counted.
	Loose bool `json:"loose,omitempty"`
	// Sender is the far end's transport state, when it sends and its kernel tells.
	Sender *load.State `json:"sender,omitempty"`
	Final  bool        `json:"final,omitempty"`
}

var errFrame = errors.New("not a message of the throughput protocol")

var frames = frame.Format{Limit: maxFrame, Foreign: errFrame}

// readMessage reads one frame. It reads no byte beyond it.
func readMessage(r io.Reader) (m message, err error) {
	if err := frames.Read(r, &m); err != nil {
		return message{}, err
	}
	return m, m.check()
}

// check refuses numbers that make no sense, so that nobody behind it needs to.
func (m message) check() error {
	bad := func(what string, v any) error { return fmt.Errorf("%w: %s %v is out of range", errFrame, what, v) }
	switch {
	case m.Open != nil && (m.Open.Up < 0 || m.Open.Down < 0 || m.Open.Up+m.Open.Down == 0 || m.Open.Up > maxStreams || m.Open.Down > maxStreams):
		return bad("number of streams", []int{m.Open.Up, m.Open.Down})
	case m.Open != nil && m.Open.Duration <= 0:
		return bad("duration", m.Open.Duration)
	case m.Open != nil && (m.Open.Interval < minInterval || m.Open.Interval > idleLimit):
		return bad("interval", m.Open.Interval)
	case m.Open != nil && m.Open.Limit < 0:
		return bad("limit", m.Open.Limit)
	case m.Report != nil && (m.Report.Received < 0 || m.Report.Sent < 0 || m.Report.Elapsed < 0):
		return bad("report", *m.Report)
	}
	return nil
}

// The bounds of what a client may ask for; Config has the same.
const (
	maxStreams  = 64
	minInterval = 20 * time.Millisecond
)

// writeMessage writes one frame with a single Write.
func writeMessage(w io.Writer, m message) error {
	b, err := frames.Append(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
