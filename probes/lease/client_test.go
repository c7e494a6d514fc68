package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestTenAtOnce: they have the lease one after the other, in the order in which they asked, and each hears of every step
// that it comes nearer.
func TestTenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const test = 10 * time.Second
		begun := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			env := w.agent(netsim.State{Delay: owd}, "depot")
			all.Go(func() {
				time.Sleep(time.Duration(i) * ms)
				var told []int
				r := w.request(env)
				r.Told = func(position int) { told = append(told, position) }
				l, err := r.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				// The lease of the one before is given back with one message, and granted with another.
				if got, want := time.Since(begun), 2*rtt+time.Duration(i)*(test+rtt); got != want {
					t.Errorf("agent %d has its lease after %v, want %v", i, got, want)
				}
				if active := w.book.Active(); active != 1 {
					t.Errorf("%d leases at once", active)
				}
				time.Sleep(test)
				if err := context.Cause(l.Lost()); err != nil {
					t.Errorf("agent %d: %v", i, err)
				}
				l.Release()
				var want []int
				for p := i; p > 0; p-- {
					want = append(want, p)
				}
				if !slices.Equal(told, want) {
					t.Errorf("agent %d was told the positions %v, want %v", i, told, want)
				}
			})
		}
		all.Wait()
		w.checkFree()
		if s := w.book.Stats(); s != (lease.Stats{Granted: 10}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestHolderVanishes: its last sign of life leaves at 4.04 s, and ttl after it has arrived the next one has the lease. The
// holder, cut off, gives up at the same time.
func TestHolderVanishes(t *testing.T) {
	for _, ttl := range []time.Duration{5 * time.Second, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c *lease.Config) { c.TTL = ttl })
			begun := time.Now()
			outage := netsim.Interval{Start: 5 * time.Second, End: time.Hour}
			holder := w.agent(netsim.WithOutages(netsim.State{Delay: owd}, outage), "depot")
			next := w.agent(netsim.State{Delay: owd}, "depot")
			l := w.acquire(holder)
			beat := ttl / 5
			last := 2*rtt + (outage.Start-2*rtt)/beat*beat
			var waiting sync.WaitGroup
			waiting.Go(func() {
				own := w.acquire(next)
				if got, want := time.Since(begun), last+owd+ttl+owd; got != want {
					t.Errorf("the next one has the lease after %v, want %v", got, want)
				}
				own.Release()
			})
			<-l.Lost().Done()
			if got, want := time.Since(begun), last+rtt+ttl; got != want {
				t.Errorf("the holder gives up after %v, want %v", got, want)
			}
			if err := context.Cause(l.Lost()); probes.Classify(err) != probes.Timeout || !strings.Contains(err.Error(), fmt.Sprintf("nothing has been heard of the far end for %v", ttl)) {
				t.Errorf("lost with %v", err)
			}
			l.Release()
			waiting.Wait()
			w.checkFree()
			if s := w.book.Stats(); s != (lease.Stats{Granted: 2, Lost: 1}) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestShortOutages take no lease away: a tunnel of two seconds.
func TestShortOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var tunnels []netsim.Interval
		for at := 5 * time.Second; at < time.Minute; at += 10 * time.Second {
			tunnels = append(tunnels, netsim.Interval{Start: at, End: at + 2*time.Second})
		}
		l := w.acquire(w.agent(netsim.WithOutages(netsim.State{Delay: owd}, tunnels...), ""))
		time.Sleep(time.Minute)
		if err := context.Cause(l.Lost()); err != nil {
			t.Error(err)
		}
		l.Release()
		w.checkFree()
	})
}

