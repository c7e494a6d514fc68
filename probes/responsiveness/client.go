package responsiveness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/load"
)

// probe is the client.
type probe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// run is one run of a probe.
type run struct {
	*probe
	rec       *probes.Recorder
	dialer    dialer
	site      site
	resources resources
	block     []byte
	random    *rand.Rand // of the goroutine of prober

	stability stability
	counters  map[probes.Direction]*load.Counter
	counted   map[probes.Direction]int64 // what the recorder has been told of
	fail      context.CancelCauseFunc
	wait      sync.WaitGroup

	mu       sync.Mutex
	loaded   []*link                 // load-generating connections that carry data
	underway map[*time.Time]struct{} // when the probes began that are
	finished answers                 // in this interval
	missed   error                   // how the last probe failed that did
	pace     float64                 // probes per second
}

var errEnded = errors.New("the measurement is over")

// Measure implements probes.Probe.
// Liveness: it waits for every load-generating connection and every probe; their requests and handshakes end with ctx.
func (p *probe) Measure(ctx context.Context, rec *probes.Recorder) error {
	c := p.config
	r := &run{
		probe: p, rec: rec, dialer: dialer{env: p.env, version: c.HTTP}, block: load.NewBlock(p.env.Rand.Uint64()),
		random:    rand.New(rand.NewPCG(p.env.Rand.Uint64(), 0)),
		stability: stability{distance: c.Distance, interval: c.Interval, tolerance: c.Tolerance, share: c.Trim},
		counters:  map[probes.Direction]*load.Counter{}, counted: map[probes.Direction]int64{}, pace: firstPace,
		underway: map[*time.Time]struct{}{},
	}
	for _, way := range c.ways() {
		r.counters[way] = load.NewCounter(int64(c.MaxBytes) / int64(len(c.ways())))
		rec.Add(probes.Transferred, way, 0)
	}
	rec.Note("draft", Draft)
	rec.Note("http", "HTTP/"+c.HTTP)
	if err := r.discover(ctx); err != nil {
		return err
	}
	if !r.resources.leases {
		return r.measure(ctx)
	}
	return p.gate().Measure(ctx, rec, r.measure)
}

func (p *probe) gate() *lease.Gate {
	c := p.config
	return &lease.Gate{Env: p.env, Target: p.target, Terms: c.Terms, Ask: lease.Ask{Kind: "responsiveness", Bytes: int64(c.MaxBytes), Duration: c.Duration + 4*stepLimit}}
}

// Enter has the probe's lease before it measures, as lease.Guarded does. It asks the server what it offers first, so that a
// server of other people is asked for nothing that it does not have; Measure asks it once more.
func (p *probe) Enter(ctx context.Context, told func(state string)) (held context.Context, leave func(), err error) {
	r := &run{probe: p, dialer: dialer{env: p.env, version: p.config.HTTP}}
	if err := r.discover(ctx); err != nil {
		return nil, nil, err
	}
	if !r.resources.leases {
		return ctx, func() {}, nil
	}
	return p.gate().Enter(ctx, told)
}

// measure loads the link and probes it.
func (r *run) measure(ctx context.Context) error {
	working, stop := context.WithCancelCause(ctx)
	r.fail = stop
	r.wait.Go(func() { r.sendProbes(working) })
	why, err := r.watch(working)
	stop(errEnded)
	r.wait.Wait()
	r.publish(why)
	if err == nil {
		err = r.unanswered()
	}
	return err
}

// unanswered is the error of a measurement that ended with most probes lost, or with none completed of one kind; nil of
// another. It is called when no probe is under way any more.
func (r *run) unanswered() error {
	answered, lost := r.stability.window()
	completed := len(answered)
	if r.stability.rated && lost <= completed {
		return nil
	}
	span := time.Duration(r.config.Distance) * r.config.Interval
	if r.missed == nil {
		return probes.Fail(probes.Timeout, "in the last %v, %d probes were completed, not enough of each kind, and %d went unanswered", span, completed, lost)
	}
	return probes.Fail(failing(r.missed), "in the last %v, %d probes were completed and %d lost: %w", span, completed, lost, r.missed)
}

// discover asks the server what there is to measure against, and finds the address to measure.
func (r *run) discover(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*stepLimit, probes.Fail(probes.Timeout, "no answer from %s within %v", r.target.Address(), 2*stepLimit))
	defer cancel()
	s := site{target: r.target, host: r.target.Address()}
	var err error
	if s.address, err = r.resolve(ctx, r.target.Host, r.target.Port); err != nil {
		return err
	}
	l, _, err := r.dialer.dial(ctx, s)
	if err != nil {
		return because(ctx, err)
	}
	text, err := fetch(ctx, l, &url.URL{Scheme: "https", Host: s.host, Path: wellKnown}, maxConfiguration)
	if err = errors.Join(err, l.close()); err != nil {
		return because(ctx, err)
	}
	if r.resources, err = parseConfiguration(text); err != nil {
		return probes.Fail(probes.Invalid, "%s: %w", r.target.Address(), err)
	}
	return r.locate(ctx, s)
}

