// Package frame is how nrprobe's own control connections talk: a length of two bytes in network order, then as many bytes
// of JSON, an object in which exactly one message is set.
package frame

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Format is what the frames of one protocol have in common. Its methods may be called concurrently.
type Format struct {
	// Limit is the largest JSON text in bytes, at most 65535.
	Limit int
	// Foreign is the error that tells what is not of the protocol; Read and Append wrap it.
	Foreign error
}

// Read reads one frame, and no byte beyond it, into a struct of pointers, of which exactly one is then set. The error is
// the reader's own when nothing came or too little, and Foreign for anything else.
func (f Format) Read(r io.Reader, message any) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n == 0 || n > f.Limit {
		return fmt.Errorf("%w: a length of %d is not from 1 to %d", f.Foreign, n, f.Limit)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("reading a message of %d bytes: %w", n, err)
	}
	if err := json.Unmarshal(text, message); err != nil {
		return fmt.Errorf("%w: %w", f.Foreign, err)
	}
	if set := pointers(message); set != 1 {
		return fmt.Errorf("%w: %d messages in one frame, want one", f.Foreign, set)
	}
	return nil
}

// pointers counts those that are set in the struct that message points to.
func pointers(message any) (set int) {
	for _, field := range reflect.ValueOf(message).Elem().Fields() {
		if !field.IsNil() {
			set++
		}
	}
	return set
}

// Append appends the frame of a message to dst, so that one Write carries it.
func (f Format) Append(dst []byte, message any) ([]byte, error) {
	text, err := json.Marshal(message)
	if err != nil || len(text) > f.Limit {
		return nil, fmt.Errorf("encoding a message of %d bytes: %w", len(text), errors.Join(err, f.Foreign))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...), nil
}
