package stamp

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// trace writes one line per packet into a CSV file, in the order of sending. Times are nanoseconds since 1970, T1 and T4
// by our clock, T2 and T3 by the far end's; what is not known is empty. Of neighbours lost in different directions it is
// known how many were lost in each, not which.
type trace struct {
	file   *os.File
	buffer *bufio.Writer
	line   []byte
}

const traceHeader = "seq,t1_ns,t2_ns,t3_ns,t4_ns,rtt_ns,far_seq,fate\n"

// openTrace begins a new file, or returns nil when none is wanted.
func openTrace(path string) (*trace, error) {
	if path == "" || strings.HasSuffix(path, captureSuffix) {
		return nil, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	t := &trace{file: file, buffer: bufio.NewWriterSize(file, 1<<16)}
	_, _ = t.buffer.WriteString(traceHeader) // an error stays until close, which tells it
	return t, nil
}

// write takes down a window. An error stays until close, which tells it.
func (t *trace) write(w *window, settled func(r *record) bool) {
	if t == nil {
		return
	}
	for i := range w.records {
		r := &w.records[i]
		b := strconv.AppendUint(t.line[:0], w.first+uint64(i), 10)
		b = strconv.AppendInt(append(b, ','), w.epoch+int64(r.sent), 10)
		if r.fate.has(answered) {
			rtt, _, _ := r.roundTrip()
			for _, v := range [...]int64{r.t2, r.t3, w.epoch + int64(r.received), int64(rtt), int64(r.farSeq)} {
				b = strconv.AppendInt(append(b, ','), v, 10)
			}
		} else {
			b = append(b, ",,,,,"...)
		}
		b = append(append(b, ','), r.fate.text(settled(r))...)
		t.line = append(b, '\n')
		_, _ = t.buffer.Write(t.line)
	}
}

// text is the last column of a trace.
func (f fate) text(lost bool) string {
	switch {
	case f.has(late):
		return "late"
	case f.has(answered):
		return "ok"
	case !lost:
		return "in_flight"
	case f.has(lostUp):
		return "lost_up"
	case f.has(lostDown):
		return "lost_down"
	default:
		return "lost"
	}
}

// close writes what is left and returns the first error that there was.
func (t *trace) close() error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.buffer.Flush(), t.file.Close()); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}