// because prefers the reason why ctx has ended to what that led to.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// locate finds the address behind the configuration's URLs, which is the target's own as a rule.
func (r *run) locate(ctx context.Context, asked site) error {
	u := r.resources.small
	port := uint64(443)
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.ParseUint(text, 10, 16); err != nil {
			return probes.Fail(probes.Invalid, "the port of %s: %w", u, err)
		}
	}
	r.site = asked
	if u.Hostname() == r.target.Host && uint16(port) == r.target.Port && r.resources.endpoint == "" {
		return nil
	}
	host := u.Hostname()
	if r.resources.endpoint != "" {
		host = r.resources.endpoint
	}
	var err error
	r.site = site{host: u.Host, target: probes.Target{Host: u.Hostname(), Port: uint16(port), Text: net.JoinHostPort(u.Hostname(), strconv.FormatUint(port, 10))}}
	r.site.address, err = r.resolve(ctx, host, uint16(port))
	return err
}

func (r *run) resolve(ctx context.Context, host string, port uint16) (string, error) {
	addresses, err := r.env.Net.Resolve(ctx, host)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", host, because(ctx, err))
	}
	return net.JoinHostPort(addresses[0].String(), strconv.Itoa(int(port))), nil
}

// Why a measurement ended, in the info "ended_by".
const (
	byStability = "stability"
	byDuration  = "duration"
	byMaxBytes  = "max_bytes"
)

// watch follows the intervals, and says why it is enough.
func (r *run) watch(ctx context.Context) (why string, err error) {
	end := time.NewTimer(r.config.Duration)
	defer end.Stop()
	tick := time.NewTicker(r.config.Interval)
	defer tick.Stop()
	connections, last := 0, time.Now()
	more := r.config.Initial
	for {
		for ; more > 0 && connections < r.config.Connections; more-- {
			connections++
			r.addLoad(ctx)
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-end.C:
			return byDuration, nil
		case <-full(r.counters[probes.Up]):
			return byMaxBytes, nil
		case <-full(r.counters[probes.Down]):
			return byMaxBytes, nil
		case <-tick.C:
		}
		bytes := make([]int64, len(r.config.ways()))
		// An interval that was longer or shorter than planned is put in proportion.
		scale := float64(r.config.Interval) / float64(time.Since(last))
		last = time.Now()
		for i, way := range r.config.ways() {
			bytes[i] = int64(float64(r.count(way)) * scale)
		}
		r.interval(bytes)
		if r.stability.done() {
			return byStability, nil
		}
		more = r.config.Added // when the rate is stable, too: how much the network buffers shows only then
	}
}

// count takes down the bytes of one direction that have come since the last time, and returns them.
func (r *run) count(way probes.Direction) int64 {
	total := r.counters[way].Total()
	more := total - r.counted[way]
	r.counted[way] = total
	r.rec.Add(probes.Transferred, way, float64(more))
	return more
}

// full is closed when a direction has carried its share of max_bytes.
func full(c *load.Counter) <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.Full()
}

// interval takes in what happened in one, shows progress, and sets the pace of the probes by the capacity that was seen.
func (r *run) interval(bytes []int64) {
	r.stability.add(bytes, r.takeAnswers())
	capacity := 0.0
	for i, way := range r.config.ways() {
		r.rec.Set(probes.Goodput, way, r.stability.goodput(i))
		capacity += r.stability.goodput(i)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace = max(leastPace, min(float64(r.config.ProbeRate), r.config.ProbeShare*capacity/probeCost))
}

// publish sums up: the last rating, and the probes that it was made of.
func (r *run) publish(why string) {
	if why != "" {
		r.rec.Note("ended_by", why)
	}
	for i, way := range r.config.ways() {
		r.count(way)
		if way == probes.Up {
			r.rec.Note("counted_by", "sender")
		}
		if len(r.stability.bytes) > 0 {
			r.rec.Set(probes.Goodput, way, r.stability.goodput(i))
		}
	}
	completed, lost := r.stability.window()
	if lost > 0 {
		r.rec.Note("probes_lost", fmt.Sprintf("%d of %d", lost, lost+len(completed)))
	}
	if r.unanswered() != nil {
		return // what was seen before that tells nothing of how it ended
	}
	latest := r.stability.latest
	r.rec.Set(probes.Responsiveness, probes.Both, latest.rpm)
	r.rec.Set(probes.ForeignResponsiveness, probes.Both, latest.foreign)
	r.rec.Set(probes.LoadedResponsiveness, probes.Both, latest.loaded)
	r.rec.Note("confidence", r.stability.confidence())
	r.rec.Note("confidence_goodput", r.stability.fullness())
	r.rec.Note("rating", verdict(latest.rpm))
	for _, t := range completed {
		if !t.foreign {
			r.rec.ObserveDuration(probes.LoadedLatency, probes.Both, t.http)
			continue
		}
		if t.tcp > 0 {
			r.rec.ObserveDuration(probes.ConnectTime, probes.Both, t.tcp)
		}
		r.rec.ObserveDuration(probes.HandshakeTime, probes.Both, t.tls)
		r.rec.ObserveDuration(probes.FirstByteTime, probes.Both, t.http)
	}
}
