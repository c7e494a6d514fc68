// Package plan holds an agent to its data plan: a budget of bytes for each network interface, per day and per calendar month.
//
// Before a run starts, the most that it may use is reserved; after it, what it used is charged. Days and months are those of
// UTC, the same on every device of a fleet and whatever the time zone is set to. A run is charged to the day and the month in
// which it ends.
//
// Both outlive the process. What was used is written to a file once a minute, after each load test and at the end, through a
// new file that takes the place of the old one. The reservation of a load test is on disk before the test starts. So a kill or
// a power cut leaves at most a minute of latency probes uncharged, and a load test that it ended is charged as a whole.
//
// The clock begins a new period only by going forward. While it is not set, or stands before a period that it has shown
// already, everything counts in the newest period known, and what was used in both counts against the budget. A clock that
// stays behind for the length of a period of running time was wrong before: only then is it believed again.
package plan

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
)

// Limit is the data that one interface may use, both directions together.
type Limit struct {
	PerDay   unit.Bytes `yaml:"per_day" help:"data a day (UTC)"`
	PerMonth unit.Bytes `yaml:"per_month" help:"data a calendar month (UTC)"`
}

// Validate implements configs.Validator.
func (l *Limit) Validate(r *configs.Report, at configs.At) {
	switch {
	case l.PerDay == 0 && l.PerMonth == 0:
		r.Problem(at, "", "limits nothing: give per_day or per_month, or leave the interface out")
	case l.PerMonth != 0 && l.PerDay > l.PerMonth:
		r.Problem(at, "per_day", fmt.Sprintf("%v a day is more than the %v a month", l.PerDay, l.PerMonth))
	}
}

// Least is the smaller of the limits that are set: what a single run can never exceed.
func (l Limit) Least() unit.Bytes {
	if l.PerDay == 0 {
		return l.PerMonth
	}
	return l.PerDay // Validate has seen that a month allows more
}

func (l Limit) of(p Period) unit.Bytes {
	if p == Day {
		return l.PerDay
	}
	return l.PerMonth
}

// Options are what a Plan needs of the outside.
type Options struct {
	// Path is the file that keeps what was used. "" keeps it in memory alone, and then there are no load tests.
	Path string
	// Clock is the wall clock, and whether it has been set. Never nil.
	Clock func() (now time.Time, set bool)
	// Log is told when the file cannot be read or written. Never nil.
	Log *slog.Logger
}

// SaveEvery is how often what latency probes used is written: a kill leaves no more than this uncharged, and flash is spared
// all but 1,440 small writes a day.
const SaveEvery = time.Minute

// Plan is the data plan of an agent. Interfaces without a limit may use what they want and are not counted. The interface ""
// is the default route. It is safe for concurrent use.
type Plan struct {
	options Options

	saving  sync.Mutex // held while the file is written, before mu where both are
	failing bool       // the last attempt to write failed

	mu       sync.Mutex
	limits   map[string]Limit
	accounts map[string]*account // by interface: those with a limit, and those in the file
	last     time.Time           // monotonic, of the last look at the clock
	changed  bool                // since the last snapshot that was written
}

// New makes a plan. It opens nothing: Load reads what was used before.
func New(limits map[string]Limit, o Options) *Plan {
	p := &Plan{options: o, accounts: map[string]*account{}, last: time.Now()}
	p.SetLimits(limits)
	return p
}

// SetLimits puts other limits in force. What was used stays counted. Runs under way keep what they reserved.
func (p *Plan) SetLimits(limits map[string]Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = maps.Clone(limits)
	for name := range limits {
		if p.accounts[name] == nil {
			p.accounts[name] = newAccount()
		}
	}
}

// Run writes what was used once a minute while ctx lasts, and once more when it ends. It never returns an error: a file that
// cannot be written is told of in the log.
//
// Liveness: returns when ctx ends and the file is written.
func (p *Plan) Run(ctx context.Context) error {
	tick := time.NewTicker(SaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = p.save() // told of in the log
			return nil
		case <-tick.C:
			_ = p.save() // told of in the log, and tried again in a minute
		}
	}
}

// Spent says that a plan has no room for a run.
type Spent struct {
	// Interface is where, Period which budget, Limit how much that is.
	Interface string
	Period    Period
	Limit     unit.Bytes
	// Used and Reserved are what has gone and what runs under way may still use; Wanted is what the run may use at most.
	Used, Reserved, Wanted unit.Bytes
}

// Error implements error.
func (s *Spent) Error() string {
	where := "interface " + s.Interface
	if s.Interface == "" {
		where = "the default route"
	}
	return fmt.Sprintf("the data plan of %s allows %v a %s: %v are used, %v reserved, and this may take %v more",
		where, s.Limit, s.Period, s.Used, s.Reserved, s.Wanted)
}

