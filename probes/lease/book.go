package lease

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Book is a reflector's register of leases and of those who wait for one. It lives in memory: after a restart everybody asks
// anew. Its methods are safe for concurrent use, and on a nil Book they find no leases and want none.
type Book struct {
	config Config
	log    *slog.Logger

	mu      sync.Mutex
	held    []*entry // leases
	waiting []*entry // in order of arrival
	stats   Stats
}

// Stats is what a Book has seen. Granted = Active + those that were given back + Lost.
type Stats struct {
	// Active leases there are at this moment, and Waiting clients.
	Active, Waiting int
	// Granted counts leases, Refused asks that were turned down at once.
	Granted, Refused uint64
	// Lost counts leases that were taken back: the holder was silent for too long, or took longer than was granted.
	Lost uint64
}

// entry is one client that waits for a lease or has one.
type entry struct {
	ask    Ask
	site   string
	client netip.Addr
	from   string // what tells its address from others
	asked  time.Time
	rate   float64 // what it counts of Config.Rate
	// news holds the latest message that the client is to be told, and position what it was told last.
	news     chan message
	position int

	// The rest is set when it is granted.
	id      string
	granted time.Time
	ctx     context.Context // ends with the lease; its cause says why
	end     context.CancelCauseFunc
}

// NewBook makes an empty register.
func NewBook(c Config, log *slog.Logger) *Book { return &Book{config: c, log: log} }

// Active is how many leases there are now.
func (b *Book) Active() int { return b.Stats().Active }

// Stats returns the counters so far.
func (b *Book) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Active, s.Waiting = len(b.held), len(b.waiting)
	return s
}

