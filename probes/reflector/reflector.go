package reflector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// Reflector serves the far ends of all kinds on the ports of its configuration. Its methods are safe for concurrent use.
type Reflector struct {
	config   Config
	net      probes.Network
	log      *slog.Logger
	cert     tls.Certificate
	services *services
	handler  http.Handler
	gate     *gate

	ready              chan struct{}
	addrs              Addrs // set before ready is closed
	streams, tls, quic portStats

	fail      func(error)    // ends Run with an error
	acceptors sync.WaitGroup // goroutines that accept; they end with their sockets
	conns     sync.WaitGroup // connections being served, and STAMP
	admitted  sync.WaitGroup // QUIC connections that have a place at the gate; they end with their transport
	closers   []func() error // what to close when nothing is served any more
}

// New makes a reflector of the services, and its certificate where the configuration asks for one to be made and kept.
// It opens no port. The error names what is wrong with the configuration.
func New(config Config, network probes.Network, log *slog.Logger, list ...farend.Service) (*Reflector, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("reflector: %w", err)
	}
	s, err := collect(list)
	if err != nil {
		return nil, fmt.Errorf("reflector: %w", err)
	}
	if s.packets != nil {
		if s.packets, err = config.STAMP.answer(s.stamp, log); err != nil {
			return nil, fmt.Errorf("reflector: %w", err)
		}
	}
	r := &Reflector{config: config, net: network, log: log, services: s, handler: s.handler(), gate: newGate(config.Limits), ready: make(chan struct{})}
	switch {
	case len(config.TLS.Addresses)+len(config.QUIC.Addresses) == 0:
	case config.CertFile != "":
		r.cert, err = trust.Load(config.CertFile, config.KeyFile)
	default:
		r.cert, err = trust.LoadOrCreate(config.Data, config.Names...)
	}
	if err != nil {
		return nil, fmt.Errorf("reflector: %w", err)
	}
	return r, nil
}

// Pin is the certificate's pin; "" when neither TLS nor QUIC is served.
func (r *Reflector) Pin() string {
	if len(r.cert.Certificate) == 0 {
		return ""
	}
	return trust.Pin(r.cert.Certificate[0])
}

// Ready is closed when every port is open.
func (r *Reflector) Ready() <-chan struct{} { return r.ready }

// Addrs is where it listens. It waits until Ready.
func (r *Reflector) Addrs() Addrs {
	<-r.ready
	return r.addrs
}

// Run opens every port, or fails at once and names those it could not open, and serves until ctx ends, which is no error.
// Then it accepts nothing more, gives connections the configured grace, ends what is left and returns. It may be called
// once. Liveness: it returns when every goroutine that serves has ended, which services do when their context ends.
func (r *Reflector) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r.fail = func(err error) { fail(partFailed{err}) }
	s, err := r.bind(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stops, err := r.serve(ctx, serving, s)
	if err == nil {
		r.addrs = s.addrs()
		close(r.ready)
		<-ctx.Done()
		err = r.failure(ctx)
	}
	r.shutdown(serving, end, stops, s)
	return err
}

// serve starts what accepts. accepting ends first; serving is what connections live under.
func (r *Reflector) serve(accepting, serving context.Context, s *sockets) (stops []func(context.Context), err error) {
	for _, pc := range s.stamp {
		r.conns.Go(func() { r.servePackets(accepting, pc) })
	}
	for _, l := range s.streams {
		limited := &listener{Listener: l, r: r, stats: &r.streams}
		r.acceptors.Go(func() {
			r.acceptLoop(accepting, limited, func(c net.Conn) { r.conns.Go(func() { r.serveStream(serving, c) }) })
		})
	}
	for _, l := range s.tls {
		stops = append(stops, r.serveTLS(serving, l))
	}
	for _, pc := range s.quic {
		stop, err := r.serveQUIC(serving, pc)
		if err != nil {
			return stops, err
		}
		stops = append(stops, stop)
	}
	for _, server := range s.iperf3 {
		r.conns.Go(func() { r.serveOwn(accepting, server) })
	}
	return stops, nil
}

