package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// stepped is a clock whose wall clock a test can move.
func stepped(offset *time.Duration) *clock {
	c := newClock()
	c.wall = func() time.Time { return time.Now().Round(0).Add(*offset) }
	c.slept = func() time.Duration { return 0 }
	c.lastWall, c.lastSlept = c.wall(), 0
	return c
}

func measured(elapsed time.Duration) *probes.Result {
	return &probes.Result{Start: time.Now().Round(0).Add(-elapsed), Elapsed: elapsed}
}

func TestClockFlagsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offset := 30 * 365 * 24 * time.Hour // from 2000, where a bubble begins, to a clock that is set
		c := stepped(&offset)
		time.Sleep(time.Hour)
		r := measured(time.Minute)
		if c.stamp(r); r.Quality != 0 || len(r.Events) != 0 {
			t.Errorf("a steady clock: %v, %v", r.Quality, r.Events)
		}
		time.Sleep(10 * time.Second)
		offset += 40 * time.Millisecond // what an NTP client slews in a minute and a half
		if c.stamp(r); r.Quality != 0 {
			t.Errorf("a slewed clock: %v", r.Quality)
		}
		offset -= 3 * time.Second
		time.Sleep(10 * time.Second)
		during, other, later := measured(20*time.Second), measured(15*time.Second), measured(5*time.Second)
		c.stamp(during)
		if !during.Quality.Has(probes.ClockStepped) || len(during.Events) != 1 || during.Events[0].Detail != "the wall clock stepped by -3.000 s" {
			t.Errorf("a step: %v, %v", during.Quality, during.Events)
		}
		if c.stamp(other); !other.Quality.Has(probes.ClockStepped) || len(other.Events) != 0 {
			t.Errorf("another result over the same step: %v, %v: want the flag and no second event", other.Quality, other.Events)
		}
		time.Sleep(5 * time.Second)
		if c.stamp(later); later.Quality != 0 {
			t.Errorf("a measurement after the step: %v", later.Quality)
		}
	})
}

func TestClockTellsSleepFromSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offset, slept := 30*365*24*time.Hour, time.Duration(0)
		c := stepped(&offset)
		c.slept = func() time.Duration { return slept }
		time.Sleep(10 * time.Second)
		slept, offset = time.Hour, offset+time.Hour // the wall clock goes on while the host sleeps
		r := measured(10 * time.Second)
		if c.stamp(r); r.Quality != probes.Suspended || len(r.Events) != 0 {
			t.Errorf("a sleep: %v, %v", r.Quality, r.Events)
		}
		time.Sleep(10 * time.Second)
		slept, offset = 2*time.Hour, offset+time.Hour-time.Minute
		r = measured(5 * time.Second)
		if c.stamp(r); r.Quality != probes.Suspended|probes.ClockStepped || r.Events[0].Detail != "the wall clock stepped by -60.000 s" {
			t.Errorf("a sleep and a step: %v, %v", r.Quality, r.Events)
		}
		time.Sleep(10 * time.Second)
		r = measured(5 * time.Second)
		if c.stamp(r); r.Quality != 0 {
			t.Errorf("after both: %v", r.Quality)
		}
	})
}

func TestResultsOfAnUnsetClockAreRedated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offset := -30 * 365 * 24 * time.Hour // 1970
		c := stepped(&offset)
		waiting := undated{clock: c}
		early := measured(10 * time.Second)
		early.Start = early.Start.Add(offset)
		early.Events = []probes.Event{{Time: early.Start.Add(time.Second)}}
		early.Radio = &probes.Radio{Before: &probes.RadioSample{Time: early.Start}}
		c.stamp(early)
		if !early.Quality.Has(probes.ClockUnset) {
			t.Fatalf("flags %v", early.Quality)
		}
		if got := waiting.pass(early); len(got) != 0 {
			t.Errorf("a result without a date went on: %v", got)
		}
		time.Sleep(time.Minute)
		slept := time.Hour
		c.slept = func() time.Duration { return slept }
		offset += slept                     // which the wall clock shows by itself
		offset += 56 * 365 * 24 * time.Hour // NTP
		late := measured(10 * time.Second)
		c.stamp(late)
		got := waiting.pass(late)
		if len(got) != 2 || got[1] != late || got[0] == early {
			t.Fatalf("got %v, want both, the first as a copy", got)
		}
		by := 56 * 365 * 24 * time.Hour
		first := got[0]
		if !first.Start.Equal(early.Start.Add(by)) || !first.Events[0].Time.Equal(early.Events[0].Time.Add(by)) || !first.Radio.Before.Time.Equal(early.Radio.Before.Time.Add(by)) {
			t.Errorf("%v was not moved by %v: %+v", early.Start, by, first)
		}
		if first.Info["redated_by"] == "" || !first.Quality.Has(probes.ClockUnset) {
			t.Errorf("nothing tells that the result was dated later: %v, %v", first.Info, first.Quality)
		}
	})
}

func TestAClockThatIsNeverSetHoldsNothingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock() // a bubble begins in 2000
		waiting := undated{clock: c}
		passed := 0
		for range maxHeld + 7 {
			r := measured(time.Second)
			c.stamp(r)
			passed += len(waiting.pass(r))
		}
		if passed != 7 {
			t.Errorf("%d results went on, want the 7 oldest beyond the bound", passed)
		}
		if got := len(waiting.flush()); got != maxHeld || len(waiting.flush()) != 0 {
			t.Errorf("%d results at the end, want %d once", got, maxHeld)
		}
	})
}
