package lease

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

func book(change func(*Config)) *Book {
	c := Defaults()
	change(&c)
	return NewBook(c, slog.New(slog.DiscardHandler))
}

// standing says where each entry stands: 0 for a lease, else its position as its client was told last.
func standing(entries []*entry) (list []int) {
	for _, e := range entries {
		m := <-e.news
		switch {
		case m.Granted != nil:
			list = append(list, 0)
		default:
			list = append(list, m.Queued.Position)
		}
		e.news <- m
	}
	return list
}

// from is the address of one of many hosts.
func from(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

// TestWhoIsNext: asks arrive in the order given, as site:rate, each from an address of its own, or as site@host; then those
// named leave, one after the other.
func TestWhoIsNext(t *testing.T) {
	type step struct {
		leaves int // index of who leaves; the rest stand as they do then
		want   string
	}
	for name, c := range map[string]struct {
		config func(*Config)
		asks   string
		first  string
		then   []step
	}{
		"one of a site at a time, in order": {
			func(*Config) {}, "a a a a", "0 1 2 3",
			[]step{{0, "- 0 1 2"}, {2, "- 0 - 1"}, {1, "- - - 0"}},
		},
		"sites do not wait for each other": {
			func(*Config) {}, "a a b b a c", "0 1 0 1 2 0",
			[]step{{2, "0 1 - 0 2 0"}, {0, "- 0 - 0 1 0"}},
		},
		"two of a site": {
			func(c *Config) { c.PerSite = 2 }, "a a a a", "0 0 1 2",
			[]step{{1, "0 - 0 1"}},
		},
		"no more than the total": {
			func(c *Config) { c.Total = 2 }, "a b c a d", "0 0 1 1 2",
			[]step{{0, "- 0 0 1 2"}, {1, "- - 0 0 1"}, {3, "- - 0 - 0"}},
		},
		"a place for all together is not given to whoever came later": {
			func(c *Config) { c.Rate = 100 }, "a:60 b:60 c:40 d:0", "0 1 2 3",
			[]step{{0, "- 0 0 1"}, {1, "- - 0 1"}, {2, "- - - 0"}},
		},
		"a test that names no rate counts as assumed": {
			func(c *Config) { c.Rate, c.AssumedRate = 100, 50 }, "a b c", "0 0 1",
			[]step{{1, "0 - 0"}},
		},
		"a test with more than all the rate runs alone": {
			func(c *Config) { c.Rate = 100 }, "a:1000 b:1", "0 1",
			[]step{{0, "- 0"}},
		},
		"an address has half of the places, and is overtaken by others": {
			func(c *Config) { c.Total = 4 }, "a@1 b@1 c@1 d@1 e@2 f@3 g@2", "0 0 1 2 0 0 1",
			[]step{{4, "0 0 1 2 - 0 0"}, {0, "- 0 0 1 - 0 0"}, {1, "- - 0 0 - 0 0"}},
		},
		"a site that an address makes up keeps nobody waiting": {
			func(c *Config) { c.Total = 2 }, "a@1 b@1 b@2 b@2", "0 1 0 1",
			[]step{{2, "0 1 - 0"}, {0, "- 1 - 0"}, {3, "- 0 - -"}},
		},
		"who waits for its site takes no place of its address": {
			func(c *Config) { c.Total = 4 }, "a@1 a@1 a@1 b@1 c@1", "0 1 2 0 3",
			[]step{{0, "- 0 1 0 2"}, {3, "- 0 1 - 0"}},
		},
		"one place in all": {
			func(c *Config) { c.Total = 1 }, "a@1 b@1 c@2", "0 1 1",
			[]step{{0, "- 0 1"}},
		},
		"what a site may have its address may": {
			func(c *Config) { c.Total, c.PerSite = 4, 4 }, "a@1 a@1 a@1 a@1 a@1", "0 0 0 0 1",
			[]step{{2, "0 0 - 0 0"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := book(c.config)
			var entries []*entry
			for i, text := range strings.Fields(c.asks) {
				text, host, shared := strings.Cut(text, "@")
				client := from(100 + i)
				if n, err := strconv.Atoi(host); shared && err == nil {
					client = from(n)
				}
				site, rate, _ := strings.Cut(text, ":")
				ask := Ask{Version: 1, Site: site}
				if rate != "" {
					if _, err := fmt.Sscan(rate, &ask.Rate); err != nil {
						t.Fatal(err)
					}
				}
				e, no := b.enter(client, ask)
				if no != nil {
					t.Fatalf("ask %d is refused: %s", i, no.Text)
				}
				entries = append(entries, e)
			}
			gone := map[int]bool{}
			check := func(want string) {
				t.Helper()
				var got []string
				for i, at := range standing(entries) {
					if gone[i] {
						got = append(got, "-")
					} else {
						got = append(got, fmt.Sprint(at))
					}
				}
				if got := strings.Join(got, " "); got != want {
					t.Errorf("they stand at %s, want %s", got, want)
				}
				if held := strings.Count(want, "0"); b.Active() != held {
					t.Errorf("%d leases, want %d", b.Active(), held)
				}
			}
			check(c.first)
			for _, s := range c.then {
				b.leave(entries[s.leaves], nil)
				gone[s.leaves] = true
				check(s.want)
			}
		})
	}
}

func TestAsksThatAreRefused(t *testing.T) {
	for want, c := range map[string]struct {
		config func(*Config)
		before int // how many have asked already
		ask    Ask
	}{
		"invalid: version 2 of the lease protocol is not spoken here: want 1":                                                        {func(*Config) {}, 0, Ask{Version: 2}},
		"refused: a load test of 11m0s is longer than the 10m0s that are granted (leases.max_duration)":                              {func(*Config) {}, 0, Ask{Version: 1, Duration: 11 * time.Minute}},
		"refused: a load test of 2000000 bytes is more than the 1MB that are granted (leases.max_bytes)":                             {func(c *Config) { c.MaxBytes = 1e6 }, 0, Ask{Version: 1, Bytes: 2e6}},
		"busy: 1 load tests are waiting, as many as may: come back later":                                                            {func(c *Config) { c.Queue = 1 }, 2, Ask{Version: 1}},
		"busy: 0 load tests are waiting, as many as may: come back later":                                                            {func(c *Config) { c.Queue = 0 }, 1, Ask{Version: 1}},
		"busy: 100 load tests of 10.0.0.1/32 are waiting, as many as may of one address (leases.queue_per_address): come back later": {func(*Config) {}, 101, Ask{Version: 1}},
		"busy: 3 load tests of 10.0.0.1/32 are waiting, as many as may of one address (leases.queue_per_address): come back later":   {func(c *Config) { c.QueuePerAddress = 3 }, 4, Ask{Version: 1}},
	} {
		b := book(c.config)
		for range c.before {
			if _, no := b.enter(from(1), Ask{Version: 1}); no != nil {
				t.Fatal(no)
			}
		}
		before := b.Stats()
		_, no := b.enter(from(1), c.ask)
		if no == nil {
			t.Errorf("granted, want %s", want)
			continue
		}
		if got := no.Outcome + ": " + no.Text; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		after := b.Stats()
		if after.Refused != 1 || after.Active != before.Active || after.Waiting != before.Waiting {
			t.Errorf("%s: %+v after %+v", want, after, before)
		}
	}
}

func TestSitesWithoutNames(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := siteOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is at %s, want %s", address, got, want)
		}
	}
	if got := siteOf(netip.Addr{}); got != "unknown" {
		t.Errorf("no address is at %s", got)
	}
}

