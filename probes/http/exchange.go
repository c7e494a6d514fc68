package http

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// answer is what came back to one request.
type answer struct {
	status   int
	location *url.URL // where a redirect leads; nil when it is none
	reusable bool     // the connection can carry another request
}

// exchange sends one request and reads its answer, as much as is wanted of it.
func (m *run) exchange(ctx context.Context, c *connection, u *url.URL) (answer, error) {
	first := make(chan time.Time, 1) // the HTTP stack may tell of it when the request has failed already
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() {
		select {
		case first <- time.Now():
		default:
		}
	}})
	req, err := http.NewRequestWithContext(traced, m.config.Method, u.String(), nil)
	if err != nil {
		return answer{}, probes.Fail(probes.Invalid, "request to %s: %w", u.Redacted(), err)
	}
	req.Header.Set("User-Agent", "nrprobe")
	req.Header.Set("Accept", "*/*")
	start := time.Now()
	res, err := c.roundTrip(req)
	if err != nil {
		return answer{}, c.server.Explain(ctx, "request to "+c.server.Target.Address(), err)
	}
	defer func() { _ = res.Body.Close() }() // all that is wanted of it has been read
	begun := time.Now()
	select {
	case begun = <-first:
	default:
	}
	m.r.ObserveDuration(probes.FirstByteTime, probes.Both, begun.Sub(start))
	m.r.Note("status", strconv.Itoa(res.StatusCode))
	m.r.Note("protocol", res.Proto)
	whole, err := m.transfer(ctx, c, res.Body, begun)
	return answer{status: res.StatusCode, location: redirect(res), reusable: whole && !res.Close}, err
}

// transfer reads the body, and says whether that was all of it.
func (m *run) transfer(ctx context.Context, c *connection, body io.Reader, begun time.Time) (whole bool, err error) {
	limit := int64(m.config.MaxBody)
	n, err := io.Copy(io.Discard, io.LimitReader(body, limit))
	m.r.Add(probes.Transferred, probes.Down, float64(n))
	if err != nil {
		return false, c.server.Explain(ctx, "reading the answer of "+c.server.Target.Address(), err)
	}
	m.r.ObserveDuration(probes.TransferTime, probes.Both, time.Since(begun))
	if n < limit {
		return true, nil
	}
	if n, _ := body.Read(make([]byte, 1)); n == 0 {
		return true, nil // it had just that size
	}
	m.r.Note("body_cut", "true")
	return false, nil
}

// redirect is where an answer leads, if it does (RFC 9110 section 15.4).
func redirect(res *http.Response) *url.URL {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	u, err := res.Location()
	if err != nil {
		return nil // it leads nowhere, so that it is the answer itself
	}
	return u
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}
