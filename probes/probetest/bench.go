package probetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// endlessRun is how long a continuous probe, which has no end of its own, measures in one run of the suite.
const endlessRun = 20 * time.Second

// bench is one emulated network with an edge device and a far host, inside a bubble.
type bench struct {
	t         *testing.T
	ctx       context.Context
	net       *netsim.Network
	edge, far *netsim.Host
	serving   sync.WaitGroup
}

// perfect is the link that loses nothing. Probes that fill it get one with an end, 100 Mbit/s with 20 ms of queue, that
// a test need not carry what 4 MiB a window and 10 ms a round trip come to.
func (s Suite) perfect() netsim.State {
	if s.Kind.Lane == probes.Load {
		return netsim.State{Delay: Delay, Rate: 12.5e6, Queue: 250_000}
	}
	return netsim.State{Delay: Delay}
}

// newBench makes a network whose two directions are the same. It ends with the test.
func (s Suite) newBench(t *testing.T, link netsim.Profile) *bench {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &bench{t: t, ctx: ctx, net: netsim.New(1)}
	b.edge = b.net.Host("edge", "10.0.0.1", "fd00::1")
	b.far = b.net.Host(FarName, FarAddress4, FarAddress6)
	b.net.Connect(b.edge, b.far, link, link)
	t.Cleanup(func() {
		cancel()
		b.serving.Wait()
		if err := b.net.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// serve starts the far end and returns when it listens.
func (b *bench) serve(s Suite) {
	b.t.Helper()
	serve := s.Serve
	if serve == nil {
		serve = func(ctx context.Context, network probes.Network) error {
			return servePlain(ctx, network, s.FarEnd, s.Kind.Port)
		}
	}
	b.goServe(serve)
}

func (b *bench) goServe(serve func(context.Context, probes.Network) error) {
	b.t.Helper()
	b.serving.Go(func() {
		if err := serve(b.ctx, b.far); err != nil && b.ctx.Err() == nil {
			b.t.Errorf("far end: %v", err)
		}
	})
	synctest.Wait()
}

// checkClosed finds sockets that a probe left open.
func (b *bench) checkClosed() {
	b.t.Helper()
	if n := b.edge.Sockets(); n > 0 {
		b.t.Errorf("the probe returned and left %d sockets open", n)
	}
}

// servePlain serves a far end without TLS as the reflector does: Packets on the UDP port, Streams on the TCP port by their
// preamble. It returns when ctx ends and every handler has returned.
func servePlain(ctx context.Context, network probes.Network, service farend.Service, port uint16) error {
	address := ":" + strconv.Itoa(int(port))
	var handlers sync.WaitGroup
	defer handlers.Wait()
	failed := make(chan error, 2)
	if service.Packets != nil {
		pc, err := network.ListenPacket(ctx, "udp", address)
		if err != nil {
			return err
		}
		defer pc.Close()
		handlers.Go(func() { failed <- service.Packets(ctx, pc) })
	}
	if len(service.Streams) > 0 {
		l, err := network.Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = l.Close() })
		defer stop()
		handlers.Go(func() { failed <- acceptStreams(ctx, l, service) })
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		handlers.Wait() // before the sockets close, as the reflector does
		return nil
	}
}

func acceptStreams(ctx context.Context, l net.Listener, service farend.Service) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		handlers.Go(func() {
			defer c.Close()
			_ = serveStream(ctx, c, service) // peers that were canceled are the normal case
		})
	}
}

func serveStream(ctx context.Context, c net.Conn, service farend.Service) error {
	preamble := make([]byte, farend.PreambleSize)
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(0, 0)) })
	_, err := io.ReadFull(c, preamble)
	stop()
	if err != nil {
		return err
	}
	handle := service.Streams[string(preamble)]
	if handle == nil {
		return fmt.Errorf("preamble %q is none of the service's", preamble)
	}
	return handle(ctx, c)
}

// target is what a probe measures: the far host by name, on the kind's port.
func (s Suite) target(host string) (probes.Target, error) {
	return probes.ParseTarget(host, s.Kind.Port)
}

func (s Suite) config() any {
	config := s.Kind.NewConfig()
	if s.Config != nil {
		s.Config(config)
	}
	return config
}

// endless says whether a run ends only when it is canceled.
func (s Suite) endless() bool { return s.Kind.Timeout(s.config()) == 0 }

func (s Suite) build(b *bench) (probes.Probe, any) {
	b.t.Helper()
	return s.buildFor(b, FarName)
}

func (s Suite) buildFor(b *bench, host string) (probes.Probe, any) {
	b.t.Helper()
	config := s.config()
	target, err := s.target(host)
	if err != nil {
		b.t.Fatal(err)
	}
	probe, err := s.Kind.Build(config, Env(b.t, b.edge), target)
	if err != nil {
		b.t.Fatal(err)
	}
	return probe, config
}

// measure builds a probe for the far host and runs it once.
func (s Suite) measure(ctx context.Context, b *bench) []*probes.Result {
	b.t.Helper()
	probe, config := s.build(b)
	return s.run(ctx, probe, config)
}

// run runs a probe as the agent would: one Result, or a continuous probe's windows.
func (s Suite) run(ctx context.Context, probe probes.Probe, config any) []*probes.Result {
	timeout := s.Kind.Timeout(config)
	if timeout == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		timer := time.AfterFunc(endlessRun, cancel)
		defer timer.Stop()
	}
	runner := probes.Runner{Agent: "edge", Boot: "boot"}
	var results []*probes.Result
	runner.Run(ctx, probes.Job{Kind: s.Kind.Name, Name: "suite", Target: FarName, Probe: probe, Timeout: timeout},
		func(r *probes.Result) { results = append(results, r) })
	return results
}

// refusing is a network on which nothing may be opened.
type refusing struct{ t *testing.T }

var errOpened = errors.New("nothing may be opened here")

// refuse reports that something was opened.
func (r refusing) refuse(what string) error {
	r.t.Helper()
	r.t.Errorf("%s was called", what)
	return errOpened
}
