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
	client.Account(r, 0, 0)
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
	attempts := client.Attempts{Recorder: r, Count: p.config.Count, Interval: p.config.Interval}
	return attempts.Run(ctx, func(ctx context.Context) error {
		c, err := p.connect(ctx, r, address)
		if err != nil {
			return err
		}
		observeKernel(r, c)
		_ = c.Close() // it has told all that it was made for
		return nil
	})
}
