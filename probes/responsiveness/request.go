package responsiveness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// ask sends one request on a link. The body of the response is the caller's to close. Redirects are errors, as the draft
// demands: what they lead to would be another path.
func ask(ctx context.Context, l *link, method string, u *url.URL, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", u, err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "nrprobe")
	response, err := l.RoundTrip(request)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("asking for %s: %w", u, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	_ = response.Body.Close() // the status says enough
	outcome := probes.Refused
	switch {
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		outcome = probes.Busy
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		outcome = probes.Auth
	case response.StatusCode < 400:
		outcome = probes.Invalid
	}
	return nil, probes.Fail(outcome, "%s answers with %s", u, response.Status)
}

// fetch asks for a resource and returns what it holds, at most limit bytes.
func fetch(ctx context.Context, l *link, u *url.URL, limit int64) ([]byte, error) {
	response, err := ask(ctx, l, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("reading %s: %w", u, err)
	}
	if int64(len(text)) > limit {
		return nil, probes.Fail(probes.Invalid, "%s has more than %d bytes", u, limit)
	}
	return text, nil
}

// download counts what comes of a response without end, until ctx ends.
func download(ctx context.Context, l *link, u *url.URL, received *load.Counter) error {
	response, err := ask(ctx, l, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	err = load.Drain(response.Body, make([]byte, 64<<10), received)
	_ = response.Body.Close() // ends the stream
	if err == nil && ctx.Err() == nil {
		err = errors.New("it has ended")
	}
	if err != nil {
		return fmt.Errorf("downloading %s: %w", u, err)
	}
	return nil
}

// upload sends without end, until ctx does, and counts what the connection takes.
func upload(ctx context.Context, l *link, u *url.URL, body *endless) error {
	body.ctx = ctx
	response, err := ask(ctx, l, http.MethodPost, u, body)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if ctx.Err() == nil {
		return probes.Fail(probes.Error, "uploading to %s: the server ended it", u)
	}
	return nil
}

// endless is a request's body without end.
type endless struct {
	ctx   context.Context
	block []byte
	sent  *load.Counter
	at    int
}

// Read implements io.Reader.
func (e *endless) Read(b []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	n := copy(b, e.block[e.at:])
	e.at = (e.at + n) % len(e.block)
	e.sent.Add(int64(n))
	return n, nil
}