// TestWaiterVanishes: nobody waits for one who is gone.
func TestWaiterVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.acquire(w.agent(netsim.State{Delay: owd}, "depot"))
		gone := w.agent(netsim.WithOutages(netsim.State{Delay: owd}, netsim.Interval{Start: 2 * time.Second, End: time.Hour}), "depot")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			r := w.request(gone)
			r.Wait = 20 * time.Second
			if _, err := r.Acquire(t.Context()); probes.Classify(err) != probes.Timeout {
				t.Errorf("who is cut off while it waits ends with %v", err)
			}
		})
		time.Sleep(time.Second)
		if s := w.book.Stats(); s.Waiting != 1 {
			t.Errorf("%+v, want one to wait", s)
		}
		time.Sleep(6 * time.Second)
		if s := w.book.Stats(); s.Waiting != 0 || s.Active != 1 {
			t.Errorf("%+v, want nobody to wait", s)
		}
		l.Release()
		waiting.Wait()
		w.checkFree()
	})
}

// endable is a context that ends at a moment of the test's choosing: before anybody who waits for that has noticed.
type endable struct {
	context.Context
	ended atomic.Bool
}

// Err implements context.Context.
func (e *endable) Err() error {
	if e.ended.Load() {
		return context.Canceled
	}
	return e.Context.Err()
}

// TestGrantedAtTheEnd: a lease that comes as the client is told to stop is given back at once.
func TestGrantedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		first := w.acquire(w.agent(netsim.State{Delay: owd}, "depot"))
		g := lease.Gate{
			Env: w.agent(netsim.State{Delay: owd}, "depot"), Target: probes.Target{Host: probetest.FarName, Port: 8620},
			Plain: true, Terms: lease.DefaultTerms(),
		}
		ctx := &endable{Context: t.Context()}
		_, _, err := g.Enter(ctx, func(string) {
			ctx.ended.Store(true)
			first.Release()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("entering: %v", err)
		}
		w.checkFree()
		if s := w.book.Stats(); s != (lease.Stats{Granted: 2}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestTimeIsOver: a lease ends when the time is over that was asked for, however lively its holder is.
func TestTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		r := w.request(w.agent(netsim.State{Delay: owd}, ""))
		r.Ask.Duration = 30 * time.Second
		l, err := r.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		granted := time.Now()
		<-l.Lost().Done()
		if got := time.Since(granted); got != 30*time.Second {
			t.Errorf("it ended after %v", got)
		}
		if err := context.Cause(l.Lost()); probes.Classify(err) != probes.Timeout || !strings.Contains(err.Error(), "the lease was for 30s, which are over") {
			t.Errorf("it ended with %v", err)
		}
		l.Release()
		w.checkFree()
	})
}

// TestReflectorRestarts: who has a lease loses it at once, who waits asks the new one.
func TestReflectorRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.acquire(w.agent(netsim.State{Delay: owd}, "depot"))
		waiter := w.agent(netsim.State{Delay: owd}, "depot")
		began := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			own := w.acquire(waiter)
			if got := time.Since(began); got < 5*time.Second || got > 6*time.Second+2*rtt {
				t.Errorf("who waits has a lease after %v, want within a second of the restart at 5s", got)
			}
			own.Release()
		})
		time.AfterFunc(2*time.Second, w.kill)
		<-l.Lost().Done()
		if got, want := time.Since(began), 2*time.Second+owd; got != want {
			t.Errorf("the lease is lost after %v, want %v", got, want)
		}
		if err := context.Cause(l.Lost()); probes.Classify(err) != probes.Error {
			t.Errorf("the lease is lost with %v", err)
		}
		l.Release()
		time.Sleep(5*time.Second - time.Since(began))
		w.running.Wait()
		w.serve(true)
		waiting.Wait()
		w.checkFree()
	})
}

