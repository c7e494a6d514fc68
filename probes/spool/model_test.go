package spool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is a spool as simple as can be: a list, and a position and a lease for each reader.
type model struct {
	records []string
	cursor  [2]int
	leased  [2]int // records out; 0 for no lease
}

// TestModel does at random what users do, restarts included, and compares with the model after each step.
func TestModel(t *testing.T) {
	both(t, func(t *testing.T, c Config) {
		for seed := range uint64(8) {
			c := c
			if c.Dir != "" {
				c.Dir = t.TempDir()
			}
			c.SegmentBytes, c.MaxBytes, c.Sync = 500, 1<<30, SyncNever
			runModel(t, c, rand.New(rand.NewPCG(seed, 1)))
		}
	})
}

func runModel(t *testing.T, c Config, rng *rand.Rand) {
	t.Helper()
	var m model
	var out [2]Lease
	names := []string{"a", "b"}
	s := open(t, c)
	for _, name := range names {
		s.Reader(name)
	}
	for step := range 400 {
		i := rng.IntN(2)
		r := s.Reader(names[i])
		switch op := rng.IntN(10); {
		case op < 4:
			record := fmt.Sprintf("%d-%s", step, strings.Repeat("m", rng.IntN(150)))
			add(t, s, record)
			m.records = append(m.records, record)
		case op < 7 && m.leased[i] == 0 && m.cursor[i] < len(m.records):
			out[i] = m.lease(t, r, i, rng)
		case op < 8 && m.leased[i] > 0:
			if err := out[i].Ack(); err != nil {
				t.Fatal(err)
			}
			m.cursor[i] += m.leased[i]
			m.leased[i] = 0
		case op == 8 && m.leased[i] > 0:
			out[i].Release()
			m.leased[i] = 0
		case op == 9 && c.Dir != "" && rng.IntN(5) == 0:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, c)
			m.leased = [2]int{}
		}
		stats := s.Stats()
		for i, name := range names {
			if got := stats.Readers[name]; got.Pending != uint64(len(m.records)-m.cursor[i]) || (got.Pending == 0) != (got.PendingBytes == 0) {
				t.Fatalf("step %d: reader %s has %+v, want %d pending", step, name, got, len(m.records)-m.cursor[i])
			}
		}
	}
	for i, name := range names {
		if m.leased[i] > 0 {
			out[i].Release()
		}
		if got := drain(t, s.Reader(name)); !slices.Equal(got, m.records[m.cursor[i]:]) {
			t.Fatalf("reader %s got %q\nwant %q", name, got, m.records[m.cursor[i]:])
		}
	}
	if stats := s.Stats(); stats.Corrupt != 0 || stats.Evicted != 0 || stats.TornBytes != 0 || stats.Segments > 1 {
		t.Fatalf("%+v", stats)
	}
}

// lease takes a lease of random size and compares it.
func (m *model) lease(t *testing.T, r *Reader, i int, rng *rand.Rand) Lease {
	t.Helper()
	maxBytes, maxRecords := rng.IntN(400), rng.IntN(4)
	l, err := r.NextUpTo(t.Context(), maxBytes, maxRecords)
	if err != nil {
		t.Fatal(err)
	}
	got := texts(l)
	if rest := m.records[m.cursor[i]:]; len(got) > len(rest) || !slices.Equal(got, rest[:len(got)]) {
		t.Fatalf("leased %q, want the beginning of %q", got, rest)
	}
	if n := len(strings.Join(got, "")); len(got) > 1 && n > maxBytes || maxRecords > 0 && len(got) > maxRecords {
		t.Fatalf("leased %d records of %d bytes, want at most %d of %d", len(got), n, maxRecords, maxBytes)
	}
	m.leased[i] = len(got)
	return l
}

// TestModelWithEviction lets the bounds drop at random: nothing is delivered twice without a release, nothing out of
// order, and every record is delivered or counted.
func TestModelWithEviction(t *testing.T) {
	both(t, func(t *testing.T, c Config) {
		c.SegmentBytes, c.MaxBytes, c.Sync = 300, 1500, SyncNever
		rng := rand.New(rand.NewPCG(11, 12))
		s := open(t, c)
		r := s.Reader("a")
		next, acked, appended := 0, 0, 0
		var out Lease
		leased := []string(nil)
		for range 5000 {
			switch op := rng.IntN(10); {
			case op < 6:
				add(t, s, fmt.Sprintf("%d %s", appended, strings.Repeat("e", rng.IntN(60))))
				appended++
			case op < 7 && leased == nil && s.Stats().Readers["a"].Pending > 0:
				out = leaseOf(t, r, 200)
				leased = texts(out)
				for _, record := range leased {
					var number int
					if _, err := fmt.Sscan(record, &number); err != nil || number < next {
						t.Fatalf("delivered %q after %d", record, next-1)
					}
					next = number + 1
				}
			case op < 9 && leased != nil:
				if err := out.Ack(); err != nil {
					t.Fatal(err)
				}
				acked += len(leased)
				leased = nil
			case op == 9 && leased != nil:
				out.Release()
				if _, err := fmt.Sscan(leased[0], &next); err != nil {
					t.Fatal(err)
				}
				leased = nil
			}
			of := s.Stats().Readers["a"]
			inLease := 0
			if leased != nil { // leased records are pending, or were evicted and are not counted yet
				inLease = max(0, appended-acked-int(of.Pending)-int(of.Evicted))
			}
			if int(of.Acked) != acked || acked+int(of.Pending)+int(of.Evicted)+inLease != appended || inLease > len(leased) {
				t.Fatalf("%+v with %d acknowledged and %d leased of %d appended", of, acked, len(leased), appended)
			}
		}
		if of := s.Stats().Readers["a"]; of.Evicted == 0 || acked == 0 {
			t.Errorf("nothing evicted or nothing read: %+v", of)
		}
	})
}
