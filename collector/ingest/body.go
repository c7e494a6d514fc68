package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nrprobe/nrprobe/collector/access"
	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// body is what a request brought: line protocol, and its gzip form where that is how it came.
type body struct {
	lines  []byte
	packed []byte
}

// read reads and unpacks the body within the limits.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (b body, f *Failure) {
	limited := http.MaxBytesReader(w, r.Body, int64(h.limits.MaxBody))
	var err error
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		b.lines, err = io.ReadAll(limited)
	case "gzip":
		var raw bytes.Buffer
		b.lines, err = unpack(io.TeeReader(limited, &raw), int64(h.limits.MaxUnpacked))
		b.packed = raw.Bytes()
	default:
		return b, &Failure{http.StatusUnsupportedMediaType, "invalid", fmt.Sprintf("content encoding %q is unknown: want gzip or none", encoding), 0}
	}
	_, long := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return b, nil
	case long:
		return b, tooLarge("the body has more than %s: send fewer lines at once", h.limits.MaxBody)
	case errors.Is(err, errUnpacked):
		return b, tooLarge("the body has more than %s once unpacked: send fewer lines at once", h.limits.MaxUnpacked)
	default:
		return b, &Failure{http.StatusBadRequest, "invalid", "reading body: " + err.Error(), 0}
	}
}

var errUnpacked = errors.New("the unpacked body is too large")

func unpack(r io.Reader, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	lines, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(lines)) > limit {
		return nil, errUnpacked
	}
	return lines, nil
}

// destination is where a request wants its lines, and how they are to be read.
type destination struct {
	queue.Batch
	grant     access.Grant
	precision wire.Precision
	packer    *queue.Packer
}

// batch makes what goes into the queue: the body as it came where it is fit to be forwarded to any store, which is the
// rule for agents, and otherwise its good and new parts written anew.
func (to destination) batch(b body, read wire.Batch, fresh []*probes.Result) (*queue.Batch, error) {
	if len(fresh)+len(read.Foreign) == 0 {
		return nil, nil
	}
	out := to.Batch
	whole := read.Bad == 0 && read.Duplicates == 0 && len(fresh) == len(read.Results)
	if !whole || !to.forwardable(b.lines, read) {
		b = body{lines: rewrite(read, fresh)}
	}
	out.Points = bytes.Count(b.lines, []byte("\n"))
	out.Body = b.packed
	if out.Body == nil {
		var err error
		if out.Body, err = to.packer.Pack(b.lines); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// forwardable says whether the lines mean the same to every store at any later time: stamps in nanoseconds on all of
// them, and no line feed but at the end of each.
func (to destination) forwardable(lines []byte, read wire.Batch) bool {
	if to.precision != wire.Nanosecond || !bytes.HasSuffix(lines, []byte("\n")) {
		return false
	}
	for _, r := range read.Results {
		if r.Start.Equal(to.Received) || strings.Contains(r.Error, "\n") {
			return false // what has no stamp was given the time of arrival
		}
	}
	for _, p := range read.Foreign {
		if p.Time.Equal(to.Received) {
			return false
		}
		for _, f := range p.Fields {
			if text, ok := f.Value.(string); ok && strings.Contains(text, "\n") {
				return false
			}
		}
	}
	return true
}

// rewrite writes what was read as line protocol in nanoseconds.
func rewrite(read wire.Batch, fresh []*probes.Result) []byte {
	var lines []byte
	for _, r := range fresh {
		lines = wire.Append(lines, r)
	}
	var enc lineprotocol.Encoder
	for _, p := range read.Foreign {
		before := len(lines)
		enc.SetBuffer(lines)
		enc.SetLax(true) // order of tags and characters are as another program had them, and were readable
		enc.StartLine(p.Measurement)
		for _, t := range p.Tags {
			enc.AddTag(t.Key, t.Value)
		}
		for _, f := range p.Fields {
			if v, ok := lineprotocol.NewValue(f.Value); ok {
				enc.AddField(f.Key, v)
			}
		}
		enc.EndLine(p.Time)
		if enc.Err() != nil { // it was readable, so it is writable; what is not must not spoil its neighbours
			lines = lines[:before]
			enc.ClearErr()
			continue
		}
		lines = enc.Bytes()
		if !bytes.HasSuffix(lines, []byte("\n")) {
			lines = append(lines, '\n')
		}
	}
	return lines
}
