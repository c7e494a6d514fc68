package netsim

import (
	"math"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// entered passes datagrams of one size through a link at the given moments and returns when their copies come out, in
// milliseconds from its start.
func entered(l *Link, size int, at ...time.Duration) [][]float64 {
	var out [][]float64
	for _, t := range at {
		var times []float64
		for _, a := range l.Datagram(l.start.Add(t), size) {
			times = append(times, float64(a.Sub(l.start))/float64(ms))
		}
		out = append(out, times)
	}
	return out
}

func TestLinkIsExact(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile Profile
		size    int
		at      []time.Duration
		want    [][]float64
	}{
		{"perfect", State{}, 100, []time.Duration{0, ms}, [][]float64{{0}, {1}}},
		{"delay", State{Delay: 10 * ms}, 100, []time.Duration{0, ms}, [][]float64{{10}, {11}}},
		{"one after the other", State{Delay: 10 * ms, Rate: 100_000}, 1000, []time.Duration{0, 0, 5 * ms, 100 * ms}, [][]float64{{20}, {30}, {40}, {120}}},
		{"full queue", State{Rate: 100_000, Queue: 2500}, 1000, []time.Duration{0, 0, 0, 10 * ms, 10 * ms}, [][]float64{{10}, {20}, nil, {30}, nil}},
		{"a datagram larger than the queue", State{Rate: 100_000, Queue: 500}, 1000, []time.Duration{0, 5 * ms, 10 * ms}, [][]float64{{10}, nil, {20}}},
		{"MTU", State{MTU: 999}, 1000, []time.Duration{0}, [][]float64{nil}},
		{"twice", State{Duplicate: 1, Delay: ms}, 100, []time.Duration{0}, [][]float64{{1, 1}}},
		{"held back", State{Reorder: 1, ReorderBy: 5 * ms, Delay: ms}, 100, []time.Duration{0}, [][]float64{{6}}},
		{"outage", WithOutages(State{Delay: ms}, Interval{10 * ms, 20 * ms}), 1, []time.Duration{9 * ms, 10 * ms, 19 * ms, 20 * ms}, [][]float64{{10}, nil, nil, {21}}},
		{"outage while it waits", WithOutages(State{Rate: 100_000}, Interval{10 * ms, 20 * ms}), 1000, []time.Duration{0, 0}, [][]float64{{10}, nil}},
		{"stall", WithStalls(State{Delay: ms}, Interval{10 * ms, 50 * ms}), 1, []time.Duration{9 * ms, 10 * ms, 30 * ms, 50 * ms}, [][]float64{{10}, {51}, {51}, {51}}},
		{"stall that begins while it waits", WithStalls(State{Rate: 100_000}, Interval{10 * ms, 50 * ms}), 1000, []time.Duration{0, 0}, [][]float64{{10}, {60}}},
		{"stall behind stall", WithStalls(State{}, Interval{0, 10 * ms}, Interval{10 * ms, 30 * ms}), 1, []time.Duration{ms}, [][]float64{{30}}},
		{"in order", falling(0), 1, []time.Duration{0, ms, 10 * ms}, [][]float64{{10}, {10}, {11}}},
		{"overtaking", falling(1), 1, []time.Duration{0, ms, 10 * ms}, [][]float64{{10}, {2}, {11}}},
	} {
		got := entered(NewLink(1, time.Now(), c.profile), c.size, c.at...)
		if !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// falling is a delay that goes from 10 ms to 1 ms after the first instant.
func falling(overtake int) Profile {
	return ProfileFunc(func(elapsed time.Duration) State {
		s := State{Delay: 10 * ms, Overtake: overtake == 1}
		if elapsed > 0 {
			s.Delay = ms
		}
		return s
	})
}

func TestLinkForgetsWhatLeft(t *testing.T) {
	l := NewLink(1, time.Now(), State{Rate: 1e6, Queue: 1 << 20})
	for i := range 10_000 {
		l.datagram(time.Duration(i)*ms, 500)
	}
	if len(l.waiting) > 2 || cap(l.waiting) > 64 {
		t.Errorf("%d packets waiting in room for %d", len(l.waiting), cap(l.waiting))
	}
	if s := l.Stats(); s.Delivered != 10_000 || s.Bytes != 5_000_000 {
		t.Errorf("statistics %+v", s)
	}
}

// TestDraws holds the generator against what it should draw, over 100,000 datagrams of one seed: the tolerance is five
// standard errors.
func TestDraws(t *testing.T) {
	const count = 100_000
	near := func(name string, got, want, deviation float64) {
		t.Helper()
		if bound := 5 * deviation / math.Sqrt(count); math.Abs(got-want) > bound {
			t.Errorf("%s: %v, want %v ± %v", name, got, want, bound)
		}
	}
	lost := NewLink(11, time.Now(), State{Loss: 0.01}).Losses(count)
	near("loss", float64(len(lost))/count, 0.01, math.Sqrt(0.01*0.99))
	together := 0
	for i := range len(lost) - 1 {
		if lost[i+1] == lost[i]+1 {
			together++
		}
	}
	near("two losses in a row", float64(together)/count, 0.0001, 0.01)
	burst := Burst{Enter: 0.01, Leave: 0.2, Loss: 1}
	lost = NewLink(12, time.Now(), State{Burst: burst}).Losses(count)
	// The share of the bad state is Enter/(Enter+Leave); samples are correlated over 1/(Enter+Leave) datagrams.
	near("share in bursts", float64(len(lost))/count, 0.01/0.21, math.Sqrt(0.01/0.21*2/0.21))
	runs := 0
	for i, n := range lost {
		if i == 0 || lost[i-1] != n-1 {
			runs++
		}
	}
	if mean := float64(len(lost)) / float64(runs); mean < 4.5 || mean > 5.5 {
		t.Errorf("bursts last %v datagrams on average, want 5", mean)
	}
	for shape, want := range map[Shape]struct{ mean, deviation float64 }{
		Uniform: {0.5, math.Sqrt(1. / 12)}, Exponential: {1, 1}, HalfNormal: {math.Sqrt(2 / math.Pi), math.Sqrt(1 - 2/math.Pi)},
	} {
		s := State{Jitter: time.Second, Shape: shape}
		sum := 0.0
		for n := range uint64(count) {
			sum += s.jitter(13, n, drawJitter).Seconds()
		}
		near("jitter", sum/count, want.mean, want.deviation)
	}
}

func TestDirectionsAndSeedsDiffer(t *testing.T) {
	n := New(1)
	defer n.Close()
	a, b, c := n.Host("a", "10.0.0.1"), n.Host("b", "10.0.0.2"), n.Host("c", "10.0.0.3")
	up, down := n.Connect(a, b, State{Loss: 0.5}, State{Loss: 0.5})
	other, _ := n.Connect(a, c, State{Loss: 0.5}, State{Loss: 0.5})
	path := NewPath(1, time.Now(), State{Loss: 0.5}, State{Loss: 0.5})
	seen := [][]uint64{}
	for _, l := range []*Link{up, down, other, path.Up, path.Down} {
		lost := l.Losses(200)
		if slices.ContainsFunc(seen, func(s []uint64) bool { return slices.Equal(s, lost) }) {
			t.Errorf("two links lose the same: %v", lost)
		}
		seen = append(seen, lost)
	}
}
