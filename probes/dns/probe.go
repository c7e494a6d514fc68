package dns

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

type probe struct {
	config   Config
	env      probes.Env
	target   probes.Target
	question question
	expected netip.Addr // zero when no certain address is wanted
}

// run is the queries of one run, made one after the other.
type run struct {
	*probe
	r       *probes.Recorder
	server  *client.Server
	kept    *connection // nil while none is open for the next query
	queries *client.Attempts
}

// Measure implements probes.Probe.
// Liveness: the HTTP stack keeps goroutines beside its connection; they end when it is closed, as each one is before
// Measure returns.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	m := &run{
		probe: p, r: r, server: &client.Server{Env: p.env, Target: p.target, Recorder: r},
		queries: &client.Attempts{Recorder: r, Count: p.config.Count, Interval: p.config.Interval},
	}
	defer m.drop()
	return m.queries.Run(ctx, m.attempt)
}

// attempt makes one query and holds its answer against what was expected. An answer that makes no sense is both lost and
// wrong.
func (m *run) attempt(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, m.config.QueryTime,
		probes.Fail(probes.Timeout, "%s: no answer over %s within %v", m.target.Address(), m.config.Transport, m.config.QueryTime))
	defer cancel()
	answer, err := m.ask(limited)
	switch {
	case err == nil:
		m.judge(answer)
	case probes.Classify(err) == probes.Invalid:
		m.queries.Wrong(err)
	}
	return err
}

// ask makes one query, on the kept connection or on a new one.
func (m *run) ask(ctx context.Context) (response, error) {
	q := m.question
	if m.config.Transport != overHTTPS && m.config.Transport != overQUIC {
		q.id = uint16(m.env.Rand.Uint32())
	}
	packed, err := query(q)
	if err != nil {
		return response{}, err
	}
	c, err := m.connection(ctx)
	if err != nil {
		return response{}, err
	}
	start := time.Now()
	answer, err := c.exchange(ctx, packed, q)
	took := time.Since(start)
	if err != nil || ctx.Err() != nil || !m.config.Keep {
		m.drop()
	}
	if err != nil {
		return response{}, m.server.Explain(ctx, "query to "+m.target.Address(), err)
	}
	m.r.ObserveDuration(probes.AnswerTime, probes.Both, took)
	m.r.Note("rcode", codeText(answer.code))
	m.r.Note("records", strconv.Itoa(answer.records))
	if answer.truncated {
		m.r.Note("truncated", "true")
	}
	return answer, nil
}

// judge holds an answer against what was expected.
func (m *run) judge(a response) {
	want, ok := "", true
	switch {
	case m.expected.IsValid():
		want, ok = m.expected.String(), a.code == dnsmessage.RCodeSuccess && slices.Contains(a.addresses, m.expected)
	case m.config.Expect == expectAny:
		want, ok = "a record of the type", a.code == dnsmessage.RCodeSuccess && a.records > 0
	}
	if !ok {
		m.queries.Wrong(probes.Fail(probes.Invalid, "%s answered the query for %s %s with %v, want %s", m.target.Address(), m.question.name, m.config.Type, a, want))
	}
}
