// Package uplink delivers what the outbox holds to a server with the InfluxDB v2 write API: a collector, InfluxDB itself,
// or any other. A record leaves the outbox only when the server has taken it, or has said of this very record that it
// never will.
package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api"
	influx "github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/api/write"

	"github.com/nrprobe/nrprobe/agent/outbox"
	"github.com/nrprobe/nrprobe/probes"
)

// Source is where records come from; the outbox is one.
type Source interface {
	// Next blocks until there is a record or ctx ends, and leases up to maxBytes of them, at least one.
	Next(ctx context.Context, maxBytes int) (outbox.Lease, error)
	// Pending is how many records are not yet acknowledged.
	Pending() uint64
}

// Options are what the uplink needs beside its Config.
type Options struct {
	// Token authorises writes; "" sends none.
	Token string
	// TLS verifies the server of an https:// address; nil is the host's own authorities.
	TLS *tls.Config
	// Network opens connections; nil is the host's own dialer.
	Network probes.Network
	// Version is named in the User-Agent.
	Version string
	// Log is told when delivery stops, why, and when it goes on. Never nil.
	Log *slog.Logger
}

// Uplink delivers batches one after the other. Run it once; Stats is safe for concurrent use.
type Uplink struct {
	config Config
	source Source
	log    *slog.Logger
	client *http.Client
	writes api.WriteAPIBlocking

	// Of the goroutine in Run alone.
	batch  int  // bytes of a batch: the configured size, smaller once a server found that too large
	proven bool // the server has taken something from us
	fails  int  // attempts that failed in a row
	reason string
	logged map[string]bool // reasons of rejections that are in the log

	mu    sync.Mutex
	stats Stats
}

// Stats are counts since the uplink was made.
type Stats struct {
	// Batches by how they ended: "delivered", "rejected" (in part or as a whole), "retried", "refused".
	Batches map[string]uint64
	// Delivered and Rejected count records; Bytes what was delivered, before compression.
	Delivered, Rejected, Bytes uint64
	// LastSuccess is when the server last took a batch; zero when it never did.
	LastSuccess time.Time
}

// Outcomes lists the keys of Stats.Batches.
func Outcomes() []string { return []string{"delivered", "rejected", "retried", "refused"} }

// New makes an uplink that delivers from source. It opens nothing. The Config has been validated.
func New(c Config, source Source, o Options) *Uplink {
	u := &Uplink{config: c, source: source, log: o.Log, batch: int(c.BatchBytes), logged: map[string]bool{}}
	u.stats.Batches = map[string]uint64{}
	u.client = newClient(o.Network, o.TLS, c.Timeout)
	address := c.URL
	if address[len(address)-1] != '/' {
		address += "/"
	}
	authorization := ""
	if o.Token != "" {
		authorization = "Token " + o.Token
	}
	httpOptions := influx.DefaultOptions().SetHTTPClient(u.client).SetApplicationName("nrprobe-agent/" + o.Version)
	service := influx.NewService(address, authorization, httpOptions)
	u.writes = api.NewWriteAPIBlocking(c.Org, c.Bucket, service, write.DefaultOptions().SetUseGZip(c.Gzip))
	return u
}

// Run delivers until ctx ends. Once producers has ended it returns as soon as nothing is left, and at once when the server
// refuses for a reason that waiting does not mend. The error says what was left behind and why; it is nil when nothing was,
// and when ctx ended before producers did.
//
// Liveness: returns when ctx ends, at the latest when the write under way has noticed.
func (u *Uplink) Run(ctx, producers context.Context) error {
	defer u.client.CloseIdleConnections()
	for {
		full, err := u.deliverNext(ctx, producers)
		draining := producers.Err() != nil
		switch {
		case ctx.Err() != nil && !draining, draining && u.source.Pending() == 0:
			return nil
		case draining && (ctx.Err() != nil || isRefused(err)):
			return u.leftBehind(ctx)
		case err != nil && draining:
			pause(ctx, nil, u.backoff(err))
		case err != nil:
			// The end of the producers is worth another attempt at once.
			if pause(ctx, producers, u.backoff(err)) {
				u.fails = 0
			}
		case !full:
			pause(ctx, producers, u.config.Interval)
		}
	}
}

// leftBehind is the error with which a Run ends that could not empty the outbox.
func (u *Uplink) leftBehind(ctx context.Context) error {
	why := u.reason
	if why == "" {
		why = fmt.Sprint(context.Cause(ctx))
	}
	return fmt.Errorf("%d results are not delivered yet: %s", u.source.Pending(), why)
}

func isRefused(err error) bool {
	n, ok := errors.AsType[*notDelivered](err)
	return ok && n.verdict == refused
}

