package throughput

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/load"
)

// flow sets all streams of all connections going. They end when ctx does.
func (r *quicRun) flow(ctx context.Context) {
	block := load.NewBlock(r.env.Rand.Uint64())
	for i, l := range r.links {
		for _, m := range r.meters {
			out := &load.Sender{Block: block, Budget: load.NewBudget(r.share(i)), Sent: load.NewCounter(0)}
			if r.protocol == farend.ALPNPerf && m.way == probes.Up {
				out.Sent = m.counter
			}
			for j := range r.config.Streams {
				r.wait.Go(func() {
					var err error
					if m.way == probes.Up {
						err = r.upload(ctx, l.conn, out)
					} else if err = r.download(ctx, l.conn, part(r.share(i), j, r.config.Streams)); err == nil && r.config.target() == 0 {
						err = io.EOF // with a limit, streams end one by one as it is used up
					}
					r.ended(ctx, m.way == probes.Up, err)
				})
			}
		}
	}
	r.sample = r.take
}

// upload sends on one stream until the budget is used up or ctx ends. Under "perf" it then waits for the far end to say
// that it has everything; otherwise the far end has its own way to say so, and what is under way is dropped.
func (r *quicRun) upload(ctx context.Context, c *quic.Conn, out *load.Sender) error {
	st, err := c.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	var head [perfHeader]byte
	if _, err := st.Write(head[:]); err != nil {
		return err
	}
	release := load.Interruptible(ctx, writeSide{st})
	err = out.Send(st)
	release()
	if ctx.Err() != nil {
		err = nil
	}
	if ctx.Err() != nil && r.protocol == ALPNLoad {
		st.CancelWrite(perfDone)
		return nil
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	if r.protocol == ALPNLoad {
		return nil
	}
	defer load.Interruptible(r.stopping, st)()
	return load.Drain(st, make([]byte, perfHeader), load.NewCounter(0))
}

// writeSide limits a deadline to the writing side of a stream.
type writeSide struct{ *quic.Stream }

func (w writeSide) SetDeadline(t time.Time) error { return w.SetWriteDeadline(t) }

// download asks for bytes on one stream and counts them until there are no more or ctx ends. Under ALPNLoad the session
// limits what comes, under "perf" the size of the request, which is 0 for no limit.
func (r *quicRun) download(ctx context.Context, c *quic.Conn, size int64) error {
	st, err := c.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	ask := uint64(size)
	if r.protocol == ALPNLoad || size == 0 {
		ask = endless
	}
	if _, err := st.Write(binary.BigEndian.AppendUint64(nil, ask)); err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	defer load.Interruptible(ctx, st)()
	defer st.CancelRead(perfDone)
	return load.Drain(st, make([]byte, quicReadSize), r.meter(probes.Down).counter)
}

// take samples what is counted here: what arrives, and what quic-go says of what it sends.
func (r *quicRun) take(at time.Duration) {
	for _, m := range r.meters {
		if m.way == probes.Down || r.protocol == farend.ALPNPerf {
			m.add(sample{at: at, bytes: m.counter.Total()})
		}
		if m.way == probes.Up || r.protocol == farend.ALPNPerf {
			var sum load.State
			for _, l := range r.links {
				sum.Add(stateOfQUIC(l.conn))
			}
			m.addSender(sum)
		}
	}
	for _, l := range r.links {
		if l.control != nil {
			l.control.keepAlive()
		}
	}
}

// finish ends all sessions in order and waits for the far end's last counts. Without them, what was uploaded is known up
// to the reports before only, and the run has failed; what was downloaded is known here.
func (r *quicRun) finish(ctx context.Context) error {
	if r.protocol == farend.ALPNPerf {
		return r.finishPerf(ctx)
	}
	finishing, finished := errgroup.WithContext(ctx)
	for _, l := range r.links {
		finishing.Go(func() error { return l.control.finish(finished) })
	}
	err := finishing.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.meter(probes.Up) == nil {
		return nil
	}
	return err
}

// finishPerf waits until the far end has ended every upload, by which it says that it has all of it.
func (r *quicRun) finishPerf(ctx context.Context) error {
	if r.meter(probes.Up) == nil {
		return nil
	}
	drained := make(chan struct{})
	r.drainers.Go(func() { r.wait.Wait(); close(drained) })
	patience := time.NewTimer(idleLimit)
	defer patience.Stop()
	select {
	case <-drained:
		r.take(time.Since(r.start))
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
		return probes.Fail(probes.Timeout, "%s has not acknowledged the end of the upload within %v", r.address, idleLimit)
	}
}
