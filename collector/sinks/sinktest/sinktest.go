// Package sinktest is the contract of sinks.Sink as tests. Every kind of sink passes it.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/collector/sinks"
)

// Point is one stored point of the measurement "load" with the tag "host" and the field "value".
type Point struct {
	Host  string
	Value float64
	Time  time.Time
}

// Suite is what the contract needs to know of a kind.
type Suite struct {
	// New makes a fresh, empty sink and a function that reads back what it has stored, in any order. What is opened is
	// closed when the test ends.
	New func(t *testing.T) (sinks.Sink, func(t *testing.T) []Point)
	// Bad is a line that the sink will never take, without line feed; the store behind it has the others.
	Bad string
}

// Run holds the sink to its contract.
func (s Suite) Run(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	one, two := Point{"a", 1, at(-20)}, Point{"b", 2.5, at(-10)}

	t.Run("stores every batch at its own time", func(t *testing.T) {
		sink, stored := s.New(t)
		write(t, sink, Batch(t, line(one)), Batch(t, line(two)))
		same(t, stored(t), one, two)
	})
	t.Run("stores what comes late", func(t *testing.T) {
		sink, stored := s.New(t)
		write(t, sink, Batch(t, line(one)))
		late := Point{"a", 7, at(-1800)}
		write(t, sink, Batch(t, line(late)))
		same(t, stored(t), one, late)
	})
	t.Run("takes the same again without harm", func(t *testing.T) {
		sink, stored := s.New(t)
		for range 3 {
			write(t, sink, Batch(t, line(one), line(two)))
		}
		same(t, stored(t), one, two)
	})
	t.Run("rejects a bad point and stores its neighbours", func(t *testing.T) {
		sink, stored := s.New(t)
		err := sink.Write(t.Context(), []queue.Batch{Batch(t, line(one), s.Bad, line(two))})
		rejected, ok := errors.AsType[*sinks.Rejected](err)
		if !ok || rejected.Points != 1 || rejected.Err == nil {
			t.Errorf("got %v, want one point rejected with the reason", err)
		}
		same(t, stored(t), one, two)
	})
	t.Run("rejects a batch that cannot be read and stores its neighbours", func(t *testing.T) {
		sink, stored := s.New(t)
		broken := Batch(t, line(one), line(one))
		broken.Body = []byte("no gzip")
		err := sink.Write(t.Context(), []queue.Batch{Batch(t, line(one)), broken, Batch(t, line(two))})
		rejected, ok := errors.AsType[*sinks.Rejected](err)
		if !ok || rejected.Points != 2 {
			t.Errorf("got %v, want its two points rejected", err)
		}
		same(t, stored(t), one, two)
	})
	t.Run("ends with its context and asks to be called again", func(t *testing.T) {
		sink, _ := s.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := sink.Write(ctx, []queue.Batch{Batch(t, line(one))})
		if _, rejected := errors.AsType[*sinks.Rejected](err); err == nil || rejected {
			t.Errorf("got %v, want an error that is no rejection", err)
		}
	})
	t.Run("may be closed twice", func(t *testing.T) {
		sink, _ := s.New(t)
		write(t, sink, Batch(t, line(one)))
		for range 2 {
			if err := sink.Close(t.Context()); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
	})
}

// Batch makes a batch of lines for the bucket "nr" of the organisation "lab".
func Batch(t testing.TB, lines ...string) queue.Batch {
	t.Helper()
	body, err := new(queue.Packer).Pack([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return queue.Batch{Received: time.Now(), Org: "lab", Bucket: "nr", Points: len(lines), Body: body}
}

func line(p Point) string {
	return fmt.Sprintf("load,host=%s value=%g %d", p.Host, p.Value, p.Time.UnixNano())
}

func write(t *testing.T, sink sinks.Sink, batches ...queue.Batch) {
	t.Helper()
	if err := sink.Write(t.Context(), batches); err != nil {
		t.Errorf("writing: %v", err)
	}
}

func same(t *testing.T, got []Point, want ...Point) {
	t.Helper()
	text := func(points []Point) string {
		lines := make([]string, len(points))
		for i, p := range points {
			lines[i] = line(p)
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	if g, w := text(got), text(want); g != w {
		t.Errorf("stored:\n%s\nwant:\n%s", g, w)
	}
}