// serveOwn runs a server that has ports of its own, and ends its clients at once when a shutdown is asked for.
func (r *Reflector) serveOwn(ctx context.Context, server farend.Server) {
	if err := server.Run(ctx); err != nil && ctx.Err() == nil {
		r.fail(fmt.Errorf("serving %s: %w", server.Addr(), err))
	}
}

// servePackets gives a socket to its service, which has no connections to be patient with.
func (r *Reflector) servePackets(ctx context.Context, pc net.PacketConn) {
	stop := context.AfterFunc(ctx, func() { _ = pc.Close() })
	defer stop()
	if err := r.services.packets(ctx, pc); err != nil && ctx.Err() == nil {
		r.fail(fmt.Errorf("serving %s: %w", pc.LocalAddr(), err))
	}
}

// partFailed is the cause of a context that a part of the reflector ended, apart from causes that the caller's has.
type partFailed struct{ error }

// failure is why ctx ended, when a part of the reflector ended it.
func (r *Reflector) failure(ctx context.Context) error {
	if part, ok := errors.AsType[partFailed](context.Cause(ctx)); ok {
		return part.error
	}
	return nil
}

// shutdown stops what accepts, waits for what is served, for as long as the grace lasts, and then ends it.
func (r *Reflector) shutdown(serving context.Context, end func(), stops []func(context.Context), s *sockets) {
	grace, cancel := context.WithTimeout(serving, r.config.Grace)
	defer cancel()
	for _, l := range s.streams {
		_ = l.Close()
	}
	var stopping sync.WaitGroup
	for _, stop := range stops {
		stopping.Go(func() { stop(grace) })
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		stopping.Wait()
		r.acceptors.Wait()
		r.conns.Wait()
	}()
	select {
	case <-served:
	case <-grace.Done():
	}
	end()
	<-served
	for _, c := range r.closers {
		_ = c() // there is nobody left to tell
	}
	r.admitted.Wait()
}

// services is what the kinds answer, by how clients ask for it.
type services struct {
	packets func(context.Context, net.PacketConn) error
	stamp   farend.Service // that packets is of
	streams map[string]func(context.Context, net.Conn) error
	quic    map[string]func(context.Context, *quicgo.Conn) error
	http    map[string]http.Handler
	iperf3  func(context.Context, probes.Network, string) (farend.Server, error)
}

func collect(list []farend.Service) (*services, error) {
	all := &services{
		streams: map[string]func(context.Context, net.Conn) error{},
		quic:    map[string]func(context.Context, *quicgo.Conn) error{},
		http:    map[string]http.Handler{},
	}
	for _, s := range list {
		if s.Packets != nil && all.packets != nil {
			return nil, fmt.Errorf("service %s wants the STAMP port, which another has", s.Name)
		}
		if s.Packets != nil {
			all.packets, all.stamp = s.Packets, s
		}
		if s.Own != nil && s.Name != "iperf3" {
			return nil, fmt.Errorf("service %s wants ports of its own, for which there is no setting", s.Name)
		}
		if s.Own != nil {
			all.iperf3 = s.Own
		}
		for preamble := range s.Streams {
			if len(preamble) != farend.PreambleSize {
				return nil, fmt.Errorf("service %s: preamble %q has not %d bytes", s.Name, preamble, farend.PreambleSize)
			}
		}
		if err := merge(s.Name, all.streams, s.Streams); err != nil {
			return nil, err
		}
		if err := merge(s.Name, all.quic, s.QUIC); err != nil {
			return nil, err
		}
		if err := merge(s.Name, all.http, s.HTTP); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func merge[V any](name string, into, from map[string]V) error {
	for key, value := range from {
		if _, taken := into[key]; taken {
			return fmt.Errorf("service %s wants %q, which another has", name, key)
		}
		into[key] = value
	}
	return nil
}
