package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// counted is what the counters are to say of so many attempts.
func counted(sent, received, lost, ratio float64) map[string]float64 {
	return map[string]float64{"packets_sent": sent, "packets_received": received, "packets_lost": lost, "loss_ratio": ratio}
}

func TestAttempts(t *testing.T) {
	lost, odd, odder := errors.New("lost"), errors.New("odd"), errors.New("odder")
	took := func(d time.Duration, err error) func(*Attempts) error {
		return func(*Attempts) error {
			time.Sleep(d)
			return err
		}
	}
	wrong := func(says, err error) func(*Attempts) error {
		return func(a *Attempts) error {
			a.Wrong(says)
			return err
		}
	}
	good := took(0, nil)
	every := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}
	for name, test := range map[string]struct {
		attempts []func(*Attempts) error
		starts   []time.Duration
		values   map[string]float64
		err      error
	}{
		"answered":                {[]func(*Attempts) error{good, good, good, good}, every, counted(4, 4, 0, 0), nil},
		"the last alone answered": {[]func(*Attempts) error{took(0, odd), took(0, odd), took(0, lost), good}, every, counted(4, 1, 3, 0.75), nil},
		"none answered":           {[]func(*Attempts) error{took(0, odd), took(0, odd), took(0, odd), took(0, lost)}, every, counted(4, 0, 4, 1), lost},
		"a wrong answer":          {[]func(*Attempts) error{good, wrong(odd, nil), wrong(odder, nil), took(0, lost)}, every, counted(4, 3, 1, 0.25), odd},
		"wrong and lost":          {[]func(*Attempts) error{good, wrong(odd, odd), wrong(odder, nil), good}, every, counted(4, 3, 1, 0.25), odd},
		"as long as the interval": {[]func(*Attempts) error{took(time.Second, nil), took(time.Second, lost), good, good}, every, counted(4, 3, 1, 0.25), nil},
		"one slow": {
			[]func(*Attempts) error{took(2500*time.Millisecond, nil), good, good, good},
			[]time.Duration{0, 2500 * time.Millisecond, 2500 * time.Millisecond, 3 * time.Second},
			counted(4, 4, 0, 0), nil,
		},
		"none to make": {nil, nil, map[string]float64{"packets_sent": 0, "packets_received": 0, "packets_lost": 0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := probes.NewRecorder()
				a := &Attempts{Recorder: r, Count: len(test.attempts), Interval: time.Second}
				var starts []time.Duration
				begin := time.Now()
				err := a.Run(t.Context(), func(context.Context) error {
					starts = append(starts, time.Since(begin))
					return test.attempts[len(starts)-1](a)
				})
				if got := r.Snapshot().Values; !errors.Is(err, test.err) || (err == nil) != (test.err == nil) || !maps.Equal(got, test.values) || !slices.Equal(starts, test.starts) {
					t.Errorf("%v, %v, attempts after %v; want %v, %v, %v", err, got, starts, test.err, test.values, test.starts)
				}
			})
		})
	}
}

// TestAttemptsAreCutShort: the run ends while it waits, or in an attempt, which then is neither answered nor lost.
func TestAttemptsAreCutShort(t *testing.T) {
	for name, test := range map[string]struct {
		after  time.Duration
		err    error // of the attempt under way
		values map[string]float64
	}{
		"before the first":     {0, nil, map[string]float64{"packets_sent": 0, "packets_received": 0, "packets_lost": 0}},
		"while it waits":       {2700 * time.Millisecond, nil, counted(3, 3, 0, 0)},
		"in one that fails":    {1300 * time.Millisecond, errors.New("cut short"), counted(1, 1, 0, 0)},
		"in one that succeeds": {1300 * time.Millisecond, nil, counted(1, 1, 0, 0)},
		"in the last":          {3300 * time.Millisecond, nil, counted(3, 3, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), test.after, probes.Fail(probes.Canceled, "enough"))
				defer cancel()
				r := probes.NewRecorder()
				a := &Attempts{Recorder: r, Count: 4, Interval: time.Second}
				begin := time.Now()
				err := a.Run(ctx, func(ctx context.Context) error {
					limited, stop := context.WithTimeout(ctx, 600*time.Millisecond)
					defer stop()
					<-limited.Done()
					if ctx.Err() != nil {
						return test.err
					}
					return nil
				})
				if got := r.Snapshot().Values; err == nil || err.Error() != "enough" || time.Since(begin) != test.after || !maps.Equal(got, test.values) {
					t.Errorf("%v after %v: %v, want %v", err, time.Since(begin), got, test.values)
				}
			})
		})
	}
}

func TestAccount(t *testing.T) {
	r := probes.NewRecorder()
	Account(r, 0, 0)
	if got, want := r.Snapshot().Values, map[string]float64{"packets_sent": 0, "packets_received": 0, "packets_lost": 0}; !maps.Equal(got, want) {
		t.Errorf("before anything was sent: %v, want %v", got, want)
	}
	Account(r, 8, 6)
	if got, want := r.Snapshot().Values, counted(8, 6, 2, 0.25); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
