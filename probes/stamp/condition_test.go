package stamp

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// TestConditionOfTheFarEnd has leases come and go at the far end, and its socket lose packets, and holds each window
// against what happened in it.
func TestConditionOfTheFarEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		within := func(from, to time.Duration) bool { at := time.Since(start); return at >= from && at < to }
		far := &Reflector{
			Leases: func() int {
				if within(1200*ms, 1700*ms) {
					return 2
				}
				return 0
			},
			lost: func() uint64 {
				if time.Since(start) >= 4500*ms {
					return 7
				}
				return 0
			},
		}
		c := defaults()
		c.Window = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 7500*ms)
		defer cancel()
		r := newPath(constant(10*ms), constant(10*ms)).measure(ctx, t, c, far)
		want := []struct {
			quality probes.Quality
			leases  string
		}{
			{0, ""},
			{probes.LoadConcurrent, "2"},
			{0, ""},
			{0, ""},
			{probes.FarEndLate, ""},
			{probes.FarEndLate, ""},
			{0, ""},
		}
		for i, w := range want {
			if got := r[i].Quality &^ probes.UserStamps; got != w.quality || r[i].Info["leases"] != w.leases {
				t.Errorf("window %d: quality %q and %q leases, want %q and %q", i, got, r[i].Info["leases"], w.quality, w.leases)
			}
		}
	})
}

// TestConditionIsAskedForByExtensionsOnly holds the packet against the configuration, and a reflector without ours against
// the result.
func TestConditionIsAskedForByExtensionsOnly(t *testing.T) {
	question := unhex(t, "80 F8 0008 6E727001 00 00 0000")
	for _, c := range []struct {
		size int
		tlvs bool
		want bool
	}{{200, true, true}, {200, false, false}, {60, true, false}} {
		packet := newTemplate(&Config{Size: c.size, TLVs: c.tlvs}, nil, 7, newRandom()).packet
		if got := bytes.Contains(packet, question); got != c.want {
			t.Errorf("%d octets, extensions %t: asked %t", c.size, c.tlvs, got)
		}
	}
	for _, unknown := range []string{"80 F8 0008 6E727001 80 00 0005", "00 F8 0008 6E727002 80 00 0005", "00 F8 0007 6E727001 80 00 05"} {
		var x extensions
		x.read(append(make([]byte, baseSize), unhex(t, unknown)...), nil)
		if x.condition != (condition{}) {
			t.Errorf("%s was read as %+v", unknown, x.condition)
		}
	}
	var x extensions
	x.read(append(make([]byte, baseSize), unhex(t, "00 F8 0008 6E727001 80 00 0005")...), nil)
	if want := (condition{late: true, leases: 5}); x.condition != want {
		t.Errorf("read %+v, want %+v", x.condition, want)
	}
}

// TestLookout holds when a reflector says that it is late, to the nanosecond.
func TestLookout(t *testing.T) {
	lost, leases := uint64(0), 70000
	w := lookout{lost: func() uint64 { return lost }, leases: func() int { return leases }}
	for _, step := range []struct {
		at     time.Duration
		waited time.Duration
		do     func()
		want   condition
	}{
		{at: 0, want: condition{leases: 65535}},
		{at: 1, waited: lateAfter, do: func() { leases = 3 }, want: condition{leases: 65535}},
		{at: 2, waited: lateAfter + 1, want: condition{late: true, leases: 65535}},
		{at: lookAfter - 1, want: condition{late: true, leases: 65535}},
		{at: lookAfter, want: condition{late: true, leases: 3}},
		{at: lateFor + 1, want: condition{late: true, leases: 3}},
		{at: lateFor + 2, want: condition{leases: 3}},
		{at: 5 * time.Second, do: func() { lost++ }, want: condition{leases: 3}},
		{at: 5*time.Second + lookAfter, want: condition{lost: true, leases: 3}},
		{at: 5*time.Second + lookAfter + lateFor - 1, want: condition{lost: true, leases: 3}},
		{at: 5*time.Second + lookAfter + lateFor, want: condition{leases: 3}},
	} {
		w.saw(int64(step.at), step.waited)
		if got := w.condition(int64(step.at)); got != step.want {
			t.Errorf("at %v: %+v, want %+v", step.at, got, step.want)
		}
		if step.do != nil {
			step.do()
		}
	}
}

// TestAFarEndThatIsLate: what it kept waiting makes a result doubtful only where the wait is not known.
func TestAFarEndThatIsLate(t *testing.T) {
	for name, c := range map[string]struct {
		condition  condition
		departures uint64 // of 100 replies
		want       probes.Quality
	}{
		"on time":                       {condition{}, 0, 0},
		"late, departures not known":    {condition{late: true}, 98, probes.FarEndLate},
		"late, departures known":        {condition{late: true}, 99, 0},
		"lost, departures known":        {condition{lost: true}, 100, probes.FarEndLate},
		"load tests, departures known":  {condition{leases: 1}, 100, probes.LoadConcurrent},
		"recovered packets beside them": {condition{late: true}, 101, 0},
	} {
		rec := probes.NewRecorder()
		(&clerk{rec: rec}).judgeFarEnd(&window{condition: c.condition}, &counts{received: 100, departures: c.departures})
		if got := rec.Snapshot().Quality; got != c.want {
			t.Errorf("%s: quality %q, want %q", name, got, c.want)
		}
	}
}