// deliverNext takes one lease and delivers it. full says that more may be waiting.
func (u *Uplink) deliverNext(ctx, producers context.Context) (full bool, err error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	// Once the producers have ended, an empty outbox is no reason to wait any more.
	defer context.AfterFunc(producers, func() {
		if u.source.Pending() == 0 {
			cancel()
		}
	})()
	lease, err := u.source.Next(waiting, u.batch)
	if err != nil {
		if waiting.Err() != nil {
			return false, nil
		}
		return false, fmt.Errorf("reading the outbox: %w", err)
	}
	records := lease.Records()
	size := sizeOf(records)
	t := &tally{}
	if err := u.settle(t, u.send(ctx, t, records)); err != nil {
		lease.Release()
		if ctx.Err() == nil {
			u.failed(err)
		}
		return false, err
	}
	if err := lease.Ack(); err != nil {
		lease.Release()
		return false, fmt.Errorf("acknowledging in the outbox: %w", err)
	}
	u.succeeded(t, size)
	return size >= u.batch*3/4, nil
}

// tally is what became of the records of one lease so far.
type tally struct {
	accepted int
	rejected int
	sample   answer // of the last rejection
	record   []byte // which it was about, where that is known
	doubtful bool   // a rejection did not bear the marks of a write API
}

// send writes records. A batch that the server rejects is halved until the records that it means stand alone, so that one
// bad record holds up nothing; writing the good ones again changes nothing in a store.
func (u *Uplink) send(ctx context.Context, t *tally, records [][]byte) error {
	a := judge(u.write(ctx, records))
	switch {
	case a.verdict == accepted:
		t.accepted += len(records)
	case a.verdict == partial:
		bad := min(a.dropped, len(records))
		t.accepted += len(records) - bad
		t.rejected += bad
		t.sample = a
		u.proven = true // no portal speaks like that
	case a.verdict == retry || a.verdict == refused:
		return &notDelivered{a}
	case len(records) == 1:
		t.rejected++
		t.sample, t.record = a, records[0]
		t.doubtful = t.doubtful || !a.genuine
	default:
		if a.verdict == tooLarge {
			u.batch = max(min(u.batch, sizeOf(records))/2, minBatch)
		}
		half := len(records) / 2
		if err := u.send(ctx, t, records[:half]); err != nil {
			return err
		}
		return u.send(ctx, t, records[half:])
	}
	return nil
}

// minBatch is the smallest size that a batch is cut down to: a few results.
const minBatch = 4 << 10

// settle decides whether rejections are to be believed: when the server took other records of the same lease, or when it
// has taken some before and its answer bears the marks of a write API. Otherwise it is more likely that a proxy, a portal
// or a wrong setting refuses everything, and nothing is dropped for that.
func (u *Uplink) settle(t *tally, err error) error {
	u.proven = u.proven || t.accepted > 0
	if err != nil || t.rejected == 0 || t.accepted > 0 || (u.proven && !t.doubtful) {
		return err
	}
	a := t.sample
	a.verdict = refused
	a.reason += " to everything so far (check uplink.url, uplink.org and uplink.bucket)"
	return &notDelivered{a}
}

// write sends one body.
func (u *Uplink) write(ctx context.Context, records [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, u.config.Timeout)
	defer cancel()
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = string(bytes.TrimRight(r, "\n"))
	}
	return u.writes.WriteRecord(ctx, lines...)
}

// Pauses after failures. A server that restarts is back in seconds, hence the first; a setting that is wrong is mended by
// a person, hence the slow ones.
const (
	firstRetry  = time.Second
	firstSlow   = 30 * time.Second
	slowestSlow = 5 * time.Minute
)

// backoff is how long to wait after the present run of failures: exponential, at least what the server asked for, with the
// upper half random so that a fleet does not come back at once.
func (u *Uplink) backoff(err error) time.Duration {
	first, longest := firstRetry, u.config.RetryMax
	var after time.Duration
	if n, ok := errors.AsType[*notDelivered](err); ok {
		after = n.after
		if n.verdict == refused {
			first, longest = firstSlow, slowestSlow
		}
	}
	wait := min(first<<min(max(u.fails-1, 0), 20), longest)
	wait = wait/2 + rand.N(wait/2+1)
	return max(wait, after)
}

// pause waits. It ends with ctx, and with early when that is not nil; true says that early was it.
func pause(ctx, early context.Context, d time.Duration) bool {
	var earlyDone <-chan struct{}
	if early != nil {
		earlyDone = early.Done()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-earlyDone:
		return true
	}
	return false
}

func sizeOf(records [][]byte) (n int) {
	for _, r := range records {
		n += len(r)
	}
	return n
}
