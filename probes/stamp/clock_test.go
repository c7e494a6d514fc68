package stamp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

func TestWallClockSetDuringASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSessionClock()
		start := time.Now()
		time.Sleep(time.Second)
		if d := c.check(); d != (disturbance{}) || c.epoch() != start.UnixNano() {
			t.Errorf("undisturbed: %+v, epoch %d", d, c.epoch())
		}
		// As if the clock had shown five seconds less when the session began, and was set right since.
		c.known.Add(-int64(5 * time.Second))
		if d := c.check(); d.stepped != 5*time.Second || c.epoch() != start.UnixNano() {
			t.Errorf("set by 5s: %+v, epoch %d", d, c.epoch())
		}
		if d := c.check(); d.stepped != 0 {
			t.Errorf("told twice: %+v", d)
		}
		if got := c.time(time.Second, start.UnixNano()+1e9); !got.Equal(start.Add(2 * time.Second)) {
			t.Errorf("a moment by another epoch is %v", got)
		}
	})
}

// TestDisturbancesFlagTheirWindow takes a window out whose clocks were disturbed.
func TestDisturbancesFlagTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := probes.NewRecorder()
		config := defaults()
		l := &ledger{timeout: time.Second}
		l.open(&window{end: time.Second, counted: true, epoch: time.Now().UnixNano()})
		l.send(0, 0, 0)
		l.disturb(disturbance{stepped: -3 * time.Second, slept: 2 * time.Second})
		l.open(&window{end: 2 * time.Second, counted: true})
		w, follower := l.takeOut(5 * time.Second)
		k := &clerk{rec: rec, config: &config, clock: newSessionClock(), thread: func() string { return "" }, template: newTemplate(&config, nil, 1, newRandom())}
		k.take(w, follower, forever, true)
		r := rec.Snapshot()
		if !r.Quality.Has(probes.ClockStepped | probes.Suspended) {
			t.Errorf("quality is %v", r.Quality)
		}
		if len(r.Events) != 1 || r.Events[0].Type != probes.ClockStep || r.Events[0].Detail != "by -3s" {
			t.Errorf("events: %+v", r.Events)
		}
	})
}
