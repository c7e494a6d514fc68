package throughput

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// serveQUIC serves a far end's QUIC handlers for some ALPN protocols until ctx ends.
func serveQUIC(ctx context.Context, network probes.Network, service farend.Service, protocols ...string) error {
	pc, err := network.ListenPacket(ctx, "udp", ":8443")
	if err != nil {
		return err
	}
	defer pc.Close()
	conf := probetest.ServerTLS()
	conf.NextProtos = protocols
	transport := &quic.Transport{Conn: pc}
	defer transport.Close()
	l, err := transport.Listen(conf, QUICConfig())
	if err != nil {
		return err
	}
	defer l.Close()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		handlers.Go(func() {
			defer c.CloseWithError(0, "")
			_ = service.QUIC[c.ConnectionState().TLS.NegotiatedProtocol](ctx, c) // canceled peers are the normal case
		})
	}
}

func TestSuiteQUIC(t *testing.T) {
	service := FarEnd(slog.New(slog.DiscardHandler))
	for _, protocol := range []string{ALPNLoad, farend.ALPNPerf} {
		for _, direction := range []string{"down", "up", "both"} {
			t.Run(protocol+"/"+direction, func(t *testing.T) {
				probetest.Suite{
					Kind: Kind(),
					Serve: func(ctx context.Context, network probes.Network) error {
						return serveQUIC(ctx, network, service, protocol)
					},
					Config: func(config any) {
						c := config.(*Config)
						c.Transport, c.Direction, c.Streams, c.Connections = "quic", direction, 2, 2
						c.Duration, c.Interval = 100*time.Millisecond, 20*time.Millisecond
					},
				}.Run(t)
			})
		}
	}
}
