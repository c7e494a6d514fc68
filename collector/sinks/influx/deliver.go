package influx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/collector/sinks"
)

// maxRequests bounds how many requests the search for refused lines in one batch may take: enough to find some hundred
// bad lines among ten thousand one by one, few enough to end when a store refuses everything.
const maxRequests = 2000

// body is line protocol, with its compressed form where that is at hand.
type body struct {
	lines  []byte
	packed []byte
}

// delivery brings one body to one destination and collects what is refused on the way.
type delivery struct {
	sink     *sink
	to       destination
	budget   int
	rejected *sinks.Rejections
}

// deliver returns nil when every line is either stored or counted as rejected. A body that the store refuses is halved
// until the lines that are to blame stand alone: some stores name none, some drop the good lines with the bad. Writing a
// point again changes nothing in these stores, so halves may be sent freely.
func (d *delivery) deliver(ctx context.Context, b body) error {
	if d.budget--; d.budget < 0 {
		d.rejected.Add(bytes.Count(b.lines, []byte("\n")), errTooManyRefused)
		return nil
	}
	answer, err := d.post(ctx, b)
	if err != nil {
		return err
	}
	switch {
	case answer.status >= 200 && answer.status < 300:
		return nil
	case answer.status == http.StatusBadRequest, answer.status == http.StatusUnprocessableEntity, answer.status == http.StatusRequestEntityTooLarge:
		first, second := halve(b.lines)
		if len(second) == 0 {
			d.rejected.Add(1, fmt.Errorf("%s: %s", answer, preview(b.lines)))
			return nil
		}
		if err := d.deliver(ctx, body{lines: first}); err != nil {
			return err
		}
		return d.deliver(ctx, body{lines: second})
	default:
		return &sinks.Retry{After: answer.retryAfter, Err: fmt.Errorf("writing to %s: %s", d.sink.base.Redacted(), answer)}
	}
}

// answer is what the store said.
type answer struct {
	status     int
	message    string
	retryAfter time.Duration
}

// String is for logs: "HTTP 422: field type conflict".
func (a answer) String() string {
	if a.message == "" {
		return fmt.Sprintf("HTTP %d %s", a.status, http.StatusText(a.status))
	}
	return fmt.Sprintf("HTTP %d: %s", a.status, a.message)
}

func (d *delivery) post(ctx context.Context, b body) (answer, error) {
	packed := b.packed
	if packed == nil {
		var err error
		if packed, err = d.sink.packer.Pack(b.lines); err != nil {
			return answer{}, fmt.Errorf("compressing: %w", err)
		}
	}
	token, err := d.sink.token()
	if err != nil {
		return answer{}, &sinks.Retry{Err: err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.sink.address(d.to), bytes.NewReader(packed))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("User-Agent", "nrprobe-collector")
	if token != "" {
		request.Header.Set("Authorization", "Token "+token)
	}
	response, err := d.sink.client.Do(request)
	if err != nil {
		return answer{}, &sinks.Retry{Err: err}
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // lets the connection be used again
	return answer{status: response.StatusCode, message: message(text), retryAfter: retryAfter(response.Header)}, nil
}

// message takes the sentence out of an error body: {"message":…} of InfluxDB 2, {"error":…} of 1.x, or the text itself.
func message(text []byte) string {
	var said struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(text, &said) == nil && said.Message+said.Error != "" {
		return strings.TrimSpace(said.Message + said.Error)
	}
	return preview(text)
}

// preview shortens foreign text for a log line.
func preview(text []byte) string {
	s := strings.TrimSpace(strings.ToValidUTF8(string(text[:min(len(text), 300)]), "?"))
	if len(text) > 300 {
		s += "…"
	}
	return s
}

// retryAfter reads the header in its form in seconds. The form with a date needs a clock that agrees, and no store uses it.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, time.Hour)
}

// halve cuts at the line break that is nearest to the middle. second is empty when there is one line only. A line break
// inside a quoted string may be taken for an end of line; ingest lets none pass.
func halve(lines []byte) (first, second []byte) {
	middle := len(lines) / 2
	if end := bytes.LastIndexByte(lines[:middle], '\n'); end >= 0 {
		return lines[:end+1], lines[end+1:]
	}
	if end := bytes.IndexByte(lines[middle:], '\n'); end >= 0 {
		return lines[:middle+end+1], lines[middle+end+1:]
	}
	return lines, nil
}
