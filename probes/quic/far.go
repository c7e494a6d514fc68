package quic

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes/farend"
)

const (
	// maxStreams is how many streams of one connection are echoed at once; the others wait.
	maxStreams = 16
	// maxStreamBytes and maxStreamTime end an echo: a probe sends a few bytes and closes.
	maxStreamBytes = 1 << 20
	maxStreamTime  = 30 * time.Second
)

// FarEnd sends every datagram, and the bytes of every stream, back as they came.
func FarEnd(log *slog.Logger) farend.Service {
	return farend.Service{
		Name: "quic",
		QUIC: map[string]func(context.Context, *quicgo.Conn) error{
			farend.ALPNEcho: func(ctx context.Context, c *quicgo.Conn) error {
				echo(ctx, c)
				log.Debug("quic echo", "client", c.RemoteAddr().String(), "used_0rtt", c.ConnectionState().Used0RTT)
				return nil
			},
		},
	}
}

// echo returns when the connection or ctx has ended, which is how every session ends.
// Liveness: both goroutines, and those of the streams, end with the context that ends when either of them does.
func echo(ctx context.Context, c *quicgo.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		echoDatagrams(ctx, c)
	})
	wg.Go(func() {
		defer cancel()
		echoStreams(ctx, c)
	})
	wg.Wait()
}

func echoDatagrams(ctx context.Context, c *quicgo.Conn) {
	for {
		payload, err := c.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		if c.SendDatagram(payload) != nil && c.Context().Err() != nil {
			return // one that is too large for the way back is lost, as it would be anywhere
		}
	}
}

func echoStreams(ctx context.Context, c *quicgo.Conn) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, maxStreams)
	for {
		s, err := c.AcceptStream(ctx)
		if err != nil {
			return
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
			defer stop()
			_ = s.SetDeadline(time.Now().Add(maxStreamTime))
			if _, err := io.Copy(s, io.LimitReader(s, maxStreamBytes)); err != nil {
				s.CancelWrite(0)
			}
			s.CancelRead(0)
			_ = s.Close() // the peer learns of it, or has gone
		})
	}
}
