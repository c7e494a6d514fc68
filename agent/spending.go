package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/nrprobe/nrprobe/agent/plan"
	"github.com/nrprobe/nrprobe/agent/schedule"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// newPlan makes the data plan of a configuration. Its file lies beside the outbox.
func (a *Agent) newPlan(c *Config) *plan.Plan {
	o := plan.Options{Log: a.log, Clock: func() (time.Time, bool) {
		now := a.clock.wall()
		return now, !now.Before(clockSet())
	}}
	if c.Outbox.Path != "" {
		o.Path = filepath.Join(c.Outbox.Path, "plan.json")
	}
	return plan.New(c.Plan, o)
}

// checkPlan reports probes that could never run for the data plan of their interface.
func (d *document) checkPlan(r *configs.Report, kinds catalog.Catalog[probes.Kind]) {
	for i, p := range d.Probes {
		limit, limited := d.Plan[p.Interface]
		kind, err := kinds.Find(p.Kind)
		if !limited || err != nil || p.Settings == nil {
			continue
		}
		worst, known := kind.WorstCase(p.Settings)
		switch {
		case !known && kind.Lane == probes.Load:
			r.Problem(d.Entries.places[i], "", errUnbounded(&p).Error())
		case worst > limit.Least():
			r.Problem(d.Entries.places[i], "", fmt.Sprintf("one run may take %v, headers included, and the data plan of %s allows %v: make it smaller, or the plan larger", worst, linkName(p.Interface), limit.Least()))
		}
	}
}

// errUnbounded is why a load test whose worst case is not known does not run where there is a plan.
func errUnbounded(p *Probe) error {
	if _, bounded := p.Settings.(probes.Priced); !bounded {
		return fmt.Errorf("%s has a data plan, and the kind %s cannot be held to one: measure over another interface", linkName(p.Interface), p.Kind)
	}
	return fmt.Errorf("%s has a data plan, and this load test could take any amount: set max_bytes, or volume where the kind has that", linkName(p.Interface))
}

func linkName(name string) string {
	if name == "" {
		return "the default route"
	}
	return name
}

// spending is what one run takes of the data plan. It belongs to the goroutine that runs it.
type spending struct {
	job      job
	reserved *plan.Reservation
	worst    unit.Bytes // of a run or a window; 0 when unknown
	before   plan.Traffic
	after    plan.Traffic
	spent    unit.Bytes // and not charged yet
	unclear  bool       // a load test broke off, and its Result cannot tell what it sent until then
}

// reserve sets aside what a run may take. An error means that it must not start.
func (a *Agent) reserve(j job) (*spending, error) {
	worst, known := j.kind.WorstCase(j.entry.Settings)
	load := j.pass.Lane == probes.Load
	if load && !known && a.plan.Limited(j.entry.Interface) {
		return nil, errUnbounded(&j.entry)
	}
	reserved, err := a.plan.Reserve(j.entry.Interface, worst, load)
	if err != nil {
		return nil, err
	}
	return &spending{job: j, reserved: reserved, worst: worst}, nil
}

// roomEvery is how often a continuous probe that ran out of plan looks whether there is room again. It costs nothing, and
// after midnight it goes on within a minute.
const roomEvery = time.Minute

// admit reserves what a run may take. A run that the plan has no room for yields a result that says so, and nil; a continuous
// probe then waits until there is room, and nil says that ctx ended before.
func (a *Agent) admit(ctx context.Context, j job) *spending {
	s, err := a.reserve(j)
	if err == nil {
		return s
	}
	a.refuse(ctx, j, err)
	for j.pass.Yields && err != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(roomEvery):
			s, err = a.reserve(j)
		}
	}
	return s
}

// refuse yields the result of a run that does not start.
func (a *Agent) refuse(ctx context.Context, j job, why error) {
	a.log.Info("not measuring: the data plan has no room", "probe", j.entry.Name, "reason", why)
	a.fail(ctx, j, &probes.Failure{Outcome: probes.OverPlan, Err: why})
}

// begin is called when the run has its lane.
func (s *spending) begin() {
	if s.job.pass.Lane == probes.Load {
		s.before = plan.Look(s.job.entry.Interface)
	}
}