func TestNoLease(t *testing.T) {
	busy := func(w *world) { w.acquire(w.agent(netsim.State{Delay: owd}, "depot")) }
	for name, c := range map[string]struct {
		before  func(*world)
		wait    time.Duration
		outcome probes.Outcome
		none    bool
		text    string
		took    time.Duration
	}{
		"an older reflector": {before: func(w *world) { w.stop(); w.serve(false) }, outcome: probes.Refused, none: true, text: "closed the connection unanswered", took: 2 * rtt},
		"nobody":             {before: (*world).stop, outcome: probes.Refused, text: "connecting to 192.0.2.1:8620", took: rtt},
		"busy":               {before: busy, outcome: probes.Busy, text: "still at position 1 of its queue after 0s (lease_wait)", took: 2 * rtt},
		"busy for long":      {before: busy, wait: 7 * time.Second, outcome: probes.Busy, text: "still at position 1 of its queue after 7s (lease_wait)", took: 2*rtt + 7*time.Second},
		"gone while waiting": {
			before: func(w *world) { busy(w); time.AfterFunc(3*time.Second+owd, w.kill) }, wait: 10 * time.Second,
			outcome: probes.Refused, text: "the reflector went away after", took: 9*time.Second + 2*rtt,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				c.before(w)
				env := w.agent(netsim.State{Delay: owd}, "depot")
				r := w.request(env)
				r.Wait = c.wait
				begun := time.Now()
				l, err := r.Acquire(t.Context())
				if l != nil || err == nil || probes.Classify(err) != c.outcome || errors.Is(err, lease.ErrNone) != c.none || !strings.Contains(err.Error(), c.text) {
					t.Errorf("got %v, %s (%v)", l, probes.Classify(err), err)
				}
				if got := time.Since(begun); got < c.took || got > c.took+time.Second {
					t.Errorf("it took %v, want about %v", got, c.took)
				}
				if n := env.Net.(*netsim.Host).Sockets(); n > 0 {
					t.Errorf("%d sockets are left open", n)
				}
			})
		})
	}
}

// TestStrangers: what connects to either end and does not behave is gone in time, and has had no lease.
func TestStrangers(t *testing.T) {
	frame := func(text string) string { return string([]byte{byte(len(text) >> 8), byte(len(text))}) + text }
	for name, text := range map[string]string{
		"silence": "", "garbage": "\x00\x05abcde", "a large length": "\xff\xff" + strings.Repeat("a", 100),
		"an answer": frame(`{"queued":{"position":1,"ttl":5000000000}}`), "alive first": frame(`{"alive":{}}`),
		"garbage after an ask": frame(`{"ask":{"version":1}}`) + "\x00\x02xx", "two asks": frame(`{"ask":{"version":1}}`) + frame(`{"ask":{"version":1}}`),
		"silence after an ask": frame(`{"ask":{"version":1}}`),
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			c, err := w.agent(netsim.State{Delay: owd}, "").Net.Dial(t.Context(), "tcp", probetest.FarAddress4+":8620")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begun := time.Now()
			if _, err := io.WriteString(c, "nrpLEAS1"+text); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(c) // however it ends
			if took := time.Since(begun); len(answer) > 1000 || took > 5*time.Second+rtt {
				t.Errorf("%s: %d bytes of answer after %v", name, len(answer), took)
			}
			w.checkFree()
		})
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.stop()
			l, err := w.far.Listen(t.Context(), "tcp", ":8620")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() {
				probetest.Accept(l, func(c net.Conn) {
					_, _ = io.WriteString(c, text)
					_, _ = io.Copy(io.Discard, c) // until it has gone
				})
			})
			begun := time.Now()
			r := w.request(w.agent(netsim.State{Delay: owd}, ""))
			r.Wait = 20 * time.Second
			if _, err := r.Acquire(t.Context()); err == nil {
				t.Errorf("%s: got a lease", name)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("%s: gave up after %v", name, took)
			}
			_ = l.Close()
			serving.Wait()
		})
	}
}

// TestOneClientTakesNotAll: a client that makes up sites leaves room for others.
func TestOneClientTakesNotAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		env := w.agent(netsim.State{Delay: owd}, "")
		for i := range lease.Defaults().Total {
			env.Site = fmt.Sprint("made-up-", i)
			r := w.request(env)
			r.Wait = 0
			if l, err := r.Acquire(t.Context()); err == nil {
				defer l.Release()
			} else if probes.Classify(err) != probes.Busy {
				t.Error(err)
			}
		}
		if got, want := w.book.Active(), lease.Defaults().Total/2; got != want {
			t.Errorf("it holds %d leases, want %d", got, want)
		}
		other := w.acquire(w.agent(netsim.State{Delay: owd}, "depot"))
		if other.Waited != 0 {
			t.Errorf("another site waited %v", other.Waited)
		}
		other.Release()
	})
}
