package schedule

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestOffsetIsStableAndSpread(t *testing.T) {
	if got := Offset("van-07", "edge-latency", 7, 30*time.Second); got != Offset("van-07", "edge-latency", 7, 30*time.Second) || got < 0 || got >= 30*time.Second {
		t.Errorf("offset %v is not stable in [0, 30s)", got)
	}
	for name, of := range map[string]func(i int) time.Duration{
		"1000 agents":             func(i int) time.Duration { return Offset(fmt.Sprintf("agent-%03d", i), "edge", 0, time.Minute) },
		"1000 probes of an agent": func(i int) time.Duration { return Offset("van-07", fmt.Sprintf("edge-%03d", i), 0, time.Minute) },
		"1000 periods":            func(i int) time.Duration { return Offset("van-07", "edge", int64(i), time.Minute) },
	} {
		var tenths [10]int
		for i := range 1000 {
			tenths[of(i)/(6*time.Second)]++
		}
		if slices.Min(tenths[:]) < 70 || slices.Max(tenths[:]) > 130 {
			t.Errorf("%s start unevenly within the period: %v in each tenth", name, tenths)
		}
	}
	if Offset("a", "bc", 0, time.Hour) == Offset("ab", "c", 0, time.Hour) {
		t.Error("agent and probe name run together")
	}
}

func TestProbesRunInRandomOrder(t *testing.T) {
	first := 0
	for period := range int64(1000) {
		if Offset("van-07", "p1", period, time.Minute) < Offset("van-07", "p2", period, time.Minute) {
			first++
		}
	}
	if first < 450 || first > 550 {
		t.Errorf("the first of two probes is ahead in %d of 1000 periods, want about half", first)
	}
}

func TestStartsAreOneInEachPeriod(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, c := range []struct{ now, began, number int64 }{
		{600, 600, 10}, {611, 600, 10}, {659, 600, 10}, {660, 660, 11}, {-5, -60, -1}, {-60, -60, -1},
	} {
		s := NewStarts(at(c.now), "a", "p", time.Minute)
		for n := range 3 {
			want := at(c.began).Add(time.Duration(n)*time.Minute + Offset("a", "p", c.number+int64(n), time.Minute))
			if got := s.At(n); !got.Equal(want) {
				t.Errorf("from %d s on, start %d is at %v, want %v", c.now, n, got.Unix(), want.Unix())
			}
		}
	}
}

// starts runs Every for five minutes and returns when its runs began, in seconds, and what was skipped. It begins at
// midnight, with a period.
func starts(t *testing.T, took func(n int) time.Duration) (began []float64, skips []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	zero := time.Now()
	Every(ctx, NewStarts(zero, "a", "p", time.Minute), func(context.Context) {
		began = append(began, time.Since(zero).Seconds())
		time.Sleep(took(len(began)))
	}, func(n int) { skips = append(skips, n) })
	return began, skips
}

func TestEveryNeitherDriftsNorPilesUp(t *testing.T) {
	var o [5]float64 // when it should start
	for n := range o {
		midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a bubble begins
		o[n] = NewStarts(midnight, "a", "p", time.Minute).At(n).Sub(midnight).Seconds()
	}
	// The second run goes on until the end of a period and some; the others take a second.
	until := func(period int, more time.Duration) func(int) time.Duration {
		return func(n int) time.Duration {
			if n != 2 {
				return time.Second
			}
			return time.Duration(period+1)*time.Minute + more - time.Duration(o[1]*float64(time.Second))
		}
	}
	for _, c := range []struct {
		name  string
		took  func(int) time.Duration
		began []float64
		skips []int
	}{
		{"short runs", func(int) time.Duration { return time.Second }, o[:], nil},
		{"one that delays the next", until(2, -time.Millisecond), []float64{o[0], o[1], 179.999, o[3], o[4]}, nil},
		{"one that ends with the next one's period", until(2, 0), []float64{o[0], o[1], 180, o[3], o[4]}, nil},
		{"one that outlasts it", until(2, time.Millisecond), []float64{o[0], o[1], o[3], o[4]}, []int{1}},
		{"one that outlasts two", until(3, time.Millisecond), []float64{o[0], o[1], o[4]}, []int{2}},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, skips := starts(t, c.took)
			if !slices.EqualFunc(began, c.began, func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }) || !slices.Equal(skips, c.skips) {
				t.Errorf("%s: began at %v with skips %v, want %v and %v", c.name, began, skips, c.began, c.skips)
			}
		})
	}
}

func TestEveryStartsInTheNextPeriodWhereThisOnesHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := NewStarts(began, "a", "p", time.Minute)
		time.Sleep(s.At(0).Sub(began) + 1) // a restart just after the run began
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		Every(ctx, NewStarts(time.Now(), "a", "p", time.Minute), func(context.Context) {
			if now := time.Now(); !now.Equal(s.At(1)) {
				t.Errorf("started at %v, want %v", now, s.At(1))
			}
			cancel()
		}, nil)
	})
}

func TestEveryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		zero := time.Now()
		Every(ctx, NewStarts(zero, "a", "p", time.Minute), func(ctx context.Context) { <-ctx.Done() }, func(n int) { t.Errorf("skipped %d", n) })
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
