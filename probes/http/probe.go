package http

import (
	"context"
	"net/url"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

type probe struct {
	config Config
	env    probes.Env
	target probes.Target
	url    *url.URL
}

// run is the requests of one run, made one after the other.
type run struct {
	*probe
	r    *probes.Recorder
	kept *connection // nil while none is open for the next request

	sent, received int
	wrong          error // the first answer that was not the one expected
	last           error // why the last request that failed had no answer
}

// Measure implements probes.Probe.
// Liveness: the HTTP stacks keep goroutines beside each connection; all of them end when it is closed, as each one is
// before Measure returns.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	r.Note("url", p.url.Redacted())
	for _, m := range []*probes.Metric{probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost} {
		r.Add(m, probes.Both, 0)
	}
	m := &run{probe: p, r: r}
	defer m.drop()
	start := time.Now()
	for i := range p.config.Count {
		if err := client.WaitUntil(ctx, start.Add(time.Duration(i)*p.config.Interval)); err != nil {
			return err
		}
		if err := m.attempt(ctx); err != nil {
			return err
		}
	}
	switch {
	case m.wrong != nil:
		return m.wrong
	case m.received == 0:
		return m.last
	default:
		return nil
	}
}

// attempt makes one request and takes down what became of it. The error is that the run ended meanwhile: such a request
// says nothing of the server and is not counted.
func (m *run) attempt(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, m.config.RequestTimeout,
		probes.Fail(probes.Timeout, "%s: no complete answer within %v", m.target.Address(), m.config.RequestTimeout))
	defer cancel()
	err := m.follow(limited)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.sent++
	m.r.Add(probes.PacketsSent, probes.Both, 1)
	if err != nil {
		m.last = err
		m.r.Add(probes.PacketsLost, probes.Both, 1)
	} else {
		m.received++
		m.r.Add(probes.PacketsReceived, probes.Both, 1)
	}
	m.r.Set(probes.LossRatio, probes.Both, float64(m.sent-m.received)/float64(m.sent))
	return nil
}

// follow makes a request, and those that its redirects lead to.
func (m *run) follow(ctx context.Context) error {
	u := m.url
	for hops := 0; ; hops++ {
		c, err := m.connection(ctx, u)
		if err != nil {
			return err
		}
		a, err := m.exchange(ctx, c, u)
		if err != nil || !m.config.Keep || !a.reusable {
			m.drop()
		}
		if err != nil {
			return err
		}
		if a.location == nil || hops == m.config.Redirects {
			m.judge(a)
			return nil
		}
		u = a.location
	}
}

// judge holds the answer against the status that was expected.
func (m *run) judge(a answer) {
	want, ok := "one below 400", a.status < 400
	if m.config.Status != 0 {
		want, ok = statusText(m.config.Status), a.status == m.config.Status
	}
	if !ok && m.wrong == nil {
		m.wrong = probes.Fail(probes.Invalid, "%s answered with status %s, want %s", m.url.Redacted(), statusText(a.status), want)
	}
}
