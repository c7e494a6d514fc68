// Package collector takes what agents measured by the write API of InfluxDB, keeps it on disk until every sink has it, and
// shows it: by PromQL from an embedded store, on /metrics and on a page of its own.
package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/nrprobe/nrprobe/collector/access"
	"github.com/nrprobe/nrprobe/collector/fleet"
	"github.com/nrprobe/nrprobe/collector/ingest"
	"github.com/nrprobe/nrprobe/collector/query"
	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/series"
)

// Deps are what a Collector needs of the program around it.
type Deps struct {
	// Log is for what the operator should know. Never nil.
	Log *slog.Logger
	// Version is the program's, for /health and the page.
	Version string
}

// Collector is one collector. Its methods are safe for concurrent use.
type Collector struct {
	config   *Config
	deps     Deps
	listener net.Listener
	access   *access.Keeper
	queue    *queue.Queue
	feeders  []*sinks.Feeder
	ingest   *ingest.Handler
	query    *query.API // nil without a sink that can be queried
	fleet    *fleet.Registry
	series   *series.Set
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	started  time.Time
	ready    chan struct{}
}

// New opens the listener, the queue and the sinks. Run must follow, and closes them.
func New(c *Config, d Deps) (*Collector, error) {
	col := &Collector{
		config: c, deps: d, started: time.Now(), ready: make(chan struct{}),
		access: access.Open(), fleet: fleet.NewRegistry(c.Forget), registry: prometheus.NewRegistry(),
		series: series.NewSet(series.Options{Idle: c.Forget}),
	}
	if err := col.open(); err != nil {
		return nil, errors.Join(err, col.close(context.Background()))
	}
	return col, nil
}

func (c *Collector) open() (err error) {
	if c.config.TokensFile != "" {
		if c.access, err = access.Load(c.config.TokensFile, c.deps.Log); err != nil {
			return err
		}
	}
	if c.listener, err = c.listen(); err != nil {
		return err
	}
	readers := []string{ingest.SeenReader}
	for _, s := range c.config.Sinks.List {
		readers = append(readers, s.Name)
	}
	if c.queue, err = queue.Open(c.config.Queue, readers, c.deps.Log); err != nil {
		return err
	}
	for _, s := range c.config.Sinks.List {
		if err := c.openSink(s); err != nil {
			return fmt.Errorf("sink %s: %w", s.Name, err)
		}
	}
	c.ingest, err = ingest.New(c.config.Limits, ingest.Deps{
		Queue: c.queue, Folder: c.config.Queue.Path, Access: c.access, Log: c.deps.Log, Accepted: c.accepted,
	})
	if err != nil {
		return err
	}
	c.register()
	return nil
}

// listen opens the port. Without TLS tokens cross the network in the clear, which is said once.
func (c *Collector) listen() (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", c.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	inside := false
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		inside = a.IP.IsLoopback()
	}
	if c.config.TLS.Cert == "" {
		if !inside && c.access.Closed() {
			c.deps.Log.Warn("tokens cross the network in the clear: set tls, or put a TLS proxy in front", "listen", l.Addr())
		}
		if !inside && !c.access.Closed() {
			c.deps.Log.Warn("everybody who reaches this address may write and read: set tokens_file, or listen on loopback", "listen", l.Addr())
		}
		return l, nil
	}
	pair, err := tls.LoadX509KeyPair(c.config.TLS.Cert, c.config.TLS.Key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tls: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}), nil
}

func (c *Collector) openSink(s SinkConfig) error {
	sink, err := s.Kind.Build(s.Config, sinks.Env{
		Name: s.Name, Log: c.deps.Log,
		Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"sink": s.Name}, c.registry),
	})
	if err != nil {
		return err
	}
	c.feeders = append(c.feeders, &sinks.Feeder{
		Name: s.Name, Sink: sink, Source: c.queue.Reader(s.Name), Log: c.deps.Log, Grace: c.config.Grace,
	})
	if store, ok := sink.(query.Store); ok && c.query == nil {
		c.query = query.New(c.config.Query, store, c.deps.Version, c.deps.Log)
	}
	return nil
}

// accepted shows what is durable.
func (c *Collector) accepted(results []*probes.Result, received time.Time) {
	for _, r := range results {
		c.fleet.Add(r, received)
		c.series.Add(r)
	}
}

// Addr is the address that the collector listens on.
func (c *Collector) Addr() net.Addr { return c.listener.Addr() }

// Ready is closed once requests are answered.
func (c *Collector) Ready() <-chan struct{} { return c.ready }

// Reload reads the tokens file again. On error the tokens stay as they were.
func (c *Collector) Reload() error { return c.access.Reload() }

// sweepEvery is how often agents that are gone are looked for.
const sweepEvery = 10 * time.Second

// Run answers requests and feeds the sinks until ctx ends. Then it takes no more requests, lets the sinks store what waits
// for as long as Config.Grace, and closes everything. It returns nil after such an end.
// Liveness: it returns at the latest about three times Config.Grace after the end of ctx.
func (c *Collector) Run(ctx context.Context) error {
	// Producers end with ctx, consumers only after the last request has been answered.
	consumers, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	feeding, consumers := errgroup.WithContext(consumers)
	for _, f := range c.feeders {
		feeding.Go(func() error { return f.Run(consumers) })
	}
	feeding.Go(func() error { return c.ingest.Run(consumers) })
	serving, producers := errgroup.WithContext(ctx)
	serving.Go(func() error { return c.serve(producers, consumers) })
	serving.Go(func() error { return c.access.Run(producers) })
	serving.Go(func() error { c.sweep(producers); return nil })

	err := serving.Wait()
	stop()
	err = errors.Join(err, feeding.Wait())
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(c.config.Grace, time.Second))
	defer cancel()
	return errors.Join(err, c.close(closing))
}

// serve answers requests until ctx ends, or until a consumer has failed.
func (c *Collector) serve(ctx, consumers context.Context) error {
	server := &http.Server{
		Handler: c.handler(),
		// A client that sends its header, or its body, this slowly is no agent.
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		// The longest query and the time to send its answer.
		WriteTimeout: c.config.Query.Timeout + time.Minute,
		IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(c.deps.Log.Handler(), slog.LevelDebug), // what strangers send is no error of ours
	}
	c.deps.Log.Info("collector is ready", "listen", c.listener.Addr().String())
	close(c.ready)
	serving, ended := errgroup.WithContext(ctx)
	serving.Go(func() error {
		if err := server.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving: %w", err)
		}
		return nil
	})
	serving.Go(func() error {
		select {
		case <-consumers.Done():
		case <-ended.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(c.config.Grace, time.Second))
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // connections that would not end
		}
		return err
	})
	return serving.Wait()
}

func (c *Collector) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.fleet.Sweep(now)
		}
	}
}

// close closes what is open, the sinks before the queue they read.
func (c *Collector) close(ctx context.Context) error {
	var errs []error
	for _, f := range c.feeders {
		if err := f.Sink.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing sink %s: %w", f.Name, err))
		}
	}
	if c.queue != nil {
		errs = append(errs, c.queue.Close())
	}
	if c.listener != nil {
		if err := c.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
