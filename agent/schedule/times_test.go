package schedule

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestOffsetIsStableAndSpread(t *testing.T) {
	if got := Offset("van-07", "edge-latency", 30*time.Second); got != Offset("van-07", "edge-latency", 30*time.Second) || got < 0 || got >= 30*time.Second {
		t.Errorf("offset %v is not stable in [0, 30s)", got)
	}
	var tenths [10]int
	for i := range 1000 {
		tenths[Offset(fmt.Sprintf("agent-%03d", i), "edge", time.Minute)/(6*time.Second)]++
	}
	if slices.Min(tenths[:]) < 60 || slices.Max(tenths[:]) > 140 {
		t.Errorf("1000 agents start unevenly within the period: %v in each tenth", tenths)
	}
	if Offset("a", "bc", time.Hour) == Offset("ab", "c", time.Hour) {
		t.Error("agent and probe name run together")
	}
}

func TestFirstKeepsThePhase(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, c := range []struct {
		now    int64
		offset time.Duration
		want   int64
	}{
		{600, 10 * time.Second, 610},
		{610, 10 * time.Second, 610},
		{611, 10 * time.Second, 670},
		{659, 0, 660},
		{-5, 10 * time.Second, 10},
	} {
		if got := First(at(c.now), c.offset, time.Minute); !got.Equal(at(c.want)) {
			t.Errorf("at %d s with offset %v the first start is at %d s, want %d s", c.now, c.offset, got.Unix(), c.want)
		}
	}
}

// starts runs Every for five minutes and returns when its runs began, in seconds, and what was skipped.
func starts(t *testing.T, first, every time.Duration, took func(n int) time.Duration) (began []float64, skips []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	zero := time.Now()
	Every(ctx, zero.Add(first), every, func(context.Context) {
		began = append(began, time.Since(zero).Seconds())
		time.Sleep(took(len(began)))
	}, func(n int) { skips = append(skips, n) })
	return began, skips
}

func TestEveryNeitherDriftsNorPilesUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		took  func(int) time.Duration
		began []float64
		skips []int
	}{
		{"short runs", func(int) time.Duration { return 7 * time.Second }, []float64{13, 73, 133, 193, 253}, nil},
		{"one long run", func(n int) time.Duration {
			if n == 2 {
				return 130 * time.Second
			}
			return time.Second
		}, []float64{13, 73, 253}, []int{2}},
		{"runs of exactly a period", func(int) time.Duration { return time.Minute }, []float64{13, 73, 133, 193, 253}, nil},
		{"runs just longer than a period", func(int) time.Duration { return time.Minute + 1 }, []float64{13, 133, 253}, []int{1, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, skips := starts(t, 13*time.Second, time.Minute, c.took)
			if !slices.Equal(began, c.began) || !slices.Equal(skips, c.skips) {
				t.Errorf("%s: began at %v with skips %v, want %v and %v", c.name, began, skips, c.began, c.skips)
			}
		})
	}
}

func TestEveryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		zero := time.Now()
		Every(ctx, zero.Add(time.Minute), time.Minute, func(ctx context.Context) { <-ctx.Done() }, func(n int) { t.Errorf("skipped %d", n) })
		if got := time.Since(zero); got != 90*time.Second {
			t.Errorf("ended after %v, want 90s", got)
		}
	})
}

func TestForeverPausesLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		zero := time.Now()
		var began []float64
		Forever(ctx, func(context.Context) bool {
			began = append(began, time.Since(zero).Seconds())
			switch len(began) {
			case 9:
				time.Sleep(2 * time.Minute) // ran well for a while: the pause begins anew
			case 10:
				return true // made room
			}
			return false
		})
		want := []float64{0, 1, 3, 7, 15, 31, 63, 123, 183, 304, 304, 306, 310, 318, 334, 366, 426, 486, 546}
		if !slices.Equal(began, want) {
			t.Errorf("began at %v, want %v", began, want)
		}
	})
}
