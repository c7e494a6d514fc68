package capacity

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/frame"
)

// Preamble begins the control connection on the plain TCP port.
const Preamble = "nrpCAPA1"

const (
	// protocolVersion is the version of messages and datagrams.
	protocolVersion = 1
	// maxFrame is the largest message that is read: a final report with its histogram has some kilobytes.
	maxFrame = 32 << 10
	// patience is how long either end waits for the other before the load begins and behind its end.
	patience = 5 * time.Second
	// maxDuration and maxTrains bound what a client may ask for; Config has the same.
	maxDuration = time.Minute
	maxTrains   = 100
)

// message is one frame: exactly one of its fields is set.
type message struct {
	Open     *open     `json:"open,omitempty"`
	Accepted *accepted `json:"accepted,omitempty"`
	Refused  *refused  `json:"refused,omitempty"`
	Start    *struct{} `json:"start,omitempty"`
	Go       *struct{} `json:"go,omitempty"`
	Done     *done     `json:"done,omitempty"`
	Report   *report   `json:"report,omitempty"`
}

// open asks for a session.
type open struct {
	Version int `json:"version"`
	// Up is true when the client sends.
	Up bool `json:"up"`
	// Train is true for packet trains instead of the search.
	Train bool `json:"train,omitempty"`
	// Duration is how long load is sent, in nanoseconds; trains end by their number before.
	Duration time.Duration `json:"duration"`
	// Size is the UDP payload of each load datagram in bytes.
	Size int `json:"size"`
	// MaxBytes is how much may be sent, IP headers included; 0 is no limit.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// MaxRate and InitialRate are in IP-layer bytes per second; 0 is no limit, and the lowest rate of the table.
	MaxRate     float64 `json:"max_rate,omitempty"`
	InitialRate float64 `json:"initial_rate,omitempty"`
	// Trains is how many trains there are.
	Trains int `json:"trains,omitempty"`
	// Lease is the id of the lease that the client holds; the session ends with it. Empty where none was offered.
	Lease string `json:"lease,omitempty"`
}

// accepted grants a session. Token begins every datagram of it; Port is where the far end's UDP socket is.
type accepted struct {
	Token token  `json:"token"`
	Port  uint16 `json:"port"`
	// MaxRate is what the far end lets the load have at most, in IP-layer bytes per second; 0 is no limit.
	MaxRate float64 `json:"max_rate,omitempty"`
}

// refused declines or ends a session. Outcome is one of probes.Outcomes.
type refused struct {
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

// done is what the sender knows when it has sent all.
type done struct {
	// Sent is how many load datagrams its kernel took, Refused how many it did not take, at each try anew, and Skipped how
	// many were not sent because their time had passed.
	Sent    int64 `json:"sent"`
	Refused int64 `json:"refused,omitempty"`
	Skipped int64 `json:"skipped,omitempty"`
	// Rate is the sending rate at the end in IP-layer bytes per second, Congested whether the search found congestion.
	Rate      float64 `json:"rate,omitempty"`
	Congested bool    `json:"congested,omitempty"`
	// Stop is why it stopped: one of the stop reasons.
	Stop string `json:"stop"`
	GSO  bool   `json:"gso,omitempty"`
}

// report is what the receiver has counted.
type report struct {
	// Elapsed is the time from the first load datagram to the last one.
	Elapsed time.Duration `json:"elapsed"`
	// Received counts datagrams, each once; Bytes is their UDP payload.
	Received   int64 `json:"received"`
	Bytes      int64 `json:"bytes"`
	Reordered  int64 `json:"reordered,omitempty"`
	Duplicated int64 `json:"duplicated,omitempty"`
	// Dropped is how often the receiver's own kernel had no room for what arrived, where it tells.
	Dropped int64 `json:"dropped,omitempty"`
	// Capacity is the result so far in IP-layer bytes per second; 0 while there is none. Error is its error, where that
	// is known, and Trains the number of trains behind it.
	Capacity float64 `json:"capacity,omitempty"`
	Error    float64 `json:"error,omitempty"`
	Trains   int     `json:"trains,omitempty"`
	// Variation is the distribution of delays above the smallest one; in the final report only.
	Variation *probes.Hist `json:"variation,omitempty"`
	Stop      string       `json:"stop,omitempty"`
	GRO       bool         `json:"gro,omitempty"`
	// Stamped is true when the kernel told the arrival times that the capacity comes from.
	Stamped bool `json:"stamped,omitempty"`
	Final   bool `json:"final,omitempty"`
}

// The stop reasons, in the info "ended_by".
const (
	byDuration   = "duration"
	byMaxBytes   = "max_bytes"
	byTrains     = "trains"
	byNoFeedback = "no_feedback" // a sender heard nothing for a second
	byNoLoad     = "no_load"     // a receiver got nothing for a second
	byCancel     = "canceled"
)

var errFrame = errors.New("not a message of the capacity protocol")

var frames = frame.Format{Limit: maxFrame, Foreign: errFrame}

// readMessage reads one frame and no byte beyond it.
func readMessage(r io.Reader) (m message, err error) {
	if err := frames.Read(r, &m); err != nil {
		return message{}, err
	}
	return m, m.check()
}

// check refuses numbers that make no sense, so that nobody behind it needs to.
func (m message) check() error {
	switch {
	case m.Open != nil:
		return m.Open.check()
	case m.Accepted != nil && (m.Accepted.Port == 0 || m.Accepted.MaxRate < 0):
		return outOfRange("accepted", *m.Accepted)
	case m.Done != nil && (m.Done.Sent < 0 || m.Done.Refused < 0 || m.Done.Skipped < 0 || m.Done.Rate < 0):
		return outOfRange("done", *m.Done)
	case m.Report != nil:
		return m.Report.check()
	}
	return nil
}

func (o *open) check() error {
	switch {
	case o.Duration <= 0 || o.Duration > maxDuration:
		return outOfRange("duration", o.Duration)
	case o.Size < minSize || o.Size > maxSize:
		return outOfRange("size", o.Size)
	case o.MaxBytes < 0 || o.MaxRate < 0 || o.InitialRate < 0:
		return outOfRange("limit", *o)
	case o.Trains < 0 || o.Trains > maxTrains || o.Train && (o.Trains == 0 || o.MaxBytes == 0):
		return outOfRange("number of trains", o.Trains)
	}
	return nil
}

func (r *report) check() error {
	if r.Elapsed < 0 || r.Received < 0 || r.Bytes < 0 || r.Reordered < 0 || r.Duplicated < 0 || r.Dropped < 0 || r.Trains < 0 ||
		!(r.Capacity >= 0) || !(r.Error >= 0) || math.IsInf(r.Capacity+r.Error, 0) {
		return outOfRange("report", *r)
	}
	return nil
}

func outOfRange(what string, v any) error {
	return fmt.Errorf("%w: %s %v is out of range", errFrame, what, v)
}
