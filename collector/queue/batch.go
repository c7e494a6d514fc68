package queue

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Batch is what one accepted write request held. It is immutable.
type Batch struct {
	// Received is when the collector had read it.
	Received time.Time
	// Org and Bucket are where the client wanted it; either may be empty.
	Org, Bucket string
	// Token is the name of the token that it came with; empty where none is asked for.
	Token string
	// Points is the number of lines.
	Points int
	// Body is line protocol, compressed with gzip: every line has a time stamp in nanoseconds and ends with a line feed,
	// and none has a line feed inside.
	Body []byte
}

// MaxLines is the largest body in bytes that Lines unpacks. Ingest accepts none that is larger.
const MaxLines = 256 << 20

// Lines unpacks the body. The caller may keep and change what it gets.
func (b Batch) Lines() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b.Body))
	if err != nil {
		return nil, fmt.Errorf("unpacking batch: %w", err)
	}
	lines, err := io.ReadAll(io.LimitReader(r, MaxLines+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking batch: %w", err)
	}
	if len(lines) > MaxLines {
		return nil, fmt.Errorf("unpacking batch: more than %d bytes", MaxLines)
	}
	return lines, nil
}

// Packer compresses line protocol for Batches. A compressor has a megabyte of tables, so they are kept for the next
// batch. The zero value is ready, and safe for concurrent use.
type Packer struct{ writers sync.Pool }

// Pack compresses, fast rather than small: what it makes is read again within seconds.
func (p *Packer) Pack(lines []byte) ([]byte, error) {
	var out bytes.Buffer
	w, ok := p.writers.Get().(*gzip.Writer)
	if !ok {
		var err error
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, err
		}
	}
	defer p.writers.Put(w)
	w.Reset(&out)
	if _, err := w.Write(lines); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// version is the first byte of a record:
//
//	version, received (varint, ns since 1970), points (uvarint), org, bucket, token (each uvarint length and bytes), body
const version = 1

// encode writes the record of a batch.
func (b Batch) encode() []byte {
	r := make([]byte, 0, 48+len(b.Org)+len(b.Bucket)+len(b.Token)+len(b.Body))
	r = append(r, version)
	r = binary.AppendVarint(r, b.Received.UnixNano())
	r = binary.AppendUvarint(r, uint64(b.Points))
	for _, text := range []string{b.Org, b.Bucket, b.Token} {
		r = binary.AppendUvarint(r, uint64(len(text)))
		r = append(r, text...)
	}
	return append(r, b.Body...)
}

var errRecord = errors.New("not a record of this queue")

// decode reads what encode wrote. The body shares memory with the record.
func decode(record []byte) (Batch, error) {
	if len(record) == 0 || record[0] != version {
		return Batch{}, errRecord
	}
	rest := record[1:]
	received, n := binary.Varint(rest)
	if n <= 0 {
		return Batch{}, errRecord
	}
	rest = rest[n:]
	points, n := binary.Uvarint(rest)
	if n <= 0 || points > MaxLines {
		return Batch{}, errRecord
	}
	rest = rest[n:]
	var texts [3]string
	for i := range texts {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return Batch{}, errRecord
		}
		texts[i] = string(rest[n : n+int(size)])
		rest = rest[n+int(size):]
	}
	return Batch{
		Received: time.Unix(0, received), Points: int(points),
		Org: texts[0], Bucket: texts[1], Token: texts[2], Body: rest,
	}, nil
}
