package sinks

import (
	"context"
	"fmt"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
)

// Sink is a place where accepted batches go. A Feeder calls it from one goroutine at a time.
type Sink interface {
	// Write stores the batches in their order and returns when they are safe. It blocks until then or until ctx ends.
	//
	//   - nil: all of it is stored.
	//   - an error with a *Rejected inside: all but the rejected points are stored; those never will be.
	//   - any other error: an unknown part is stored, and the same call is made again later. A sink must take what it has
	//     already stored a second time without harm. A *Retry inside says when.
	Write(ctx context.Context, batches []queue.Batch) error
	// Close gives up what the sink holds, within ctx. Write is never called after it. Closing twice is harmless.
	Close(ctx context.Context) error
}

// Rejected says that a sink will never take some points, however often they are written.
type Rejected struct {
	// Points is how many.
	Points int
	// Err is why, of the first of them.
	Err error
}

// Error implements error.
func (r *Rejected) Error() string { return fmt.Sprintf("%d points rejected: %v", r.Points, r.Err) }

// Unwrap gives errors.Is and errors.AsType the reason.
func (r *Rejected) Unwrap() error { return r.Err }

// Retry says that a sink cannot take anything now, and when it may be asked again.
type Retry struct {
	// After is how long the other side asked to be left alone; 0 when it did not say.
	After time.Duration
	// Err is why.
	Err error
}

// Error implements error.
func (r *Retry) Error() string {
	if r.After == 0 {
		return r.Err.Error()
	}
	return fmt.Sprintf("%v (asked to wait %v)", r.Err, r.After)
}

// Unwrap gives errors.Is and errors.AsType the reason.
func (r *Retry) Unwrap() error { return r.Err }

// Rejections gathers what one Write rejects. The zero value is ready.
type Rejections struct{ rejected Rejected }

// Add counts points that are rejected; the first reason is kept.
func (r *Rejections) Add(points int, err error) {
	if r.rejected.Err == nil {
		r.rejected.Err = err
	}
	r.rejected.Points += points
}

// Err is a *Rejected, or nil when nothing was rejected.
func (r *Rejections) Err() error {
	if r.rejected.Points == 0 {
		return nil
	}
	return &r.rejected
}
