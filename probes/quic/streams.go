package quic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

var (
	errUnended = errors.New("the stream goes on behind the echo")
	errOther   = errors.New("the echo is not what was sent")
)

// streams asks for an echo on a stream in the middle between any two datagrams, so that neither is in the other's way,
// and takes down those that come back. Each has a stream of its own: one that is sent again holds no other up.
// Liveness: one goroutine for each echo under way; each ends with its deadline, with ctx or with the connection, and
// streams returns when all have.
func (m *run) streams(ctx context.Context, c *quicgo.Conn, start time.Time) {
	var sent int
	var received atomic.Int64
	var wg sync.WaitGroup
	for i := range m.config.Count {
		when := start.Add(time.Duration(i)*m.config.Interval + m.config.Interval/2)
		if waitUntil(ctx, c, when) != nil {
			break // what ended the run is told by the datagrams
		}
		sent++
		wg.Go(func() {
			took, err := m.streamEcho(ctx, c, uint64(i))
			if err != nil {
				m.env.Log.Debug("no echo on a stream", "target", m.target.Address(), "error", err)
				return
			}
			received.Add(1)
			m.r.ObserveDuration(probes.StreamRTT, probes.Both, took)
		})
	}
	wg.Wait()
	m.r.Note("stream_echoes", fmt.Sprintf("%d of %d", received.Load(), sent))
}

// streamEcho opens a stream, sends some bytes and the end of the stream in one piece, and waits for them to be back.
func (m *run) streamEcho(ctx context.Context, c *quicgo.Conn, number uint64) (took time.Duration, err error) {
	s, err := c.OpenStream() // does not wait: a far end that allows for no more streams now has not answered the last ones
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, m.config.DatagramTimeout)
	defer cancel()
	defer context.AfterFunc(limited, func() { _ = s.SetDeadline(time.Unix(1, 0)) })()
	request := make([]byte, m.config.Size)
	binary.BigEndian.PutUint64(request, number)
	start := time.Now()
	_, err = s.Write(request)
	if err = errors.Join(err, s.Close()); err != nil {
		s.CancelWrite(0)
		s.CancelRead(0)
		return 0, err
	}
	reply := make([]byte, len(request))
	_, err = io.ReadFull(s, reply)
	took = time.Since(start)
	if err == nil {
		_, err = s.Read(make([]byte, 1)) // its end, or this end would have to ask for nothing more, in a packet of its own
	}
	if err == nil {
		err = errUnended
	}
	switch {
	case !errors.Is(err, io.EOF):
		s.CancelRead(0)
		return 0, err
	case !bytes.Equal(reply, request):
		return 0, errOther
	}
	return took, nil
}
