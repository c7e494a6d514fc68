package reflector

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"

	"github.com/nrprobe/nrprobe/probes/load"
)

// quicConfig keeps flow control out of what load tests measure: 64 MiB is 1 Gbit/s at 500 ms.
func quicConfig() *quicgo.Config {
	return &quicgo.Config{
		MaxIdleTimeout:                 30 * time.Second,
		InitialStreamReceiveWindow:     1 << 20,
		MaxStreamReceiveWindow:         64 << 20,
		InitialConnectionReceiveWindow: 2 << 20,
		MaxConnectionReceiveWindow:     128 << 20,
		MaxIncomingStreams:             1000,
		MaxIncomingUniStreams:          1000,
		Allow0RTT:                      true,
		EnableDatagrams:                true,
	}
}

// serveQUIC serves HTTP/3 and the services' own protocols on one socket until stop is called.
// Liveness: the accepting goroutine ends with the listener; those of connections are counted by r.conns.
func (r *Reflector) serveQUIC(ctx context.Context, pc net.PacketConn) (stop func(context.Context), err error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails, crypto/rand says
	conf := &tls.Config{
		Certificates: []tls.Certificate{r.cert}, MinVersion: tls.VersionTLS13,
		NextProtos: append([]string{http3.NextProtoH3}, slices.Sorted(maps.Keys(r.services.quic))...),
	}
	conf.SetSessionTicketKeys([][32]byte{key}) // every connection gets a copy of conf: without a key each would draw its own
	resetKey := quicgo.StatelessResetKey(key)
	transport := &quicgo.Transport{
		Conn: load.Gather(pc), StatelessResetKey: &resetKey, Tracer: dropped{r},
		VerifySourceAddress: func(net.Addr) bool { return r.gate.crowded() },
		ConnContext:         r.admitQUIC,
	}
	l, err := transport.ListenEarly(conf, quicConfig())
	if err != nil {
		return nil, fmt.Errorf("serving QUIC on %s: %w", pc.LocalAddr(), err)
	}
	h3 := &http3.Server{Handler: r.handler, MaxHeaderBytes: 16 << 10, IdleTimeout: time.Minute, EnableDatagrams: true}
	r.acceptors.Go(func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				if !errors.Is(err, quicgo.ErrServerClosed) && ctx.Err() == nil {
					r.fail(err)
				}
				return
			}
			r.quic.accepted.Add(1)
			r.conns.Go(func() { r.serveQUICConn(ctx, c, h3) })
		}
	})
	r.closers = append(r.closers, transport.Close)
	return func(grace context.Context) {
		_ = l.Close()          // no more connections; those that are open go on
		_ = h3.Shutdown(grace) // says goodbye on each, and gives up with grace
	}, nil
}

// admitQUIC asks the gate before the handshake begins. The place is free again when the connection has ended.
func (r *Reflector) admitQUIC(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	leave, ok := r.gate.enter(info.RemoteAddr)
	if !ok {
		r.quic.busy.Add(1)
		return nil, errors.New("too many connections")
	}
	r.admitted.Add(1)
	context.AfterFunc(ctx, func() {
		leave()
		r.admitted.Done()
	})
	return ctx, nil
}

// serveQUICConn hands one connection to the service of its ALPN protocol and holds it to its limits.
func (r *Reflector) serveQUICConn(ctx context.Context, c *quicgo.Conn, h3 *http3.Server) {
	connCtx, cancel := context.WithTimeout(ctx, r.config.Limits.Duration)
	defer cancel()
	stop := context.AfterFunc(connCtx, func() { _ = c.CloseWithError(0, "") })
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watchBytes(connCtx, c)
	}()
	protocol := c.ConnectionState().TLS.NegotiatedProtocol
	var err error
	if serve, ok := r.services.quic[protocol]; ok {
		err = serve(connCtx, c)
	} else {
		err = h3.ServeQUICConn(c)
	}
	if err != nil && connCtx.Err() == nil && !gone(err) {
		r.quic.failed.Add(1)
		r.log.Debug("serving a QUIC connection", "protocol", protocol, "client", c.RemoteAddr().String(), "error", err)
	}
	cancel()
	_ = c.CloseWithError(0, "")
	<-watched
}

// gone says that the peer ended the connection, by a word or by silence, which is how connections end.
func gone(err error) bool {
	closed, ok := errors.AsType[*quicgo.ApplicationError](err)
	_, idle := errors.AsType[*quicgo.IdleTimeoutError](err)
	return idle || ok && closed.Remote && closed.ErrorCode == 0
}

// watchBytes ends a connection that has carried more than it may, up to a second late.
func (r *Reflector) watchBytes(ctx context.Context, c *quicgo.Conn) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.Context().Done():
			return
		case <-ticker.C:
			if s := c.ConnectionStats(); s.BytesSent+s.BytesReceived > uint64(r.config.Limits.Bytes) {
				_ = c.CloseWithError(0, errUsedUp.Error())
				return
			}
		}
	}
}

// dropped counts packets that belong to no connection and begin none.
type dropped struct{ r *Reflector }

// RecordEvent implements qlogwriter.Recorder.
func (d dropped) RecordEvent(e qlogwriter.Event) {
	if _, ok := e.(qlog.PacketDropped); ok {
		d.r.quic.garbage.Add(1)
	}
}

// Close implements qlogwriter.Recorder.
func (d dropped) Close() error { return nil }
