package client

import (
	"context"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Account takes down that so many more packets were sent and so many of them came back; the others are lost, and their
// share is the loss ratio, where any was sent. With zeros it makes the counters appear, for a run that may fail before it
// has sent anything.
func Account(r *probes.Recorder, sent, received int) {
	r.Add(probes.PacketsSent, probes.Both, float64(sent))
	r.Add(probes.PacketsReceived, probes.Both, float64(received))
	r.Add(probes.PacketsLost, probes.Both, float64(sent-received))
	if sent > 0 {
		r.Set(probes.LossRatio, probes.Both, float64(sent-received)/float64(sent))
	}
}

// Attempts are those of one run, made one after the other, each of which is answered or lost: requests, queries,
// connections. They are counted as packets, at once, so that a run which is cut short has its counts. Its fields are set
// before Run; it is for one run, and not for concurrent use.
type Attempts struct {
	Recorder *probes.Recorder
	Count    int           // how many to make
	Interval time.Duration // between the starts of two; one that takes longer delays the next

	sent, received int
	wrong          error // the first answer that was not the one expected
	last           error // why the last one that was lost was
}

// Run makes all attempts on their schedule; the error of one is why it was lost. Run fails with the first wrong answer, or
// where there was no answer at all, with the last error. When ctx ends before, it returns the cause of that; the attempt
// under way then says nothing of the server and is not counted.
func (a *Attempts) Run(ctx context.Context, attempt func(context.Context) error) error {
	Account(a.Recorder, 0, 0)
	start := time.Now()
	for i := range a.Count {
		if err := WaitUntil(ctx, start.Add(time.Duration(i)*a.Interval)); err != nil {
			return err
		}
		err := attempt(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a.count(err)
	}
	switch {
	case a.wrong != nil:
		return a.wrong
	case a.received == 0:
		return a.last
	default:
		return nil
	}
}

// Wrong says that the answer to the attempt under way is not the one expected, whether that attempt counts as lost or not.
func (a *Attempts) Wrong(err error) {
	if a.wrong == nil {
		a.wrong = err
	}
}

func (a *Attempts) count(err error) {
	a.sent++
	a.Recorder.Add(probes.PacketsSent, probes.Both, 1)
	if err == nil {
		a.received++
		a.Recorder.Add(probes.PacketsReceived, probes.Both, 1)
	} else {
		a.last = err
		a.Recorder.Add(probes.PacketsLost, probes.Both, 1)
	}
	a.Recorder.Set(probes.LossRatio, probes.Both, float64(a.sent-a.received)/float64(a.sent))
}
