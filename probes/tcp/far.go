package tcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes/farend"
)

const (
	// maxIdle is longer than the longest interval between echoes that makes sense on one connection.
	maxIdle = 5 * time.Minute
	// maxWrite ends a connection whose client sends and does not read.
	maxWrite = 30 * time.Second
	// maxEcho is what one connection may have echoed: 100,000 echoes of the usual size. Load tests are not done here.
	maxEcho = 64 << 20
)

// FarEnd echoes every byte on the plain TCP port.
func FarEnd(log *slog.Logger) farend.Service {
	return farend.Service{
		Name: "tcp",
		Streams: map[string]func(context.Context, net.Conn) error{
			farend.PreambleEcho: func(ctx context.Context, c net.Conn) error {
				err := echo(ctx, c)
				if err != nil {
					log.Debug("tcp echo", "client", c.RemoteAddr().String(), "error", err)
				}
				return err
			},
		},
	}
}

// echo sends back what comes until the client is done, too quiet, too slow or too greedy.
func echo(ctx context.Context, c net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	b := make([]byte, 16<<10)
	for total := 0; total < maxEcho; {
		_ = c.SetReadDeadline(time.Now().Add(maxIdle))
		n, err := c.Read(b)
		if n > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(maxWrite))
			if _, writeErr := c.Write(b[:n]); writeErr != nil {
				return ended(ctx, writeErr)
			}
		}
		total += n
		if err != nil {
			return ended(ctx, err)
		}
	}
	return errors.New("the connection has had all the echoes that one may have")
}

// ended leaves out the ways in which connections normally end.
func ended(ctx context.Context, err error) error {
	for _, normal := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, normal) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
