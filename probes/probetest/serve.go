package probetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// Accept serves every connection of a listener in a goroutine of its own, and closes it then. It returns when the listener
// has been closed and all connections have been served.
func Accept(l net.Listener, serve func(net.Conn)) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer c.Close()
			serve(c)
		})
	}
}

// servePlain serves a far end without TLS as the reflector does: Packets on the UDP port, Streams on the TCP port by their
// preamble. It returns when ctx ends and every handler has returned.
func servePlain(ctx context.Context, network probes.Network, service farend.Service, port uint16) error {
	address := ":" + strconv.Itoa(int(port))
	var handlers sync.WaitGroup
	defer handlers.Wait()
	failed := make(chan error, 1)
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
		handlers.Go(func() {
			Accept(l, func(c net.Conn) {
				_ = serveStream(ctx, c, service) // peers that were canceled are the normal case
			})
		})
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		handlers.Wait() // before the sockets close, as the reflector does
		return nil
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
