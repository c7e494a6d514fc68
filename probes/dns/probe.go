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
	r      *probes.Recorder
	server *client.Server
	kept   *connection // nil while none is open for the next query

	sent, received int
	wrong          error // the first answer that was not the one expected
	last           error // why the last query that failed had no answer
}

// Measure implements probes.Probe.
// Liveness: the HTTP stack keeps goroutines beside its connection; they end when it is closed, as each one is before
// Measure returns.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	for _, m := range []*probes.Metric{probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost} {
		r.Add(m, probes.Both, 0)
	}
	m := &run{probe: p, r: r, server: &client.Server{Env: p.env, Target: p.target, Recorder: r}}
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

// attempt makes one query and takes down what became of it. The error is that the run ended meanwhile: such a query says
// nothing of the server and is not counted.
func (m *run) attempt(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, m.config.QueryTime,
		probes.Fail(probes.Timeout, "%s: no answer over %s within %v", m.target.Address(), m.config.Transport, m.config.QueryTime))
	defer cancel()
	answer, err := m.ask(limited)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.sent++
	m.r.Add(probes.PacketsSent, probes.Both, 1)
	if err != nil {
		m.last = err
		m.r.Add(probes.PacketsLost, probes.Both, 1)
		if m.wrong == nil && probes.Classify(err) == probes.Invalid {
			m.wrong = err
		}
	} else {
		m.received++
		m.r.Add(probes.PacketsReceived, probes.Both, 1)
		m.judge(answer)
	}
	m.r.Set(probes.LossRatio, probes.Both, float64(m.sent-m.received)/float64(m.sent))
	return nil
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
	if !ok && m.wrong == nil {
		m.wrong = probes.Fail(probes.Invalid, "%s answered the query for %s %s with %v, want %s", m.target.Address(), m.question.name, m.config.Type, a, want)
	}
}
