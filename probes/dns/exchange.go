package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
)

// mediaType is that of DNS over HTTPS, RFC 8484 section 6.
const mediaType = "application/dns-message"

// overPackets asks over UDP. Packets that are no answer to the question may be anybody's (RFC 5452 section 9.1): they are
// passed over, and become the error when no better one comes.
func overPackets(c net.Conn) func(context.Context, []byte, question) (response, error) {
	answered := map[uint16]bool{}
	return func(ctx context.Context, query []byte, q question) (response, error) {
		defer interrupt(ctx, c)()
		if _, err := c.Write(query); err != nil {
			return response{}, err
		}
		var other error
		for b := make([]byte, maxMessage); ; {
			n, err := c.Read(b)
			if err != nil && other != nil {
				return response{}, other
			}
			if err != nil {
				return response{}, err
			}
			answer, err := q.read(b[:n])
			if err == nil {
				answered[q.id] = true
				return answer, nil
			}
			if n < 2 || !answered[binary.BigEndian.Uint16(b)] { // otherwise it is a copy of an answer before
				other = invalid(err)
			}
		}
	}
}

// overStream asks over TCP or TLS, where each message has its length in front (RFC 1035 section 4.2.2, RFC 7858).
func overStream(c net.Conn) func(context.Context, []byte, question) (response, error) {
	return func(ctx context.Context, query []byte, q question) (response, error) {
		defer interrupt(ctx, c)()
		return exchangeFramed(c, query, q)
	}
}

// overQUICStream asks on a stream of its own, which the query ends (RFC 9250 section 4.2).
func overQUICStream(c *quicgo.Conn) func(context.Context, []byte, question) (response, error) {
	return func(ctx context.Context, query []byte, q question) (response, error) {
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			return response{}, err
		}
		defer interrupt(ctx, s)()
		defer s.CancelRead(0)
		return exchangeFramed(endingStream{s}, query, q)
	}
}

// endingStream ends with what is written to it.
type endingStream struct{ *quicgo.Stream }

// Write implements io.Writer.
func (s endingStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	return n, errors.Join(err, s.Close())
}

func exchangeFramed(c io.ReadWriter, query []byte, q question) (response, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	if _, err := c.Write(framed); err != nil { // in one piece, as some servers want it
		return response{}, err
	}
	message, err := readFramed(c)
	if err != nil {
		return response{}, err
	}
	answer, err := q.read(message)
	if err != nil {
		return response{}, invalid(err)
	}
	return answer, nil
}

func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, message)
	return message, err
}

// overHTTP asks by POST, which no cache of HTTP answers (RFC 8484 section 4.1).
func overHTTP(stack *http.ClientConn, url string) func(context.Context, []byte, question) (response, error) {
	return func(ctx context.Context, query []byte, q question) (response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(query))
		if err != nil {
			return response{}, err
		}
		req.Header.Set("Content-Type", mediaType)
		req.Header.Set("Accept", mediaType)
		req.Header.Set("User-Agent", "nrprobe")
		res, err := stack.RoundTrip(req)
		if err != nil {
			return response{}, err
		}
		defer func() { _ = res.Body.Close() }() // all that is wanted of it has been read
		if got, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); res.StatusCode != http.StatusOK || got != mediaType {
			return response{}, probes.Fail(probes.Invalid, "%s answered with status %d and %q instead of a DNS message: is path right?", url, res.StatusCode, res.Header.Get("Content-Type"))
		}
		message, err := io.ReadAll(io.LimitReader(res.Body, maxMessage))
		if err != nil {
			return response{}, err
		}
		answer, err := q.read(message)
		if err != nil {
			return response{}, invalid(err)
		}
		return answer, nil
	}
}

// interrupt ends reading and writing with ctx. What it returns undoes that.
func interrupt(ctx context.Context, c interface{ SetDeadline(time.Time) error }) (undo func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

func invalid(err error) error {
	return &probes.Failure{Outcome: probes.Invalid, Err: fmt.Errorf("the answer makes no sense: %w", err)}
}
