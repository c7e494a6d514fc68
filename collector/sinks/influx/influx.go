// Package influx is the sink that forwards batches to any store with InfluxDB's v2 write API: InfluxDB 1.8, 2 and 3,
// VictoriaMetrics, or another collector. It uses net/http and not the client library, because what it forwards is the
// compressed line protocol as it arrived: the library would have every point taken apart and put together again.
package influx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
)

// Config is the sink's configuration.
type Config struct {
	URL        string            `yaml:"url" help:"address of the store, as in http://influx.example:8086" required:"true"`
	Org        string            `yaml:"org" help:"organisation to write to; empty: the one that the batch was sent to"`
	Bucket     string            `yaml:"bucket" help:"bucket to write to; empty: the one that the batch was sent to"`
	Buckets    map[string]string `yaml:"buckets" help:"bucket to write to, by the bucket that the batch was sent to; goes before bucket"`
	Token      string            `yaml:"token" help:"token of the store; better kept in token_file"`
	TokenFile  string            `yaml:"token_file" help:"file that holds the token"`
	Timeout    time.Duration     `yaml:"timeout" help:"how long one request may take" min:"1s" max:"10m"`
	MaxRequest unit.Bytes        `yaml:"max_request" help:"line protocol in one request, before compression" min:"64KiB" max:"64MiB"`
}

// Validate implements configs.Validator.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	if _, err := parseURL(c.URL); err != nil {
		r.Problem(at, "url", err.Error())
	}
	if c.Token != "" && c.TokenFile != "" {
		r.Problem(at, "token_file", "both token and token_file are given: keep one")
	}
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an address: write it like http://influx.example:8086", text)
	}
	return u, nil
}

// Kind describes the sink.
func Kind() sinks.Kind {
	return sinks.Define(sinks.Kind{
		Name:    "influx",
		Summary: "forward to InfluxDB or any store with its v2 write API",
		Help: "Batches are forwarded as they came, under their own or another organisation and bucket. Points that the " +
			"store refuses are found by halving the batch, named in the log and dropped; everything else is tried again until it is stored.",
	}, defaults, build)
}

// defaults: 30 s is what a busy store may take for a large batch; 4 MiB is below the limits of all stores known to us
// (InfluxDB 1.8: 25 MB, InfluxDB Cloud: 50 MB, InfluxDB 3: 10 MB).
func defaults() Config { return Config{Timeout: 30 * time.Second, MaxRequest: 4 << 20} }

func build(c Config, env sinks.Env) (sinks.Sink, error) {
	base, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if _, err := configs.Secret(c.Token, c.TokenFile); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 2
	return &sink{config: c, env: env, base: base, client: &http.Client{Transport: transport, Timeout: c.Timeout}}, nil
}

// sink is safe for one caller at a time, which is what sinks.Sink asks for.
type sink struct {
	config Config
	env    sinks.Env
	base   *url.URL
	client *http.Client
	packer queue.Packer
}

// destination is where a batch goes.
type destination struct{ org, bucket string }

func (s *sink) destination(b queue.Batch) destination {
	d := destination{org: b.Org, bucket: b.Bucket}
	if s.config.Org != "" {
		d.org = s.config.Org
	}
	if to, ok := s.config.Buckets[b.Bucket]; ok {
		d.bucket = to
	} else if s.config.Bucket != "" {
		d.bucket = s.config.Bucket
	}
	return d
}

// Write implements sinks.Sink. Neighbouring batches with one destination share a request, because a fleet sends many
// small batches and a far store answers few requests a second.
func (s *sink) Write(ctx context.Context, batches []queue.Batch) error {
	var refused sinks.Rejections
	for len(batches) > 0 {
		to := s.destination(batches[0])
		n, body, err := s.gather(batches, to)
		if err != nil { // it would not be readable the next time either
			refused.Add(batches[0].Points, err)
			batches = batches[1:]
			continue
		}
		d := delivery{sink: s, to: to, budget: maxRequests, rejected: &refused}
		if err := d.deliver(ctx, body); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return refused.Err()
}

// gather takes as many batches for one destination as one request may hold, at least one.
func (s *sink) gather(batches []queue.Batch, to destination) (n int, b body, err error) {
	first, err := batches[0].Lines()
	if err != nil {
		return 0, b, err
	}
	b = body{lines: first, packed: batches[0].Body}
	for n = 1; n < len(batches) && s.destination(batches[n]) == to; n++ {
		lines, err := batches[n].Lines()
		if err != nil || len(b.lines)+len(lines) > int(s.config.MaxRequest) {
			break
		}
		b = body{lines: append(b.lines, lines...)}
	}
	return n, b, nil
}

// Close implements sinks.Sink.
func (s *sink) Close(context.Context) error {
	s.client.CloseIdleConnections()
	return nil
}

// token reads the token anew for every request, so that a changed file needs no restart.
func (s *sink) token() (string, error) { return configs.Secret(s.config.Token, s.config.TokenFile) }

func (s *sink) address(to destination) string {
	u := *s.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v2/write"
	u.RawQuery = url.Values{"org": {to.org}, "bucket": {to.bucket}, "precision": {"ns"}}.Encode()
	return u.String()
}

var errTooManyRefused = errors.New("too many refused lines in one batch; the rest of it is given up")
