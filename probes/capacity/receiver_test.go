package capacity

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	for _, c := range []struct {
		name                                     string
		numbers                                  []uint64
		received, missing, reordered, duplicated int64
	}{
		{"in order", []uint64{0, 1, 2}, 3, 0, 0, 0},
		{"a gap", []uint64{0, 3}, 2, 2, 0, 0},
		{"the first lost", []uint64{2}, 1, 2, 0, 0},
		{"late", []uint64{0, 2, 1}, 3, 0, 1, 0},
		{"copies", []uint64{0, 0, 1, 0}, 2, 0, 0, 2},
		{"a late one twice", []uint64{1, 0, 0}, 2, 0, 1, 1},
		{"at the window's edge", []uint64{0, 1, window, 0, 1}, 3, window - 2, 0, 2},
		{"within the window", []uint64{0, window, 1}, 3, window - 2, 1, 0},
		{"behind the window", []uint64{0, window + 5, 1}, 2, window + 4, 0, 1},
		{"far ahead", []uint64{0, 5, 1 << 60, 1<<60 - 1}, 4, 1<<60 - 3, 1, 0},
	} {
		var y tally
		for _, n := range c.numbers {
			y.add(n)
		}
		if y.received != c.received || y.missing() != c.missing || y.reordered != c.reordered || y.duplicated != c.duplicated {
			t.Errorf("%s: received %d, missing %d, reordered %d, duplicated %d", c.name, y.received, y.missing(), y.reordered, y.duplicated)
		}
	}
}

// TestTallyAgainstModel compares it with a set of all numbers, over disorder that stays within the window.
func TestTallyAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var y tally
	seen := map[uint64]bool{}
	var newest uint64
	var reordered, duplicated int64
	for i := range 200_000 {
		n := uint64(i*4) + random.Uint64N(3000)
		switch {
		case seen[n]:
			duplicated++
		case n < newest:
			reordered++
		}
		if fresh := y.add(n); fresh == seen[n] {
			t.Fatalf("number %d, new: %v", n, fresh)
		}
		seen[n], newest = true, max(newest, n)
	}
	if y.received != int64(len(seen)) || y.reordered != reordered || y.duplicated != duplicated || y.missing() != int64(newest)+1-int64(len(seen)) {
		t.Errorf("received %d, reordered %d, duplicated %d, missing %d", y.received, y.reordered, y.duplicated, y.missing())
	}
}

func TestIntervals(t *testing.T) {
	i := intervals{length: time.Second}
	if got := i.best(0); got != 0 {
		t.Errorf("a capacity of %v from nothing", got)
	}
	for at := range 5000 { // one byte a millisecond, two in the second second, none in the fourth
		n := []int{1, 2, 1, 0, 1}[at/1000]
		i.add(time.Duration(at)*time.Millisecond, n)
	}
	if got := i.best(5 * time.Second); got != 2000 {
		t.Errorf("best second has %v bytes/s, want 2000", got)
	}
	short := intervals{length: time.Second}
	short.add(0, 100)
	short.add(500*time.Millisecond, 100)
	if got := short.best(500 * time.Millisecond); got != 400 {
		t.Errorf("the mean of a short test is %v bytes/s, want 400", got)
	}
}

func TestDelays(t *testing.T) {
	var d delays
	if d.takeRange() != 0 || d.hist().Count() != 0 {
		t.Error("a range of nothing")
	}
	d.add(-5)
	d.add(10)
	if got := d.takeRange(); got != 15 {
		t.Errorf("range %v, want 15", got)
	}
	d.add(0)
	if got := d.takeRange(); got != 5 {
		t.Errorf("range above the smallest of all %v, want 5", got)
	}
	for i := range 10 * maxDelays {
		d.add(time.Duration(i))
	}
	h := d.hist()
	if n := h.Count(); n > maxDelays || n < maxDelays/2 {
		t.Errorf("%d delays are kept, want %d at most and half of them at least", n, maxDelays)
	}
	if median := h.Quantile(0.5) * 1e9; median < 4.8*maxDelays || median > 5.2*maxDelays {
		t.Errorf("median %v, want the middle of all", median)
	}
}

func TestTrainEstimate(t *testing.T) {
	var y trains
	if rate, bound := y.estimate(); rate != 0 || bound != 0 {
		t.Error("an estimate of nothing")
	}
	y.rates = []trainRate{{16, 1000}, {100, 10}, {100, 14}, {100, 11}}
	if rate, bound := y.estimate(); rate != 11 || bound != 3 {
		t.Errorf("estimate %v ± %v, want 11 ± 3 from the long trains", rate, bound)
	}
	// The ranks of the 95 % interval of a median, as tables of the sign test have them (from 1: 1, 2, 3, 6).
	for n, want := range map[int]int{1: 0, 5: 0, 6: 0, 8: 0, 9: 1, 12: 2, 20: 5} {
		if got := medianRank(n); got != want {
			t.Errorf("rank of %d values is %d, want %d", n, got, want)
		}
	}
}

func TestTrainLength(t *testing.T) {
	for name, c := range map[string]struct {
		f      feedback
		budget int64
		left   int
		want   int
	}{
		"the first":              {feedback{}, 2e6, 16, firstTrain},
		"100 kbit/s":             {feedback{train: 1, arrived: 16, spread: 1500 * time.Millisecond}, 2e6, 16, firstTrain},
		"3 Mbit/s":               {feedback{train: 1, arrived: 31, spread: 100 * time.Millisecond}, 2e6, 16, 30},
		"10 Mbit/s":              {feedback{train: 1, arrived: 21, spread: 20 * time.Millisecond}, 2e6, 16, 100},
		"a fast link":            {feedback{train: 1, arrived: 16, spread: time.Microsecond}, 2e6, 10, longestTrain},
		"no spread":              {feedback{train: 1, arrived: 16}, 2e6, 10, longestTrain},
		"the budget":             {feedback{train: 1, arrived: 16}, 2e6, 16, 100},
		"hardly any budget left": {feedback{train: 1, arrived: 16}, 7 * 1250, 1, 0},
	} {
		if got := trainLength(c.f, 1250, c.budget, c.left); got != c.want {
			t.Errorf("%s: %d datagrams, want %d", name, got, c.want)
		}
	}
}

// TestTrainBehindAShaper: what a token bucket lets pass at once is in the first half of the train, which does not count.
func TestTrainBehindAShaper(t *testing.T) {
	y := trains{wire: 1250}
	start := time.Unix(0, 0)
	load := make([]byte, minSize)
	for place := range uint32(40) {
		at := start
		if place > 15 {
			at = start.Add(time.Duration(place-15) * time.Millisecond)
		}
		putTrain(load, 1, place, 40)
		y.add(datagram{train: 1, rest: load[headerSize:]}, at)
	}
	if !y.complete(start.Add(25 * time.Millisecond)) {
		t.Error("the train is not complete with its last datagram")
	}
	if rate, _ := y.estimate(); rate < 1250*999 || rate > 1250*1001 {
		t.Errorf("%v bytes/s, want one datagram of 1250 each millisecond", rate)
	}
}
