package plan

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// rig is a plan with a clock that tests set. A bubble begins in 2000; the clock shows that moment as November 23, 2026, noon.
type rig struct {
	*Plan
	path  string
	shift time.Duration
	unset bool
	log   strings.Builder
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newRig(t *testing.T, limits map[string]Limit) *rig {
	t.Helper()
	r := &rig{path: filepath.Join(t.TempDir(), "state", "plan.json"), shift: time.Until(noon)}
	r.start(limits)
	return r
}

// start is what a new process does with the file of the one before, however that ended.
func (r *rig) start(limits map[string]Limit) {
	r.Plan = New(limits, Options{
		Path: r.path, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
		Clock: func() (time.Time, bool) { return time.Now().Add(r.shift).Round(0), !r.unset },
	})
	r.Load()
}

// set moves the clock to a moment.
func (r *rig) set(wall time.Time) { r.shift = wall.Sub(time.Now().Round(0)) }

// want checks what counts as used in the present day and month.
func (r *rig) want(t *testing.T, day, month unit.Bytes) {
	t.Helper()
	got := map[Period]unit.Bytes{}
	for _, u := range r.Usage() {
		got[u.Period] = u.Used
	}
	if diff := cmp.Diff(map[Period]unit.Bytes{Day: day, Month: month}, got); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
}

func wwan(day, month unit.Bytes) map[string]Limit { return map[string]Limit{"wwan0": {day, month}} }

// use takes bytes as a load test does.
func (r *rig) use(t *testing.T, n unit.Bytes) {
	t.Helper()
	s, err := r.Reserve("wwan0", n, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Settle(n)
}

func TestReserveChargeRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		first, err := r.Reserve("wwan0", 600, true)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Reserve("wwan0", 600, true)
		want := &Spent{Interface: "wwan0", Period: Day, Limit: 1000, Reserved: 600, Wanted: 600}
		got, ok := errors.AsType[*Spent](err)
		if !ok || *got != *want {
			t.Errorf("got %v, want %v", err, want)
		}
		if text := "the data plan of interface wwan0 allows 1kB a day: 0B are used, 600B reserved, and this may take 600B more"; want.Error() != text {
			t.Errorf("it says %q, want %q", want, text)
		}
		first.Settle(250) // less than the worst case: the rest is free again
		r.want(t, 250, 250)
		second, err := r.Reserve("wwan0", 750, true)
		if err != nil {
			t.Fatal(err)
		}
		second.Settle(800) // more than the worst case counts as well
		r.want(t, 1050, 1050)
		if _, err := r.Reserve("wwan0", 0, false); err == nil {
			t.Error("a plan that is spent lets a run without size through")
		}
		if free, err := r.Reserve("eth0", 1<<50, true); err != nil {
			t.Errorf("an interface without a plan: %v", err)
		} else {
			free.Settle(1 << 50)
		}
		r.want(t, 1050, 1050)
	})
}

func TestDayAndMonthRollOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 1500))
		r.use(t, 900)
		time.Sleep(12*time.Hour - time.Nanosecond)
		r.want(t, 900, 900)
		time.Sleep(time.Nanosecond)
		r.want(t, 0, 900)
		_, err := r.Reserve("wwan0", 700, true)
		if spent, ok := errors.AsType[*Spent](err); !ok || spent.Period != Month || spent.Used != 900 {
			t.Errorf("got %v, want a month that is spent", err)
		}
		r.use(t, 600)
		time.Sleep(7 * 24 * time.Hour) // December 1
		r.want(t, 0, 0)
		r.use(t, 1000)
		r.start(wwan(1000, 1500))
		r.want(t, 1000, 1000)
	})
}

func TestContinuousChargesWhileItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 0))
		s, err := r.Reserve("wwan0", 300, false)
		if err != nil {
			t.Fatal(err)
		}
		for i, fits := range []bool{true, true, true, false} { // 200, 400, 600, 800 + 300 reserved
			if err := s.Charge(200); (err == nil) != fits {
				t.Errorf("window %d: %v", i, err)
			}
		}
		r.SetLimits(wwan(2000, 0))
		if err := s.Charge(0); err != nil {
			t.Errorf("with a larger plan: %v", err)
		}
		r.SetLimits(nil)
		if err := s.Charge(5000); err != nil {
			t.Errorf("without a plan any more: %v", err)
		}
		s.Settle(0)
	})
}

func TestKilledBetweenReservationAndCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		r.use(t, 100)
		if _, err := r.Reserve("wwan0", 700, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(13 * time.Hour) // the next start is tomorrow: the day that was is charged, and the month
		r.start(wwan(1000, 5000))
		r.want(t, 0, 800)
		r.set(noon.Add(time.Hour))
		r.want(t, 800, 800)
		if !strings.Contains(r.log.String(), "did not end by itself") {
			t.Errorf("the log says nothing of it:\n%s", &r.log)
		}
	})
}

func TestKillLosesAtMostAMinuteOfLightProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1e6, 1e7))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for range 90 { // a byte a second
			time.Sleep(time.Second)
			r.Charge("wwan0", 1)
			r.Charge("eth0", 1)
		}
		other := newRig(t, nil)
		other.path = r.path
		other.start(wwan(1e6, 1e7))
		if got := other.Usage()[0].Used; got != 59 && got != 60 { // the byte of the minute's own second falls on either side
			t.Errorf("after a kill %d bytes are known, want those of the first minute", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.start(wwan(1e6, 1e7))
		r.want(t, 90, 90)
	})
}

func TestNothingIsWrittenWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limits := range []map[string]Limit{nil, wwan(1000, 1000)} {
			r := newRig(t, limits)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			if _, err := os.Stat(r.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("with %v and nothing used there is a file: %v", limits, err)
			}
		}
	})
}

func TestClockThatIsNotSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		r.unset = true
		r.use(t, 300)
		r.want(t, 300, 300)
		r.start(wwan(1000, 5000))
		r.unset = false
		r.want(t, 300, 300) // the first period that is known takes it over
		r.use(t, 300)
		r.unset = true
		r.start(wwan(1000, 5000)) // a boot without a clock
		r.want(t, 600, 600)
		r.use(t, 300)
		time.Sleep(40 * 24 * time.Hour)
		r.want(t, 900, 900) // no clock, no new month
		r.unset = false
		r.want(t, 0, 0) // January
	})
}

func TestClockThatSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		r.use(t, 900)
		r.set(time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)) // the date of the firmware
		r.want(t, 900, 900)
		r.use(t, 50)
		r.set(noon)
		r.want(t, 950, 950)
		r.set(noon.AddDate(0, 1, 0)) // into December, by mistake
		r.want(t, 0, 0)
		r.use(t, 40)
		r.set(noon)
		r.want(t, 990, 990) // what was used in either
		if _, err := r.Reserve("wwan0", 11, true); err == nil {
			t.Error("stepping there and back made room")
		}
		r.use(t, 10)
		r.set(noon.AddDate(0, 1, 0))
		r.want(t, 50, 50)
	})
}

func TestClockThatWasFarAheadIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		r.use(t, 100)
		r.set(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
		r.use(t, 200)
		r.set(noon)
		r.want(t, 300, 300)
		time.Sleep(23 * time.Hour)
		r.want(t, 200, 300) // a day on, and 2099 counts still
		time.Sleep(time.Hour)
		r.want(t, 200, 300) // the clock is believed: the 200 belong to this day
		r.use(t, 5)
		time.Sleep(24 * time.Hour)
		r.want(t, 0, 305)
		time.Sleep(29 * 24 * time.Hour)
		r.want(t, 0, 205) // December 24: the month is believed after 31 days, with what stood under 2099
		time.Sleep(8 * 24 * time.Hour)
		r.want(t, 0, 0)
	})
}

func TestFileThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := newRig(t, wwan(1000, 5000))
		good.use(t, 10)
		text, err := os.ReadFile(good.path)
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{
			"empty": {}, "torn": text[:len(text)/2], "zeros": make([]byte, len(text)), "one digit": []byte(strings.Replace(string(text), "10B", "11B", 1)),
		} {
			r := newRig(t, wwan(1000, 5000))
			if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(r.path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			r.start(wwan(1000, 5000))
			r.want(t, 1000, 5000)
			if !strings.Contains(r.log.String(), "remove the file to count from zero") {
				t.Errorf("%s: the log does not say what to do:\n%s", name, &r.log)
			}
			time.Sleep(24 * time.Hour)
			r.want(t, 0, 5000)
			r.set(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
			r.want(t, 0, 0)
			r.use(t, 5)
			r.start(wwan(1000, 5000))
			r.want(t, 5, 5)
		}
	})
}

func TestFileThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wwan(1000, 5000))
		folder := filepath.Dir(r.path)
		if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file where the folder should be
			t.Fatal(err)
		}
		r.start(wwan(1000, 5000))
		if got := strings.Count(r.log.String(), "cannot be read"); got != 1 {
			t.Errorf("a folder that is a file: %d lines in the log", got)
		}
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
		r.start(wwan(1000, 5000))
		if err := os.WriteFile(folder, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := r.Reserve("wwan0", 100, true); err == nil || !strings.Contains(err.Error(), "written down") {
				t.Errorf("a load test starts without its reservation on disk: %v", err)
			}
		}
		r.want(t, 0, 0)
		if r.Usage()[0].Reserved != 0 {
			t.Errorf("reservations that failed stand: %+v", r.Usage())
		}
		if _, err := r.Reserve("wwan0", 100, false); err != nil {
			t.Errorf("a latency probe: %v", err)
		}
		if got := strings.Count(r.log.String(), "cannot be written"); got != 1 {
			t.Errorf("%d lines in the log, want one:\n%s", got, &r.log)
		}
		r.path = ""
		r.start(wwan(1000, 5000))
		if _, err := r.Reserve("wwan0", 100, true); !errors.Is(err, errNowhere) {
			t.Errorf("without a folder: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	s := saved{Version: version, Interfaces: map[string]*savedAccount{"wwan0": {
		Day: &ledger{Used: map[string]unit.Bytes{"2026-11-23": 123456789, "": 5}, Behind: time.Hour}, Month: newLedger(), Reserved: 7,
	}}}
	text, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"interfaces":{"a":null}}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, text := range [][]byte{text, append(append(text, '\n'), checksum(text)...)} {
			s, err := parse(text)
			if err != nil {
				continue
			}
			again, err := s.encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := parse(again)
			if err != nil {
				t.Fatalf("cannot read what was written: %v", err)
			}
			if diff := cmp.Diff(s, back); diff != "" {
				t.Error(diff)
			}
			p := New(map[string]Limit{"wwan0": {1000, 5000}}, Options{Clock: func() (time.Time, bool) { return noon, true }, Log: slog.New(slog.DiscardHandler)})
			p.restoreLocked(s)
			p.Usage()
		}
	})
}
