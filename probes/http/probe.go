package http

import (
	"context"
	"net/url"

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
	r        *probes.Recorder
	kept     *connection // nil while none is open for the next request
	requests *client.Attempts
}

// Measure implements probes.Probe.
// Liveness: the HTTP stacks keep goroutines beside each connection; all of them end when it is closed, as each one is
// before Measure returns.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	r.Note("url", p.url.Redacted())
	m := &run{probe: p, r: r, requests: &client.Attempts{Recorder: r, Count: p.config.Count, Interval: p.config.Interval}}
	defer m.drop()
	return m.requests.Run(ctx, m.attempt)
}

// attempt makes one request, and those that its redirects lead to.
func (m *run) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.config.RequestTimeout,
		probes.Fail(probes.Timeout, "%s: no complete answer within %v", m.target.Address(), m.config.RequestTimeout))
	defer cancel()
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
	if !ok {
		m.requests.Wrong(probes.Fail(probes.Invalid, "%s answered with status %s, want %s", m.url.Redacted(), statusText(a.status), want))
	}
}