// Reservation is what one run may use. The zero Reservation reserves nothing and is that of an interface without a limit.
type Reservation struct {
	plan    *Plan
	account *account
	name    string
	bytes   unit.Bytes
	durable bool
}

// Reserve sets aside n bytes of an interface, the most that a run may use. The error is a *Spent when they do not fit. With
// durable the reservation is on disk when Reserve returns, and one that cannot be written there is an error. The caller calls
// Settle once.
func (p *Plan) Reserve(name string, n unit.Bytes, durable bool) (*Reservation, error) {
	r, err := p.reserve(name, n, durable)
	if err != nil || r.plan == nil || !durable {
		return r, err
	}
	if err := p.save(); err != nil {
		r.free(0)
		return nil, fmt.Errorf("a load test starts only once what it may use is written down, and that cannot be: %w", err)
	}
	return r, nil
}

func (p *Plan) reserve(name string, n unit.Bytes, durable bool) (*Reservation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, limited := p.limits[name]; !limited {
		return &Reservation{}, nil
	}
	now := p.lookLocked()
	if err := p.fitsLocked(name, n, now); err != nil {
		return nil, err
	}
	a := p.accounts[name]
	a.reserved += n
	p.changed = p.changed || durable
	return &Reservation{plan: p, account: a, name: name, bytes: n, durable: durable}, nil
}

// fitsLocked says whether n more bytes fit beside what is used and reserved.
func (p *Plan) fitsLocked(name string, n unit.Bytes, now moment) error {
	a := p.accounts[name]
	for _, period := range Periods() {
		limit := p.limits[name].of(period)
		used := a.ledger(period).used(now.key(period))
		if limit > 0 && used+a.reserved+n > limit {
			return &Spent{Interface: name, Period: period, Limit: limit, Used: used, Reserved: a.reserved, Wanted: n}
		}
	}
	return nil
}

// Charge counts bytes that were used while the reservation goes on, as with a window of a continuous probe. The error is a
// *Spent when the next window has no room.
func (r *Reservation) Charge(n unit.Bytes) error {
	if r.plan == nil {
		return nil
	}
	r.plan.mu.Lock()
	defer r.plan.mu.Unlock()
	now := r.plan.lookLocked()
	r.plan.chargeLocked(r.account, n, now)
	if _, limited := r.plan.limits[r.name]; !limited {
		return nil // a reload took the limit away
	}
	// The reservation stands for the next window already.
	return r.plan.fitsLocked(r.name, 0, now)
}

// Settle ends the reservation and counts what was used of it and not charged yet, more than was reserved if need be. A load
// test is on disk with it when Settle returns, or told of in the log.
func (r *Reservation) Settle(n unit.Bytes) {
	if r.plan == nil {
		return
	}
	r.free(n)
	if r.durable {
		_ = r.plan.save() // told of in the log, and tried again in a minute
	}
}

func (r *Reservation) free(n unit.Bytes) {
	r.plan.mu.Lock()
	defer r.plan.mu.Unlock()
	r.account.reserved -= r.bytes
	r.bytes = 0
	r.plan.changed = r.plan.changed || r.durable
	r.plan.chargeLocked(r.account, n, r.plan.lookLocked())
}

// Charge counts bytes that nobody reserved: what delivers results cannot wait for another day.
func (p *Plan) Charge(name string, n unit.Bytes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, limited := p.limits[name]; limited {
		p.chargeLocked(p.accounts[name], n, p.lookLocked())
	}
}

func (p *Plan) chargeLocked(a *account, n unit.Bytes, now moment) {
	if n <= 0 {
		return
	}
	for _, period := range Periods() {
		a.ledger(period).charge(now.key(period), n)
	}
	p.changed = true
}

// lookLocked looks at the clock and begins new periods where it says so.
func (p *Plan) lookLocked() moment {
	wall, set := p.options.Clock()
	m := moment{wall: wall.UTC(), set: set}
	mono := time.Now()
	passed := mono.Sub(p.last)
	p.last = mono
	for _, a := range p.accounts {
		for _, period := range Periods() {
			if a.ledger(period).turn(m.key(period), passed, period.length()) {
				p.changed = true
			}
		}
	}
	return m
}

// Limited says whether an interface has a limit.
func (p *Plan) Limited(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, limited := p.limits[name]
	return limited
}

// Usage is how far one budget has been used.
type Usage struct {
	Interface             string
	Period                Period
	Limit, Used, Reserved unit.Bytes
}

// Usage lists every budget, by interface, day before month.
func (p *Plan) Usage() []Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.lookLocked()
	var list []Usage
	for _, name := range slices.Sorted(maps.Keys(p.limits)) {
		a := p.accounts[name]
		for _, period := range Periods() {
			if limit := p.limits[name].of(period); limit > 0 {
				list = append(list, Usage{name, period, limit, a.ledger(period).used(now.key(period)), a.reserved})
			}
		}
	}
	return list
}
