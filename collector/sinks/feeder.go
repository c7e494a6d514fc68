package sinks

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
)

// Source is where a Feeder takes batches from: a reader of the queue.
type Source interface {
	// Next waits for a batch and leases up to maxBytes of them, at least one.
	Next(ctx context.Context, maxBytes int) (queue.Lease, error)
	// Pending is how many batches wait.
	Pending() uint64
}

// Feeder brings what waits in the queue to one sink, in order, and tries again for as long as it takes.
type Feeder struct {
	// Name is the sink's.
	Name   string
	Sink   Sink
	Source Source
	// Log is told when the sink begins and ceases to fail, and what it rejects. Never nil.
	Log *slog.Logger
	// Grace is how long after the end of ctx the Feeder goes on bringing what waits.
	Grace time.Duration

	// Counts may be read at any time.
	Counts Counts
}

// Counts are the figures of one Feeder since its start.
type Counts struct {
	// Batches and Points that the sink has stored.
	Batches, Points atomic.Int64
	// Rejected points that the sink will never take.
	Rejected atomic.Int64
	// Retries is how often a write failed and was tried again.
	Retries atomic.Int64
	// Failing is 1 while the last write failed.
	Failing atomic.Int64
}

// maxLease is how much of the queue one write may take: enough to make a request worth its round trip, little enough to
// be repeated after a failure.
const maxLease = 1 << 20

// The pauses between two tries double from one bound to the other. A store that restarts is back within seconds; one that
// is down for hours is asked once a minute.
const (
	minPause = 500 * time.Millisecond
	maxPause = time.Minute
)

// Run feeds the sink until ctx ends and then, within Grace, brings what still waits.
// Liveness: it returns when the queue is closed, and at the latest Grace after the end of ctx.
func (f *Feeder) Run(ctx context.Context) error {
	for {
		if err := f.step(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.Grace)
	defer cancel()
	for f.Source.Pending() > 0 {
		if err := f.step(drain); err != nil {
			f.Log.Warn("sink did not take everything before the end; the queue keeps it", "sink", f.Name, "batches", f.Source.Pending(), "error", err)
			break
		}
	}
	return nil
}

// step brings one lease to the sink. It returns an error only when ctx ends or the queue is of no use any more.
func (f *Feeder) step(ctx context.Context) error {
	lease, err := f.Source.Next(ctx, maxLease)
	if err != nil {
		return err
	}
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := f.write(ctx, lease.Batches)
		if err == nil {
			return lease.Ack()
		}
		if ctx.Err() != nil {
			lease.Release()
			return err
		}
		f.Counts.Retries.Add(1)
		if f.Counts.Failing.Swap(1) == 0 {
			f.Log.Warn("sink does not take data; it is kept and tried again", "sink", f.Name, "error", err)
		}
		wait := pause/2 + rand.N(pause)/2
		if r, ok := errors.AsType[*Retry](err); ok && r.After > 0 {
			wait = min(r.After, 10*maxPause)
		}
		if !sleep(ctx, wait) {
			lease.Release()
			return ctx.Err()
		}
	}
}

// write calls the sink once. Rejected points are counted and logged, and are no reason to try again.
func (f *Feeder) write(ctx context.Context, batches []queue.Batch) error {
	if len(batches) == 0 {
		return nil
	}
	err := f.Sink.Write(ctx, batches)
	rejected, ok := errors.AsType[*Rejected](err)
	if ok {
		f.Counts.Rejected.Add(int64(rejected.Points))
		f.Log.Error("sink rejected points for good", "sink", f.Name, "points", rejected.Points, "error", rejected.Err)
	} else if err != nil {
		return err
	}
	if f.Counts.Failing.Swap(0) == 1 {
		f.Log.Info("sink takes data again", "sink", f.Name)
	}
	points := 0
	for _, b := range batches {
		points += b.Points
	}
	if ok {
		points -= rejected.Points
	}
	f.Counts.Batches.Add(int64(len(batches)))
	f.Counts.Points.Add(int64(max(points, 0)))
	return nil
}

// sleep waits and says whether it waited to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