// TestSessionsEndWithTheirLease, and are refused when it is not there.
func TestSessionsEndWithTheirLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book(func(*Config) {})
		e, no := b.enter(netip.MustParseAddr("10.0.0.1"), Ask{Version: 1})
		if no != nil {
			t.Fatal(no)
		}
		bound, release, err := b.Bind(t.Context(), e.id)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		free, freed, err := b.Bind(t.Context(), "")
		if err != nil || free != t.Context() {
			t.Errorf("a session without a lease: %v", err)
		}
		defer freed()
		b.leave(e, probes.Fail(probes.Timeout, "silence"))
		synctest.Wait()
		if err := context.Cause(bound); err == nil || probes.Classify(err) != probes.Timeout || err.Error() != "silence" {
			t.Errorf("the session ended with %v", err)
		}
		for _, id := range []string{e.id, "guess"} {
			if _, _, err := b.Bind(t.Context(), id); probes.Classify(err) != probes.Refused {
				t.Errorf("binding to %q: %v", id, err)
			}
		}
		if want := (Stats{Granted: 1, Lost: 1}); b.Stats() != want {
			t.Errorf("%+v, want %+v", b.Stats(), want)
		}
	})
}

func TestRequiredLeases(t *testing.T) {
	b := book(func(c *Config) { c.Required = true })
	if _, _, err := b.Bind(t.Context(), ""); probes.Classify(err) != probes.Refused || !strings.Contains(err.Error(), "leases.required") {
		t.Errorf("a session without a lease: %v", err)
	}
	holder, no := b.enter(netip.MustParseAddr("::ffff:10.0.0.1").Unmap(), Ask{Version: 1})
	if no != nil {
		t.Fatal(no)
	}
	outcomes := func() (list []probes.Outcome) {
		for _, client := range []string{"10.0.0.1:5555", "[::ffff:10.0.0.1]:5555", "10.0.0.2:5555", "nonsense"} {
			list = append(list, probes.Classify(b.Admit(client)))
		}
		return list
	}
	ok, refused := probes.OK, probes.Refused
	if got := outcomes(); !slices.Equal(got, []probes.Outcome{ok, ok, refused, refused}) {
		t.Errorf("while one has a lease: %v", got)
	}
	b.leave(holder, nil)
	if got := outcomes(); !slices.Equal(got, []probes.Outcome{refused, refused, refused, refused}) {
		t.Errorf("after it: %v", got)
	}
}

// TestNoBook: where no leases are granted none is wanted.
func TestNoBook(t *testing.T) {
	var b *Book
	if b.Active() != 0 || b.Admit("10.0.0.1:1") != nil {
		t.Error("a reflector without a book wants leases")
	}
	if _, release, err := b.Bind(t.Context(), "any"); err != nil {
		t.Error(err)
	} else {
		release()
	}
}

// TestFleetBehindOneAddress: as many agents of one site as an ordinary fleet has ask at once, and have their turns in order.
func TestFleetBehindOneAddress(t *testing.T) {
	b := book(func(*Config) {})
	var fleet []*entry
	for n := range 30 {
		e, no := b.enter(from(1), Ask{Version: 1, Site: "a"})
		if no != nil {
			t.Fatalf("agent %d: %s", n, no.Text)
		}
		fleet = append(fleet, e)
	}
	for n, e := range fleet {
		for at, got := range standing(fleet[n:]) {
			if got != at {
				t.Fatalf("when %d have left, agent %d stands at %d, want %d", n, n+at, got, at)
			}
		}
		b.leave(e, nil)
	}
}