// enter puts a client into the queue, from which it may be granted at once, or says why not. The caller calls leave once.
func (b *Book) enter(client netip.Addr, ask Ask) (*entry, *refusal) {
	no := func(o probes.Outcome, format string, args ...any) (*entry, *refusal) {
		b.mu.Lock()
		b.stats.Refused++
		b.mu.Unlock()
		return nil, &refusal{Outcome: string(o), Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case ask.Version != protocolVersion:
		return no(probes.Invalid, "version %d of the lease protocol is not spoken here: want %d", ask.Version, protocolVersion)
	case ask.Duration > b.config.MaxDuration:
		return no(probes.Refused, "a load test of %v is longer than the %v that are granted (leases.max_duration)", ask.Duration, b.config.MaxDuration)
	case b.config.MaxBytes > 0 && ask.Bytes > int64(b.config.MaxBytes):
		return no(probes.Refused, "a load test of %d bytes is more than the %v that are granted (leases.max_bytes)", ask.Bytes, b.config.MaxBytes)
	}
	if ask.Duration == 0 {
		ask.Duration = b.config.MaxDuration
	}
	e := &entry{ask: ask, site: ask.Site, client: client, from: siteOf(client), asked: time.Now(), rate: b.share(ask.Rate), news: make(chan message, 1)}
	if e.site == "" {
		e.site = e.from
	}
	e.ctx, e.end = context.WithCancelCause(context.Background())
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	b.grantLocked()
	waits, all, own := e.id == "", len(b.waiting), 0
	for _, other := range b.waiting {
		if other.from == e.from {
			own++
		}
	}
	b.mu.Unlock()
	switch {
	case waits && all > b.config.Queue:
		b.leave(e, nil)
		return no(probes.Busy, "%d load tests are waiting, as many as may: come back later", b.config.Queue)
	case waits && own > b.config.QueuePerAddress:
		b.leave(e, nil)
		return no(probes.Busy, "%d load tests of %s are waiting, as many as may of one address (leases.queue_per_address): come back later", b.config.QueuePerAddress, e.from)
	}
	return e, nil
}

// perAddress is how many leases one address may hold, whatever it says its sites are: not all, unless one site may.
func (b *Book) perAddress() int { return max(1, b.config.Total/2, b.config.PerSite) }

// share is how much of Config.Rate a test counts.
func (b *Book) share(rate float64) float64 {
	if rate == 0 {
		rate = float64(b.config.AssumedRate)
	}
	if all := float64(b.config.Rate); rate == 0 || rate > all {
		return all
	}
	return rate
}

// siteOf tells apart addresses, and those who name no site by them: an IPv6 site has a /64 at least.
func siteOf(client netip.Addr) string {
	client = client.Unmap().WithZone("")
	if !client.IsValid() {
		return "unknown" // all of those that have no address share one site
	}
	bits := 32
	if client.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(client, bits).Masked().String()
}

// leave takes a client out, lease or not. The cause is what sessions of its lease are told; nil when it gave it back.
func (b *Book) leave(e *entry, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := func(other *entry) bool { return other == e }
	b.held = slices.DeleteFunc(b.held, gone)
	b.waiting = slices.DeleteFunc(b.waiting, gone)
	if e.id != "" && cause != nil {
		b.stats.Lost++
	}
	if cause == nil {
		cause = errReleased
	}
	if e.id != "" {
		b.log.Info("lease ended", "site", e.site, "agent", e.ask.Agent, "kind", e.ask.Kind, "lasted", time.Since(e.granted).Round(time.Millisecond), "why", cause)
	}
	e.end(cause)
	b.grantLocked()
}

// errReleased is how a lease ends whose holder gives it back.
var errReleased = probes.Fail(probes.Canceled, "the lease has been given back")

// grantLocked grants what can be granted and tells those who wait where they stand. Who waits for the end of a test of the
// same site, or of the same address, is overtaken by others. Who waits for a place among all, or for its rate, is not: small
// tests would keep a large one waiting for ever.
func (b *Book) grantLocked() {
	sites, addresses, rate := map[string]int{}, map[string]int{}, 0.0
	for _, e := range b.held {
		sites[e.site]++
		addresses[e.from]++
		rate += e.rate
	}
	var still []*entry
	blocked := 0                // wait for a place among all, or for rate
	last := map[string]int{}    // position of the last one of each site
	crowded := map[string]int{} // wait for the end of a test of their address
	for _, e := range b.waiting {
		position := 0
		switch {
		case addresses[e.from] >= b.perAddress():
			crowded[e.from]++
			position = crowded[e.from]
		case sites[e.site] >= b.config.PerSite:
			position = last[e.site] + 1
			last[e.site] = position
		default:
			sites[e.site]++ // a place that nobody behind can have
			addresses[e.from]++
			if blocked > 0 || len(b.held) >= b.config.Total || rate+e.rate > float64(b.config.Rate) {
				blocked++
				position = blocked
				last[e.site] = position
				break
			}
			b.held = append(b.held, e)
			rate += e.rate
			b.grantOneLocked(e)
		}
		if position == 0 {
			continue
		}
		still = append(still, e)
		if position != e.position {
			e.position = position
			e.tell(message{Queued: &queued{Position: position, TTL: b.config.TTL}})
		}
	}
	b.waiting = still
}

func (b *Book) grantOneLocked(e *entry) {
	e.id, e.granted = rand.Text(), time.Now()
	b.stats.Granted++
	b.log.Info("lease granted", "site", e.site, "agent", e.ask.Agent, "kind", e.ask.Kind, "client", e.client.String(), "waited", e.granted.Sub(e.asked).Round(time.Millisecond))
	e.tell(message{Granted: &granted{ID: e.id, Duration: e.ask.Duration, TTL: b.config.TTL}})
}

// tell replaces what the client has not been told yet. The caller holds the book's lock, so that nobody else tells.
func (e *entry) tell(m message) {
	select {
	case <-e.news:
	default:
	}
	e.news <- m
}

// Bind lets a session of load live no longer than the lease it names: the context ends with that, and its cause says why.
// Without a name the session is free, unless leases are required. The caller calls release when the session has ended.
func (b *Book) Bind(ctx context.Context, id string) (bound context.Context, release func(), err error) {
	if b == nil || id == "" && !b.config.Required {
		return ctx, func() {}, nil
	}
	b.mu.Lock()
	at := slices.IndexFunc(b.held, func(e *entry) bool { return e.id == id })
	var lease context.Context
	if at >= 0 {
		lease = b.held[at].ctx
	}
	b.mu.Unlock()
	switch {
	case id == "":
		return nil, nil, errRequired()
	case lease == nil:
		return nil, nil, probes.Fail(probes.Refused, "the load test names a lease that there is none of, or none any more")
	}
	bound, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lease, func() { end(context.Cause(lease)) })
	return bound, func() { stop(); end(nil) }, nil
}

// Admit is Bind for protocols in which no lease can be named: where leases are required, the client's address, given with a
// port, must hold one. Load that was let in is not ended with it.
func (b *Book) Admit(client string) error {
	if b == nil || !b.config.Required {
		return nil
	}
	from := addrOf(client)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.held, func(e *entry) bool { return e.client == from }) {
		return errRequired()
	}
	return nil
}

func errRequired() error {
	return probes.Fail(probes.Refused, "this reflector serves load only with a lease (leases.required), and there is none")
}

// addrOf is the address in an address with a port; the zero Addr when there is none.
func addrOf(text string) netip.Addr {
	parsed, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}
	}
	return parsed.Addr().Unmap().WithZone("")
}
