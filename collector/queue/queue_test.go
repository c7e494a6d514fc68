package queue

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func batch(t testing.TB, lines string) Batch {
	t.Helper()
	packed, err := new(Packer).Pack([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	return Batch{Received: time.Unix(1_700_000_000, 5), Org: "lab", Bucket: "nr/autogen", Token: "van", Points: 2, Body: packed}
}

func TestRecordRoundTrip(t *testing.T) {
	want := batch(t, "a b=1 1\nc d=2 2\n")
	got, err := decode(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	lines, err := got.Lines()
	if err != nil || string(lines) != "a b=1 1\nc d=2 2\n" {
		t.Errorf("got %q, %v", lines, err)
	}
}

func TestDecodeRefusesWhatIsCut(t *testing.T) {
	record := batch(t, "a b=1 1\n").encode()
	header := len(record) - len(batch(t, "a b=1 1\n").Body)
	for n := range header {
		if b, err := decode(record[:n]); err == nil {
			t.Errorf("%d of %d bytes were read as %+v", n, len(record), b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(batch(f, "a b=1 1\n").encode())
	f.Add([]byte{version, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, record []byte) {
		b, err := decode(record)
		if err != nil {
			return
		}
		again, err := decode(b.encode())
		if err != nil || !bytes.Equal(again.Body, b.Body) || again.Org != b.Org || !again.Received.Equal(b.Received) {
			t.Errorf("%+v became %+v, %v", b, again, err)
		}
	})
}

func TestEachReaderHasItsOwnPace(t *testing.T) {
	c := Defaults()
	c.Path = t.TempDir()
	q, err := Open(c, []string{"a", "b"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range []string{"one f=1 1\n", "two f=1 1\n"} {
		if err := q.Append(batch(t, lines)); err != nil {
			t.Fatal(err)
		}
	}
	lease, err := q.Reader("a").Next(t.Context(), 1<<20)
	if err != nil || len(lease.Batches) != 2 {
		t.Fatalf("got %d batches, %v", len(lease.Batches), err)
	}
	if err := lease.Ack(); err != nil {
		t.Fatal(err)
	}
	if a, b := q.Reader("a").Pending(), q.Reader("b").Pending(); a != 0 || b != 2 {
		t.Errorf("pending: a %d, b %d; want 0 and 2", a, b)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}

	// b is not configured any more, c is new.
	q, err = Open(c, []string{"a", "c"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, held := q.Stats().Readers["b"]; held {
		t.Error("the queue still knows the reader that is not configured")
	}
}
