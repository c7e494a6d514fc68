package throughput

import (
	"context"
	"io"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// flow sets all streams going. They end when ctx does.
func (r *tcpRun) flow(ctx context.Context) {
	out := &load.Sender{Block: load.NewBlock(r.env.Rand.Uint64()), Budget: load.NewBudget(r.config.target()), Sent: load.NewCounter(0)}
	if down := r.meter(probes.Down); down != nil {
		r.in = &load.Receiver{Received: down.counter}
	}
	for _, s := range r.streams {
		r.wait.Go(func() {
			defer load.Interruptible(ctx, s)()
			var err error
			if s.up {
				err = out.Send(s)
			} else if err = r.in.Receive(s.Conn); err == nil {
				err = io.EOF
			}
			r.ended(ctx, s.up, err)
		})
	}
	r.sample = r.take
}

// take samples what is counted here: what arrives, and what the own kernel says of what it sends.
func (r *tcpRun) take(time.Duration) {
	if down := r.meter(probes.Down); down != nil {
		bytes, now, loose := r.in.Count(r.start)
		down.add(sample{at: now, bytes: bytes, loose: loose})
	}
	if up := r.meter(probes.Up); up != nil {
		var state load.State
		for _, s := range r.streams {
			if one, ok := load.StateOf(s.Conn); ok && s.up {
				state.Add(one)
			}
		}
		if state.Sockets > 0 {
			up.addSender(state)
		}
	}
	r.control.keepAlive()
}

// report takes in what the far end counted. A count that goes back is not believed.
func (r *tcpRun) report(_ time.Duration, p *report) {
	if up := r.meter(probes.Up); up != nil {
		if more := p.Received - up.counter.Total(); more > 0 {
			up.counter.Add(more)
		}
		up.add(sample{at: p.Elapsed, bytes: up.counter.Total(), loose: p.Loose})
	}
	if down := r.meter(probes.Down); down != nil && p.Sender != nil {
		down.addSender(*p.Sender)
	}
}

// finish drops the streams that are not wanted any more and waits for the far end's last count. Without it, what was
// uploaded is known up to the report before only, and the run has failed; what was downloaded is known here.
func (r *tcpRun) finish(ctx context.Context) error {
	for _, s := range r.streams {
		if !s.up {
			s.drop()
		}
	}
	err := r.control.finish(ctx)
	if r.meter(probes.Up) == nil && ctx.Err() == nil {
		return nil
	}
	return err
}