// end is called before the run gives its lane back to others.
func (s *spending) end() {
	if s.job.pass.Lane == probes.Load {
		s.after = plan.Look(s.job.entry.Interface)
	}
}

// took counts what a result took. The error is a *plan.Spent when a continuous probe must pause.
func (s *spending) took(r *probes.Result) error {
	n := s.cost(r)
	if s.job.pass.Yields {
		return s.reserved.Charge(n)
	}
	s.spent += n
	return nil
}

// waitBytes is charged for a load test that waited for its lease in vain: two minutes of signs of life, both ways.
const waitBytes = 40_000

// waited counts what it took to get no lease.
func (s *spending) waited(err error) {
	if probes.Classify(err) == probes.Busy {
		s.spent += waitBytes
		return
	}
	s.spent += failedBytes
}

// failedBytes is charged for a run that got nowhere: a name and some attempts to connect.
const failedBytes = 10_000

// cost is what a result took: as its kind tells, or as the result itself does.
func (s *spending) cost(r *probes.Result) unit.Bytes {
	if n, ok := s.job.kind.Spent(s.job.entry.Settings, r); ok {
		return n
	}
	n, known := plan.Estimate(r)
	switch {
	case s.job.pass.Lane == probes.Load:
		s.unclear = brokeOff(r)
		return max(n, failedBytes)
	case s.worst > 0 && (!known || n > s.worst):
		return s.worst
	default:
		return max(n, failedBytes)
	}
}

// brokeOff says whether a load test failed once it was connected. Then what the far end received last is not known here.
func brokeOff(r *probes.Result) bool {
	switch r.Outcome {
	case probes.OK, probes.Refused, probes.Auth, probes.Busy, probes.Unreachable, probes.OverPlan:
		return false
	default:
	}
	for _, m := range []*probes.Metric{probes.ConnectTime, probes.HandshakeTime} {
		if r.Hists[m.HistName(probes.Both)] != nil {
			return true
		}
	}
	n, _ := plan.Estimate(r)
	return n > 0
}

// settle charges what the run took. A load test on an interface with counters is held to these too; one without that broke off
// is charged as a whole.
func (s *spending) settle() {
	if s.unclear && !plan.Carried(s.before, s.after) {
		s.spent = max(s.spent, s.worst)
	}
	s.reserved.Settle(plan.Settled(s.spent, s.worst, s.before, s.after))
}

// paused says why a continuous probe ended that shall go on: for a load test, or for the data plan.
func paused(ctx context.Context) bool {
	cause := context.Cause(ctx)
	_, spent := errors.AsType[*plan.Spent](cause)
	return spent || errors.Is(cause, schedule.ErrYield)
}

// metered charges what the uplink moves to the data plan. The uplink is never held back: results that wait would only wait for
// another day, and the plan's own among them.
type metered struct {
	probes.Network
	charge func(n unit.Bytes)
}

// connectionBytes is what a connection takes beside its data: seven segments open and close it.
const connectionBytes = 7 * probes.HeaderTCP

// Dial implements probes.Network.
func (m metered) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.charge(connectionBytes)
	c, err := m.Network.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &meteredConn{c, m.charge}, nil
}

type meteredConn struct {
	net.Conn
	charge func(n unit.Bytes)
}

// Read implements net.Conn.
func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.charge(plan.Transfer(int64(n)))
	return n, err
}

// Write implements net.Conn.
func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.charge(plan.Transfer(int64(n)))
	return n, err
}

func (h *health) collectPlan(m meter) {
	for _, u := range h.agent.plan.Usage() {
		labels := []string{"interface", u.Interface, "period", u.Period.String()}
		m.gauge("plan_limit_bytes", "Data that an interface may use in a day or a month (UTC); no interface is the default route.", float64(u.Limit), labels...)
		m.gauge("plan_used_bytes", "Data that an interface has used in the present day or month.", float64(u.Used), labels...)
		m.gauge("plan_reserved_bytes", "Data that runs under way may still use.", float64(u.Reserved), labels...)
	}
}
