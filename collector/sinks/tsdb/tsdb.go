// Package tsdb is the sink that keeps everything in an embedded Prometheus store, at the time at which it was measured, so
// that a collector answers PromQL with no other server beside it.
//
// Counters and histograms of Results are amounts of one Result; here they become the growing totals that PromQL expects,
// summed per series in the order of arrival. Every series is born with a sample of 0 at the start of its first Result, so
// that rate() and increase() see that first amount too. After a restart of the collector the totals begin anew from 0,
// which PromQL takes for the reset that it is.
//
// Data that comes late is stored at its own time as long as it is within the out-of-order window. A gauge is stored
// wherever it belongs; an amount for a counter or histogram that is older than the newest sample of its series joins the
// next sample in order, because a total cannot be raised in the past. An agent's outbox delivers in order, so that this
// happens only when the clock of an agent was set back.
//
// Commits reach the operating system and are synced segment by segment, as in Prometheus: they survive the death of the
// process, not always that of the machine. When the process dies between a commit and the acknowledgement of its batch,
// the amounts of that one batch are counted twice.
package tsdb

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	prom "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes/series"
)

// Config is the sink's configuration.
type Config struct {
	Path       string        `yaml:"path" help:"folder of the store" required:"true"`
	Retention  time.Duration `yaml:"retention" help:"how long samples are kept" min:"2h"`
	MaxBytes   unit.Bytes    `yaml:"max_bytes" help:"largest size of the finished blocks; 0 for no limit"`
	OutOfOrder time.Duration `yaml:"out_of_order" help:"how late data may come and still be stored" min:"0s"`
	MaxSeries  int           `yaml:"max_series" help:"largest number of series; samples of further ones are rejected" min:"1000"`
}

// Validate implements configs.Validator.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	if c.OutOfOrder > c.Retention && r.Good(at, "retention") {
		r.Problem(at, "out_of_order", fmt.Sprintf("%s is longer than the retention of %s", unit.FormatDuration(c.OutOfOrder), unit.FormatDuration(c.Retention)))
	}
}

// Kind describes the sink.
func Kind() sinks.Kind {
	return sinks.Define(sinks.Kind{
		Name:    "tsdb",
		Summary: "embedded Prometheus store with PromQL, for Grafana and for the page",
		Help: "Samples are stored at the time at which they were measured; distributions are native histograms. " +
			"Points of other programs become gauges named MEASUREMENT_FIELD.",
	}, Defaults, func(c Config, env sinks.Env) (sinks.Sink, error) { return Open(c, env) })
}

// Defaults is the configuration without a file. The out-of-order window is as long as an agent's outbox keeps data, so that nothing which is delivered comes
// too late. A million series need about 4 GiB of memory; 10,000 agents with three probes have some hundred thousand.
func Defaults() Config {
	return Config{Retention: 30 * 24 * time.Hour, OutOfOrder: 7 * 24 * time.Hour, MaxSeries: 500_000}
}

// Sink is the open store. Write and Close are for one goroutine, as sinks.Sink says; Storage may be read meanwhile.
type Sink struct {
	config Config
	log    *slog.Logger
	db     *prom.DB
	totals *series.Set
	closed bool
	// undone is what a commit that failed was to store. The totals have it already, so the same batches must not be
	// added to them again when they are written again.
	undone undone
	// appender begins a commit.
	appender func(context.Context) storage.AppenderV2
}

// Open opens or makes the store.
func Open(c Config, env sinks.Env) (*Sink, error) {
	o := prom.DefaultOptions()
	o.RetentionDuration = c.Retention.Milliseconds()
	o.MaxBytes = int64(c.MaxBytes)
	o.OutOfOrderTimeWindow = c.OutOfOrder.Milliseconds()
	// Blocks grow to a tenth of the retention, at most a month, as Prometheus has it.
	o.MaxBlockDuration = max(o.MinBlockDuration, min(c.Retention/10, 31*24*time.Hour).Milliseconds())
	o.WALCompression = compression.Snappy
	db, err := prom.Open(c.Path, slog.New(quiet{env.Log.Handler()}).With("sink", env.Name), env.Metrics, o, prom.NewDBStats())
	if err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", c.Path, err)
	}
	return &Sink{
		config: c, log: env.Log, db: db,
		totals:   series.NewSet(series.Options{MaxSeries: c.MaxSeries, Idle: 24 * time.Hour}),
		appender: db.AppenderV2,
	}, nil
}

// Storage is what queries read. It is safe for concurrent use until Close.
func (s *Sink) Storage() storage.Queryable { return s.db }

// Series is the number of series that received a sample within the last hours.
func (s *Sink) Series() uint64 { return s.db.Head().NumSeries() }

// Write implements sinks.Sink. The batches are committed together.
func (s *Sink) Write(ctx context.Context, batches []queue.Batch) error {
	if s.closed {
		return errors.New("the store is closed")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := writer{sink: s, appender: s.appender(ctx), rejected: s.undone.rejected}
	for _, a := range s.undone.samples {
		_ = w.append(a.ls, a.at, a.sample) // it was accepted the first time
	}
	for _, b := range s.undone.rest(batches) {
		w.batch(b)
	}
	if err := w.appender.Commit(); err != nil {
		s.undone = undone{batches: len(batches), last: keyOf(batches), samples: w.appended, rejected: w.rejected}
		return fmt.Errorf("committing: %w", err)
	}
	s.undone = undone{}
	return w.rejected.Err()
}

// undone is what a commit that failed was to store.
type undone struct {
	batches  int
	last     uint64 // of those batches
	samples  []appended
	rejected sinks.Rejections
}

// appended is one sample that was given to the store.
type appended struct {
	ls     labels.Labels
	at     int64
	sample sample
}

// rest is what follows the batches that are undone: a Feeder writes them again, perhaps with further ones behind them.
func (u undone) rest(batches []queue.Batch) []queue.Batch {
	if u.batches == 0 || len(batches) < u.batches || keyOf(batches[:u.batches]) != u.last {
		return batches
	}
	return batches[u.batches:]
}

// keyOf tells lists of batches apart.
func keyOf(batches []queue.Batch) uint64 {
	h := crc64.New(crc64.MakeTable(crc64.ECMA))
	for _, b := range batches {
		_, _ = fmt.Fprintf(h, "%d %d ", b.Received.UnixNano(), len(b.Body))
		_, _ = h.Write(b.Body)
	}
	return h.Sum64()
}

// Close implements sinks.Sink. What is in memory is in the write-ahead log too, so that closing needs no long time.
func (s *Sink) Close(context.Context) error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.db.Close()
}
