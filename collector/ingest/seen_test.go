package ingest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

func id(agent string, seq uint64) probes.ID { return probes.ID{Agent: agent, Boot: "b", Seq: seq} }

func TestSeenAgainstAPlainSet(t *testing.T) {
	s := NewSeen()
	plain := map[uint64]bool{}
	highest := uint64(0)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		// Mostly forward, at times a leap, at times far back.
		seq := max(1, highest+uint64(random.IntN(4))) - uint64(min(highest, uint64(random.IntN(40))))
		if random.IntN(1000) == 0 {
			seq = highest + uint64(random.IntN(3*Window))
		}
		if random.IntN(1000) == 0 {
			seq -= min(seq, uint64(random.IntN(2*Window)))
		}
		inside := seq > highest || highest-seq < Window
		if got, want := s.Has(id("a", seq)), inside && plain[seq]; got != want {
			t.Fatalf("Has(%d) with highest %d: %v, want %v", seq, highest, got, want)
		}
		s.Mark(id("a", seq))
		plain[seq] = true
		highest = max(highest, seq)
	}
}

func TestSeenForgetsTheLeastRecentlyUsedBoot(t *testing.T) {
	s := NewSeen()
	for i := range maxBoots {
		s.Mark(id(fmt.Sprint(i), 1))
	}
	s.Mark(id("0", 2))
	s.Mark(id("new", 1))
	if !s.Has(id("0", 1)) || s.Has(id("1", 1)) || !s.Has(id("2", 1)) || !s.Has(id("new", 1)) {
		t.Error("want agent 1 forgotten and no other")
	}
}

func TestSeenOutlivesTheProcess(t *testing.T) {
	s := NewSeen()
	for seq := uint64(1); seq < 10_000; seq += 3 {
		s.Mark(id("a", seq))
		s.Mark(id("ü b", seq+1))
	}
	text, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	again := NewSeen()
	if err := again.UnmarshalBinary(text); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq < 10_010; seq++ {
		for _, agent := range []string{"a", "ü b", "c"} {
			if got, want := again.Has(id(agent, seq)), s.Has(id(agent, seq)); got != want {
				t.Fatalf("%s %d: %v, want %v", agent, seq, got, want)
			}
		}
	}
	for n := range len(text) {
		if err := NewSeen().UnmarshalBinary(text[:n]); err == nil && n != len(magic) && n != (len(text)-len(magic))/2+len(magic) {
			// A file that ends with a whole record is a smaller memory; every other one is damaged.
			if whole := NewSeen(); whole.UnmarshalBinary(text[:n]) == nil && whole.order.Len() == 0 {
				t.Fatalf("%d of %d bytes were read as nothing, without an error", n, len(text))
			}
		}
	}
}

func FuzzSeen(f *testing.F) {
	s := NewSeen()
	s.Mark(id("agent", 77))
	text, _ := s.MarshalBinary()
	f.Add(text)
	f.Add([]byte(magic + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := NewSeen()
		if s.UnmarshalBinary(text) != nil {
			return
		}
		s.Mark(id("agent", 5))
		if again, err := s.MarshalBinary(); err != nil || NewSeen().UnmarshalBinary(again) != nil {
			t.Error("what was read cannot be written and read again")
		}
	})
}
