package capacity

import (
	"testing"
	"time"
)

func TestSilenceWhileStandingStillIsNone(t *testing.T) {
	start := time.Unix(1, 0)
	s := newSilence(start)
	for _, step := range []struct {
		at, planned time.Duration
		heard       bool
		worked      time.Duration // when work ended before
		want        time.Duration
	}{
		{at: 50 * time.Millisecond, planned: 50 * time.Millisecond, want: 50 * time.Millisecond},
		{at: 150 * time.Millisecond, planned: 50 * time.Millisecond, want: 150 * time.Millisecond}, // late, and not so late
		{at: 1250 * time.Millisecond, planned: 50 * time.Millisecond, want: 200 * time.Millisecond},
		{at: 1300 * time.Millisecond, planned: 50 * time.Millisecond, want: 250 * time.Millisecond},
		{at: 2300 * time.Millisecond, planned: time.Second, want: 1250 * time.Millisecond}, // it meant to wait
		{at: 2350 * time.Millisecond, planned: 50 * time.Millisecond, heard: true, want: 0},
		{at: 9 * time.Second, planned: 50 * time.Millisecond, want: 50 * time.Millisecond},
		{at: 9500 * time.Millisecond, worked: 9490 * time.Millisecond, want: 550 * time.Millisecond}, // the buffer was full
	} {
		now := start.Add(step.at)
		if step.worked > 0 {
			s.worked(start.Add(step.worked))
		}
		if step.heard {
			s.hear(now)
		}
		if got := s.lasts(now, step.planned); got != step.want {
			t.Errorf("after %v: silent for %v, want %v", step.at, got, step.want)
		}
	}
}
