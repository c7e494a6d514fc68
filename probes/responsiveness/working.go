package responsiveness

import (
	"context"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// addLoad adds one load-generating connection per direction.
func (r *run) addLoad(ctx context.Context) {
	for _, way := range r.config.ways() {
		r.wait.Go(func() {
			if err := r.generate(ctx, way); err != nil && ctx.Err() == nil {
				r.fail(probes.Fail(failing(err), "a load-generating connection failed: %w", err))
			}
		})
	}
}

// failing is the outcome that an error of a load-generating connection has for the whole.
func failing(err error) probes.Outcome {
	switch o := probes.Classify(err); o {
	case probes.Busy, probes.Auth, probes.Invalid, probes.Timeout:
		return o
	default:
		return probes.Error
	}
}

// generate loads one direction over one connection until ctx ends.
func (r *run) generate(ctx context.Context, way probes.Direction) error {
	dialing, cancel := context.WithTimeout(ctx, stepLimit)
	l, _, err := r.dialer.dial(dialing, r.site)
	cancel()
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.loaded = append(r.loaded, l)
	r.mu.Unlock()
	if way == probes.Up {
		err = upload(ctx, l, r.resources.upload, &endless{block: r.block, sent: r.counters[way]})
	} else {
		err = download(ctx, l, r.resources.large, r.counters[way])
	}
	r.mu.Lock()
	r.loaded = slices.DeleteFunc(r.loaded, func(x *link) bool { return x == l })
	r.mu.Unlock()
	if closeErr := l.close(); closeErr != nil {
		r.env.Log.Debug("closing a load-generating connection", "err", closeErr)
	}
	return err
}

// What probes cost and how often they are sent. The draft estimates 5,000 bytes for a foreign and 1,000 for a self probe;
// they take turns. Before the capacity is known there are ten a second, which is 5 % of 5 Mbit/s. Two a second are sent on
// the slowest link: with fewer there would be nothing to take a mean of.
const (
	probeCost = 3000.0
	firstPace = 10.0
	leastPace = 2.0
)

// maxPending is how many probes may be under way. On a link where the answers take seconds, more would tell nothing new.
const maxPending = 64

// sendProbes sends foreign and self probes by turns, evenly spread, until ctx ends.
func (r *run) sendProbes(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pending := make(chan struct{}, maxPending)
	next := time.Now()
	for foreign := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.mu.Lock()
		next = next.Add(time.Duration(float64(time.Second) / r.pace))
		r.mu.Unlock()
		if late := time.Now(); next.Before(late) {
			next = late // what was missed is not made up for: a burst would measure itself
		}
		timer.Reset(time.Until(next))
		select {
		case pending <- struct{}{}:
		default:
			continue
		}
		var on *link
		if !foreign {
			on = r.pick()
		}
		r.wait.Go(func() {
			defer func() { <-pending }()
			r.probeOnce(ctx, on)
		})
		foreign = !foreign
	}
}

// pick chooses one of the connections that carry load; nil while there is none.
func (r *run) pick() *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.loaded) == 0 {
		return nil
	}
	return r.loaded[r.random.IntN(len(r.loaded))]
}

// probeOnce sends one probe, on a loaded connection or, with nil, on a new one.
func (r *run) probeOnce(ctx context.Context, on *link) {
	begun := new(time.Now())
	r.mu.Lock()
	r.underway[begun] = struct{}{}
	r.mu.Unlock()
	t, err := r.ask(ctx, on)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.underway, begun)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.missed = err
		r.finished.failed++
	default:
		t.took = time.Since(*begun)
		r.finished.completed = append(r.finished.completed, t)
	}
}

// takeAnswers is what has become of the probes since the last time.
func (r *run) takeAnswers() answers {
	r.mu.Lock()
	defer r.mu.Unlock()
	finished := r.finished
	r.finished = answers{}
	for begun := range r.underway {
		finished.underway = append(finished.underway, time.Since(*begun))
	}
	return finished
}

func (r *run) ask(ctx context.Context, on *link) (t timing, err error) {
	if on == nil {
		if on, t, err = r.dialer.dial(ctx, r.site); err != nil {
			return t, err
		}
		t.foreign = true
		defer func() {
			if closeErr := on.close(); closeErr != nil {
				r.env.Log.Debug("closing a probe's connection", "err", closeErr)
			}
		}()
	}
	begun := time.Now()
	if _, err := fetch(ctx, on, r.resources.small, 1); err != nil {
		return t, err
	}
	t.http = time.Since(begun)
	return t, nil
}
