package quic

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// device has several interfaces, each of which is a host of the emulated network.
type device struct {
	*netsim.Host
	others map[string]*netsim.Host
}

// On implements probes.InterfaceNetwork.
func (d device) On(where string) (probes.Network, error) {
	if h := d.others[where]; h != nil {
		return h, nil
	}
	return nil, probes.Fail(probes.Unreachable, "there is no interface %q", where)
}

// twoLinks is a measurement of a device whose first interface is 10 ms away from the far end.
type twoLinks struct {
	server   server
	up, down netsim.Profile // of the second interface
	change   func(*Config)
}

func (l twoLinks) measure(t *testing.T) (r *probes.Result, began time.Time) {
	t.Helper()
	b := probetest.NewBench(t, nil, nil)
	second, nowhere := b.Net.Host("wwan1", "198.51.100.2"), b.Net.Host("wwan2", "203.0.113.2")
	b.Net.Connect(second, b.Far, l.up, l.down)
	b.Serve(l.server.run)
	b.Env.Net = device{Host: b.Edge, others: map[string]*netsim.Host{"wwan1": second, "wwan2": nowhere}}
	config := defaults()
	config.MigrateTo = "wwan1"
	if l.change != nil {
		l.change(&config)
	}
	began = time.Now()
	r = b.Measure(t.Context(), Kind(), &config, probetest.FarName)
	if open := second.Sockets(); open != 0 {
		t.Errorf("%d sockets were left open", open)
	}
	return r, began
}

func delay(d time.Duration) netsim.Profile { return netsim.State{Delay: d} }

// TestMigration: datagrams leave 20 ms after the start, when the handshake is complete, and every 50 ms. The path is
// probed 12.5 ms after the eleventh, at 532.5 ms.
func TestMigration(t *testing.T) {
	for _, test := range []struct {
		name               string
		up, down           time.Duration
		after, valid, gap  float64
		switched           time.Duration
		before, afterCount uint64
	}{
		// The 12th leaves at 570 ms over the old path, and is back at 590. The path is valid at 592.5. The 13th leaves at
		// 620, and is back 60 ms later.
		{"to a slower link", 30 * time.Millisecond, 30 * time.Millisecond, 0.06, 0.06, 0.04, 592500 * time.Microsecond, 12, 8},
		{"to a faster link", 5 * time.Millisecond, 5 * time.Millisecond, 0.01, 0.01, 0, 542500 * time.Microsecond, 11, 9},
		{"to a lopsided link", 35 * time.Millisecond, 5 * time.Millisecond, 0.04, 0.04, 0.02, 572500 * time.Microsecond, 12, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, began := twoLinks{server: echoServer(), up: delay(test.up), down: delay(test.down)}.measure(t)
				if r.Outcome != probes.OK || r.Error != "" {
					t.Fatalf("%s: %s", r.Outcome, r.Error)
				}
				probetest.Expect(t, r, map[string]float64{
					"path_validation_seconds": test.valid, "migration_gap_seconds": test.gap, "packets_sent": 20, "packets_lost": 0,
					"rtt_before_min_seconds": 0.02, "rtt_after_min_seconds": test.after, "rtt_after_max_seconds": test.after, "resumed_seconds": 0.02,
				})
				if before, after := r.Hists["rtt_before"].Count(), r.Hists["rtt_after"].Count(); before != test.before || after != test.afterCount {
					t.Errorf("%d datagrams before and %d after, want %d and %d", before, after, test.before, test.afterCount)
				}
				if r.Info["stream_echoes"] != "20 of 20" {
					t.Errorf("stream echoes: %s", r.Info["stream_echoes"])
				}
				if len(r.Events) != 1 || r.Events[0].Type != probes.Migration {
					t.Fatalf("events: %+v", r.Events)
				}
				e := r.Events[0]
				if at := e.Time.Sub(began); at != test.switched || e.Duration.Seconds() != test.gap || !strings.HasPrefix(e.Detail, "to wwan1, path valid after ") {
					t.Errorf("after %v: %+v", at, e)
				}
			})
		})
	}
}

func TestMigrationFails(t *testing.T) {
	dead := netsim.State{Delay: 10 * time.Millisecond, Loss: 1}
	// The path is valid at 592.5 ms, and dead soon after that.
	dies := netsim.WithOutages(delay(30*time.Millisecond), netsim.Interval{Start: 600 * time.Millisecond, End: time.Hour})
	for name, test := range map[string]struct {
		link    twoLinks
		outcome probes.Outcome
		text    string
	}{
		"no such interface": {twoLinks{up: dead, down: dead, change: func(c *Config) { c.MigrateTo = "nope0" }}, probes.Unreachable, `migrating to nope0: there is no interface "nope0"`},
		"no route there":    {twoLinks{up: dead, down: dead, change: func(c *Config) { c.MigrateTo = "wwan2" }}, probes.Unreachable, "migrating to wwan2: dial udp"},
		"dead":              {twoLinks{up: dead, down: dead}, probes.Timeout, "no answer of far.example:8443 over wwan1 within 5s: does that interface lead there?"},
		"one way only":      {twoLinks{up: delay(0), down: dead}, probes.Timeout, "no answer of far.example:8443 over wwan1"},
		"too slow":          {twoLinks{up: delay(time.Second), down: delay(time.Second)}, probes.Timeout, "all datagrams had been sent when the new path was valid: raise count or interval"},
		"dies":              {twoLinks{up: dies, down: delay(30 * time.Millisecond)}, probes.Timeout, "none of 8 datagrams sent after that came back"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.link.server = echoServer()
				r, _ := test.link.measure(t)
				if r.Outcome != test.outcome || !strings.Contains(r.Error, test.text) {
					t.Errorf("%s: %q, want %s: %q", r.Outcome, r.Error, test.outcome, test.text)
				}
				if _, ok := r.Values["migration_gap_seconds"]; ok || len(r.Events) != 0 {
					t.Errorf("values %v, events %v of a migration that did not come about", r.Values, r.Events)
				}
			})
		})
	}
}

// TestMigrationEndsWithTheConnection: the far end hangs up while the new path is probed.
func TestMigrationEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rude := echoServer()
		serve := rude.serve
		rude.serve = func(ctx context.Context, c *quicgo.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
			defer cancel()
			_ = serve(ctx, c)
			return c.CloseWithError(7, "go away")
		}
		r, began := twoLinks{server: rude, up: netsim.State{Loss: 1}, down: delay(0)}.measure(t)
		if r.Outcome != probes.Refused || !strings.Contains(r.Error, "ended the connection") {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestMigrationNeedsWhatItNeeds(t *testing.T) {
	config := defaults()
	config.MigrateTo, config.Count = "wwan1", 3
	if _, err := Kind().Build(&config, probetest.Env(t, nil), probes.Target{}); err == nil || !strings.HasPrefix(err.Error(), "count: 3 datagrams are too few") {
		t.Errorf("got %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := setting{server: echoServer(), change: func(c *Config) { c.MigrateTo = "wwan1" }}.measure(t)
		if r.Outcome != probes.Error || r.Error != "migrate_to: this network has one interface only" {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
	})
}
