package reflector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// ownServer is a server with a port of its own.
type ownServer struct {
	net.Listener
	fails       error
	ran, closed chan struct{}
	once        sync.Once
}

func (s *ownServer) Run(ctx context.Context) error {
	close(s.ran)
	if s.fails == nil {
		<-ctx.Done()
	}
	return errors.Join(s.fails, s.Close())
}

func (s *ownServer) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

// own is a service that opens the server.
func (s *ownServer) own() farend.Service {
	s.ran, s.closed = make(chan struct{}), make(chan struct{})
	return farend.Service{Name: "iperf3", Own: func(ctx context.Context, network probes.Network, address string) (_ farend.Server, err error) {
		if s.Listener, err = network.Listen(ctx, "tcp", address); err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// onlyOwn is a configuration that opens nothing but the port of such a server.
func onlyOwn() Config {
	c := Defaults()
	c.STAMP, c.Streams, c.TLS, c.QUIC = STAMP{}, Listen{}, Listen{}, Listen{}
	c.Iperf3.Addresses = []string{"127.0.0.1:0"}
	return c
}

func TestServerWithPortsOfItsOwn(t *testing.T) {
	s := &ownServer{}
	r, err := New(onlyOwn(), realNetwork(t), slog.New(slog.DiscardHandler), s.own())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-s.ran
	if got := r.Addrs().Iperf3; len(got) != 1 || got[0].String() != s.Addr().String() {
		t.Errorf("it says that it listens on %v, want %v", got, s.Addr())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-s.closed
}

// TestServerOfItsOwnThatFails ends the reflector, which says why.
func TestServerOfItsOwnThatFails(t *testing.T) {
	s := &ownServer{fails: errors.New("out of luck")}
	r, err := New(onlyOwn(), realNetwork(t), slog.New(slog.DiscardHandler), s.own())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "serving 127.0.0.1:") || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("%v", err)
	}
}

// TestServerOfItsOwnIsClosedWhenAnotherPortFails, and is not opened where nobody asks for it.
func TestServerOfItsOwnIsClosedWhenAnotherPortFails(t *testing.T) {
	s := &ownServer{}
	c := onlyOwn()
	c.Streams.Addresses = []string{"192.0.2.1:8620"}
	r, err := New(c, realNetwork(t), slog.New(slog.DiscardHandler), s.own())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "for streams") {
		t.Errorf("%v", err)
	}
	<-s.closed
	if c := Defaults(); len(c.Iperf3.Addresses) > 0 {
		t.Errorf("it is open by default, on %v", c.Iperf3.Addresses)
	}
}
