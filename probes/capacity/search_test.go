package capacity

import (
	"testing"
	"time"
)

func TestRateTable(t *testing.T) {
	for index, mbits := range map[int]float64{
		-1: 0.5, 0: 0.5, 1: 1, 2: 2, 999: 999, 1000: 1000, 1001: 1100, 1089: 9900, 1090: 10_000, 1091: 11_000, 1180: 100_000, 5000: 100_000,
	} {
		if got := rateOf(index) / megabit; got != mbits {
			t.Errorf("rate %d is %v Mbit/s, want %v", index, got, mbits)
		}
	}
	for index := range lastIndex + 1 {
		if got := indexOf(rateOf(index)); got != index {
			t.Errorf("index of rate %d is %d", index, got)
		}
		if got := indexOf(rateOf(index) * 0.999); got != max(0, index-1) {
			t.Errorf("index of a rate below rate %d is %d", index, got)
		}
	}
}

// TestSearch holds the algorithm against RFC 9097 appendix A step by step: u is a good feedback, l one with losses, d one
// with delay above the upper threshold, n one that tells of nothing, h one in between.
func TestSearch(t *testing.T) {
	words := map[rune]feedback{
		'u': {received: 1, lost: 4, reordered: 3, duplicated: 3, delayRange: lowThreshold - 1},
		'l': {received: 1, lost: 5, reordered: 3, duplicated: 3},
		'd': {received: 1, delayRange: highThreshold + 1},
		'n': {},
		'h': {received: 1, delayRange: lowThreshold},
		'H': {received: 1, delayRange: highThreshold},
	}
	for _, c := range []struct {
		name             string
		initial, highest float64
		feedback         string
		want             []int
	}{
		{"ramp", 0, 0, "uuu", []int{10, 20, 30}},
		{"congestion confirmed", 100 * megabit, 0, "ldlu", []int{99, 98, 68, 69}},
		{"not confirmed", 100 * megabit, 0, "ldulld", []int{99, 98, 108, 107, 106, 76}},
		{"the second reset there is none", 100 * megabit, 0, "lllllll", []int{99, 98, 68, 67, 66, 65, 64}},
		{"hold keeps the count", 100 * megabit, 0, "lhlHlu", []int{99, 99, 98, 98, 68, 69}},
		{"nothing heard of", 100 * megabit, 0, "nnn", []int{99, 98, 68}},
		{"floor", 2 * megabit, 0, "llll", []int{1, 0, 0, 0}},
		{"into the high rates", 985 * megabit, 0, "uuuu", []int{995, 1005, 1006, 1007}},
		{"no reset at high rates", 2000 * megabit, 0, "llll", []int{1009, 1008, 1007, 1006}},
		{"limit", 0, 15 * megabit, "uuu", []int{10, 15, 15}},
		{"top", 99_000 * megabit, 0, "uuu", []int{1180, 1180, 1180}},
	} {
		s := newSearch(c.initial, c.highest)
		for i, word := range c.feedback {
			s.judge(words[word])
			if s.index != c.want[i] {
				t.Errorf("%s: step %d (%c) leads to %d, want %d", c.name, i+1, word, s.index, c.want[i])
			}
		}
	}
}

func TestSearchLimitBetweenRates(t *testing.T) {
	s := newSearch(0, 12.5*megabit)
	for _, want := range []float64{10, 12.5, 12.5} {
		s.up()
		if got := s.rate() / megabit; got != want {
			t.Errorf("rate %v Mbit/s, want %v", got, want)
		}
	}
	s.down()
	if got := s.rate() / megabit; got != 12 {
		t.Errorf("one step down %v Mbit/s, want 12", got)
	}
}

func TestBackoff(t *testing.T) {
	for w, want := range []time.Duration{190 * time.Millisecond, 240 * time.Millisecond, 290 * time.Millisecond} {
		if got := backoff(w); got != want {
			t.Errorf("after %d lost feedbacks: %v, want %v", w, got, want)
		}
	}
}

// TestFeedbackThatDoesNotCome: the sender takes what is overdue for bad, once a feedback has told how long the way is.
func TestFeedbackThatDoesNotCome(t *testing.T) {
	s := newSender(link{socket: &socket{}, plan: open{Size: maxSize, InitialRate: 100 * megabit}}, 1)
	s.backOff(900 * time.Millisecond)
	if s.search.index != 100 {
		t.Errorf("index %d before the first feedback, want 100", s.search.index)
	}
	s.latest.number = 1
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{189, 100}, {190, 99}, {239, 99}, {240, 98}, {289, 98}, {290, 68}, {340, 67}} {
		if s.backOff(step.at * time.Millisecond); s.search.index != step.want {
			t.Errorf("%d ms after the latest feedback: index %d, want %d", step.at, s.search.index, step.want)
		}
	}
}
