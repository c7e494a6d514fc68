package tcp

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

type probe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// Measure implements probes.Probe.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	for _, m := range []*probes.Metric{probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost} {
		r.Add(m, probes.Both, 0)
	}
	to, err := client.Resolve(ctx, p.env.Net, r, p.target)
	if err != nil {
		return err
	}
	address := to.String()
	if !p.config.Echo {
		return p.connects(ctx, r, address)
	}
	c, err := p.connect(ctx, r, address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // all that it was for has been read
	return p.echoes(ctx, r, c)
}

// connect makes one connection. TCP_NODELAY is Go's default, and set again for networks where it is not.
func (p *probe) connect(ctx context.Context, r *probes.Recorder, address string) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, p.config.ConnectTimeout)
	defer cancel()
	start := time.Now()
	c, err := p.env.Net.Dial(dialing, "tcp", address)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case dialing.Err() != nil:
			return nil, probes.Fail(probes.Timeout, "connecting to %s: no answer within %v", address, p.config.ConnectTimeout)
		}
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	r.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(start))
	if d, ok := c.(interface{ SetNoDelay(bool) error }); ok {
		_ = d.SetNoDelay(true) // a socket that refuses is closed already, which the first write will tell
	}
	return c, nil
}

// connects measures connect times alone. A connection that is not established is an attempt that was lost; the run fails
// when none was.
func (p *probe) connects(ctx context.Context, r *probes.Recorder, address string) error {
	var sent, received int
	var last error
	start := time.Now()
	for i := range p.config.Count {
		if err := client.WaitUntil(ctx, start.Add(time.Duration(i)*p.config.Interval)); err != nil {
			account(r, sent, received)
			return err
		}
		c, err := p.connect(ctx, r, address)
		if err != nil && ctx.Err() != nil {
			account(r, sent, received) // an attempt that was cut short says nothing
			return err
		}
		sent++
		if err != nil {
			last = err
			continue
		}
		received++
		observeKernel(r, c)
		if err := c.Close(); err != nil {
			last = fmt.Errorf("closing the connection to %s: %w", address, err)
		}
	}
	account(r, sent, received)
	if received == 0 {
		return last
	}
	return nil
}

// account takes down what became of the attempts that were made.
func account(r *probes.Recorder, sent, received int) {
	r.Add(probes.PacketsSent, probes.Both, float64(sent))
	r.Add(probes.PacketsReceived, probes.Both, float64(received))
	r.Add(probes.PacketsLost, probes.Both, float64(sent-received))
	if sent > 0 {
		r.Set(probes.LossRatio, probes.Both, float64(sent-received)/float64(sent))
	}
}
