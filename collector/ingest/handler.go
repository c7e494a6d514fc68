// Package ingest takes line protocol by the write API of InfluxDB, versions 2 and 1, from agents, from Telegraf and from
// everything else that writes to InfluxDB. It answers 204 only when what it was sent is on disk.
//
// A Result is accepted once: a copy of one that was acknowledged before, whether by this process or an earlier one on the
// same folder, is dropped without a word, as long as it is among the last Window ones of its boot of its agent. So an
// agent that did not hear the answer may send again, and totals stay exact. Points of other programs have no identity and
// are stored as often as they come, which changes nothing in a store that keeps one value per series and time.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/collector/access"
	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// Limits bound what one request and all of them together may cost.
type Limits struct {
	MaxBody     unit.Bytes `yaml:"max_body" help:"largest body of a write request as it is sent" min:"64KiB" max:"256MiB"`
	MaxUnpacked unit.Bytes `yaml:"max_unpacked" help:"largest body of a write request once unpacked" min:"64KiB" max:"256MiB"`
	MaxLine     unit.Bytes `yaml:"max_line" help:"longest line of line protocol" min:"1KiB" max:"16MiB"`
	MaxRequests int        `yaml:"max_requests" help:"write requests handled at the same time; further ones are asked to come back" min:"1"`
}

// Defaults are the limits without a file. An agent sends at most a megabyte at once; InfluxDB takes 25 MB. A line with all histograms has some 20 kB.
func Defaults() Limits {
	return Limits{MaxBody: 16 << 20, MaxUnpacked: 64 << 20, MaxLine: 1 << 20, MaxRequests: 256}
}

// Deps are what a Handler needs of the rest of the collector.
type Deps struct {
	Queue *queue.Queue
	// Folder is where the memory of accepted Results is kept.
	Folder string
	Access *access.Keeper
	Log    *slog.Logger
	// Accepted is told which Results were accepted, after they are durable. It is called concurrently.
	Accepted func(results []*probes.Result, received time.Time)
}

// Counts are the figures of a Handler since its start. They may be read at any time.
type Counts struct {
	Results    atomic.Int64 // accepted
	Duplicates atomic.Int64 // dropped as copies
	Foreign    atomic.Int64 // accepted points of other programs
	Bad        atomic.Int64 // lines that could not be read
	Bytes      atomic.Int64 // accepted line protocol, unpacked
}

// Handler answers write requests. It is safe for concurrent use.
type Handler struct {
	limits Limits
	deps   Deps
	intake *intake
	slots  chan struct{}
	packer queue.Packer

	// Counts of what went through.
	Counts Counts
}

// New reads back what was accepted before, and so may take some seconds.
func New(l Limits, d Deps) (*Handler, error) {
	in, err := newIntake(d.Queue, d.Folder, d.Log)
	if err != nil {
		return nil, err
	}
	return &Handler{limits: l, deps: d, intake: in, slots: make(chan struct{}, l.MaxRequests)}, nil
}

// Run keeps the memory of accepted Results on disk.
// Liveness: it returns when ctx ends, after one last write. No request may be under way then.
func (h *Handler) Run(ctx context.Context) error { return h.intake.run(ctx) }

// ServeHTTP implements http.Handler for POST /api/v2/write and POST /write.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := h.write(w, r); f != nil {
		f.answer(w)
		return
	}
	w.Header().Set("X-Influxdb-Version", "nrprobe") // clients of InfluxDB 1.x look for the header
	w.WriteHeader(http.StatusNoContent)
}

// write handles one request; nil is success.
func (h *Handler) write(w http.ResponseWriter, r *http.Request) *Failure {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return busy("too many write requests at the same time")
	}
	to, f := h.admit(r)
	if f != nil {
		return f
	}
	b, f := h.read(w, r)
	if f != nil {
		return f
	}
	to.Received = time.Now()
	read := wire.Decode(b.lines, wire.Options{Precision: to.precision, Now: to.Received, MaxLine: int(h.limits.MaxLine)})
	for _, result := range read.Results {
		if !to.grant.MayBring(result.ID.Agent) {
			return &Failure{http.StatusForbidden, "forbidden", fmt.Sprintf("token %q may not bring Results of agent %q", to.grant.Name, result.ID.Agent), 0}
		}
	}
	fresh, err := h.intake.accept(read.Results, func(fresh []*probes.Result) (*queue.Batch, error) {
		return to.batch(b, read, fresh)
	})
	if err != nil {
		return h.refused(err)
	}
	h.count(b, read, fresh)
	if len(fresh) > 0 && h.deps.Accepted != nil {
		h.deps.Accepted(fresh, to.Received)
	}
	if read.Bad > 0 {
		return partial(read)
	}
	return nil
}

