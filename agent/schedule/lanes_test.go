package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// actor holds a pass of the lanes for some time, from some moment on.
type actor struct {
	name string
	pass Pass
	at   time.Duration
	hold time.Duration
}

// play lets all actors run and returns when each had its pass, as "name from-to" in seconds. A yielding actor leaves when
// it is asked to, and asks again at once for what is left of its time.
func play(t *testing.T, lanes *Lanes, actors ...actor) []string {
	t.Helper()
	var mu sync.Mutex
	var spans []string
	zero := time.Now()
	since := func() float64 { return time.Since(zero).Seconds() }
	var wg sync.WaitGroup
	for _, a := range actors {
		wg.Go(func() {
			time.Sleep(a.at)
			for left := a.hold; left > 0; {
				held, leave, err := lanes.Enter(t.Context(), a.pass)
				if err != nil {
					t.Error(err)
					return
				}
				from := since()
				ctx, cancel := context.WithTimeout(held, left)
				<-ctx.Done()
				cancel()
				to := since()
				left -= time.Duration((to - from) * float64(time.Second))
				if left > 0 && !errors.Is(context.Cause(held), ErrYield) {
					t.Errorf("%s ended for %v", a.name, context.Cause(held))
				}
				leave()
				mu.Lock()
				spans = append(spans, fmt.Sprintf("%s %g-%g", a.name, from, to))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(spans)
	return spans
}

func TestLanes(t *testing.T) {
	latency, load := Pass{Interface: "wwan0"}, Pass{Interface: "wwan0", Lane: probes.Load}
	continuous := Pass{Interface: "wwan0", Yields: true}
	other := Pass{Interface: "wwan1", Lane: probes.Load}
	anywhere := Pass{Lane: probes.Load}
	s := time.Second
	for _, c := range []struct {
		name   string
		actors []actor
		want   []string
	}{
		{"latency probes run together", []actor{{"a", latency, 0, 5 * s}, {"b", latency, 1 * s, 5 * s}}, []string{"a 0-5", "b 1-6"}},
		{"load waits for latency", []actor{{"a", latency, 0, 5 * s}, {"load", load, 1 * s, 10 * s}}, []string{"a 0-5", "load 5-15"}},
		{"latency waits for load", []actor{{"load", load, 0, 10 * s}, {"a", latency, 1 * s, 5 * s}, {"b", latency, 2 * s, 5 * s}}, []string{"a 10-15", "b 10-15", "load 0-10"}},
		{"loads run one by one", []actor{{"l1", load, 0, 10 * s}, {"l2", load, 1 * s, 10 * s}, {"l3", load, 2 * s, 10 * s}}, []string{"l1 0-10", "l2 10-20", "l3 20-30"}},
		{"a waiting load is not starved", []actor{{"a", latency, 0, 5 * s}, {"load", load, 1 * s, 10 * s}, {"b", latency, 2 * s, 5 * s}}, []string{"a 0-5", "b 15-20", "load 5-15"}},
		{
			"a waiting latency probe is not starved by loads",
			[]actor{{"l1", load, 0, 10 * s}, {"a", latency, 1 * s, 5 * s}, {"l2", load, 2 * s, 10 * s}},
			[]string{"a 10-15", "l1 0-10", "l2 15-25"},
		},
		{
			"a continuous probe makes room and resumes",
			[]actor{{"c", continuous, 0, 20 * s}, {"load", load, 5 * s, 10 * s}},
			[]string{"c 0-5", "c 15-30", "load 5-15"},
		},
		{
			"a continuous probe goes on while the load would have to wait anyway",
			[]actor{{"c", continuous, 0, 20 * s}, {"a", latency, 1 * s, 6 * s}, {"load", load, 5 * s, 10 * s}},
			[]string{"a 1-7", "c 0-7", "c 17-30", "load 7-17"},
		},
		{"interfaces are apart", []actor{{"load", load, 0, 10 * s}, {"other", other, 0, 10 * s}}, []string{"load 0-10", "other 0-10"}},
		{
			"the default route meets every interface",
			[]actor{{"any", anywhere, 0, 10 * s}, {"other", other, 1 * s, 10 * s}, {"a", latency, 2 * s, 5 * s}},
			[]string{"a 10-15", "any 0-10", "other 10-20"},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := play(t, &Lanes{}, c.actors...); !slices.Equal(got, c.want) {
				t.Errorf("%s:\n got %v\nwant %v", c.name, got, c.want)
			}
		})
	}
}

func TestLanesForgetWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lanes Lanes
		_, leave, err := lanes.Enter(t.Context(), Pass{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("shutdown"))
		defer cancel()
		if _, _, err := lanes.Enter(ctx, Pass{Lane: probes.Load}); err == nil || err.Error() != "shutdown" {
			t.Errorf("got %v, want shutdown", err)
		}
		_, leaveSecond, err := lanes.Enter(t.Context(), Pass{}) // would wait for ever behind the load that gave up
		if err != nil {
			t.Fatal(err)
		}
		leaveSecond()
		leave()
		if len(lanes.holders)+len(lanes.waiters) != 0 {
			t.Errorf("left behind: %v holders, %v waiters", lanes.holders, lanes.waiters)
		}
		if _, _, err := lanes.Enter(ctx, Pass{}); err == nil {
			t.Error("a context that has ended got a pass")
		}
	})
}

func TestLanesCountWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lanes Lanes
		play(t, &lanes, actor{"load", Pass{Lane: probes.Load}, 0, 10 * time.Second}, actor{"a", Pass{}, 4 * time.Second, time.Second})
		if got, want := lanes.Stats(probes.Latency), (LaneStats{Waits: 1, Waited: 6 * time.Second}); got != want {
			t.Errorf("latency waits %+v, want %+v", got, want)
		}
		if got := lanes.Stats(probes.Load); got != (LaneStats{}) {
			t.Errorf("load waits %+v, want none", got)
		}
	})
}