func (h *Handler) count(b body, read wire.Batch, fresh []*probes.Result) {
	h.Counts.Results.Add(int64(len(fresh)))
	h.Counts.Duplicates.Add(int64(len(read.Results) - len(fresh) + read.Duplicates))
	h.Counts.Foreign.Add(int64(len(read.Foreign)))
	h.Counts.Bad.Add(int64(read.Bad))
	h.Counts.Bytes.Add(int64(len(b.lines)))
}

// admit reads what the request says of itself and decides whether its body is wanted.
func (h *Handler) admit(r *http.Request) (to destination, f *Failure) {
	grant, ok := h.deps.Access.Check(r)
	if !ok {
		return to, &Failure{http.StatusUnauthorized, "unauthorized", "unauthorized access: want a known token in the header Authorization", 0}
	}
	q := r.URL.Query()
	to.grant, to.Token, to.packer = grant, grant.Name, &h.packer
	to.Org, to.Bucket = q.Get("org"), q.Get("bucket")
	if to.Org == "" {
		to.Org = q.Get("orgID")
	}
	if r.URL.Path == "/write" { // InfluxDB 1.x
		to.Bucket = q.Get("db")
		if rp := q.Get("rp"); rp != "" {
			to.Bucket += "/" + rp
		}
	}
	if !grant.May(access.Write) || !grant.MayWriteTo(to.Bucket) {
		return to, &Failure{http.StatusForbidden, "forbidden", fmt.Sprintf("token %q may not write to bucket %q", grant.Name, to.Bucket), 0}
	}
	var err error
	if to.precision, err = wire.ParsePrecision(q.Get("precision")); err != nil {
		return to, &Failure{http.StatusBadRequest, "invalid", err.Error(), 0}
	}
	return to, nil
}

// refused says what it means that the queue did not take a batch.
func (h *Handler) refused(err error) *Failure {
	if errors.Is(err, queue.ErrTooLarge) {
		return tooLarge("the batch is larger than the queue: send fewer lines at once")
	}
	h.deps.Log.Error("a batch could not be kept; the sender is asked to try again", "error", err)
	return busy("the queue cannot take data now")
}

// Failure is an answer other than success, in the words of InfluxDB.
type Failure struct {
	status     int
	code       string
	message    string
	retryAfter int // seconds; 0 for no advice
}

// Unauthorized is the answer to a request without a token that may do this.
func Unauthorized() *Failure {
	return &Failure{http.StatusUnauthorized, "unauthorized", "unauthorized access: want a known token in the header Authorization", 0}
}

// ServeHTTP implements http.Handler.
func (f *Failure) ServeHTTP(w http.ResponseWriter, _ *http.Request) { f.answer(w) }

func (f *Failure) answer(w http.ResponseWriter) {
	text, err := json.Marshal(map[string]string{"code": f.code, "message": f.message, "error": f.message})
	if err != nil {
		text = []byte(`{"code":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Influxdb-Error", headerText(f.message)) // where clients of InfluxDB 1.x look
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(text)
}

// headerText is text on one line of printable ASCII.
func headerText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
}

func tooLarge(format string, args ...any) *Failure {
	return &Failure{http.StatusRequestEntityTooLarge, "request too large", fmt.Sprintf(format, args...), 0}
}

// busy asks the sender to come back: soon, because what is lacking is a slot or a moment of the disk.
func busy(message string) *Failure {
	return &Failure{http.StatusServiceUnavailable, "unavailable", message, 2}
}

// maxNamed is how many bad lines an answer names. The rest is like them.
const maxNamed = 5

// partial names the lines that could not be read. The others are stored.
func partial(read wire.Batch) *Failure {
	var b strings.Builder
	fmt.Fprintf(&b, "partial write: %d of the lines could not be read and were dropped, the others are stored", read.Bad)
	for i, p := range read.Problems {
		if i == maxNamed {
			fmt.Fprintf(&b, "; and %d more", read.Bad-i)
			break
		}
		b.WriteString("; " + p.String())
	}
	return &Failure{http.StatusBadRequest, "invalid", b.String(), 0}
}
