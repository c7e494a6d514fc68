package load

import (
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// emulated is a host on whose interface others move so many bytes per second down, for as long as that.
func emulated(others float64, lasts time.Duration, wait time.Duration) (Readers, *Octets) {
	start, own := time.Now(), &Octets{}
	return Readers{
		InterfaceOf: func(local netip.Addr) string { return map[string]string{"192.0.2.7": "wwan0"}[local.String()] },
		Octets: func(string) (Octets, bool) {
			return Octets{Up: own.Up, Down: own.Down + others*min(time.Since(start), lasts).Seconds()}, true
		},
		ProcessorWait: func() (time.Duration, bool) {
			return time.Duration(float64(wait) * time.Since(start).Seconds()), true
		},
	}, own
}

func TestAwaitQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		others       float64
		lasts, limit time.Duration
		takes        time.Duration
		flags        probes.Quality
	}{
		"quiet already":    {1000, time.Hour, 10 * time.Second, 500 * time.Millisecond, 0},
		"quiet after 3 s":  {1e6, 3 * time.Second, 10 * time.Second, 3500 * time.Millisecond, 0},
		"never quiet":      {1e6, time.Hour, 2 * time.Second, 2 * time.Second, probes.CrossTraffic},
		"not to be waited": {1e6, time.Hour, 0, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			host, _ := emulated(c.others, c.lasts, 0)
			s := surround(host, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1})
			rec, begun := probes.NewRecorder(), time.Now()
			s.AwaitQuiet(t.Context().Done(), c.limit, rec)
			if took := time.Since(begun); took != c.takes {
				t.Errorf("%s: waited %v, want %v", name, took, c.takes)
			}
			if got := rec.Snapshot().Quality; got != c.flags {
				t.Errorf("%s: flags %q, want %q", name, got, c.flags)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		others float64
		wait   time.Duration // per second
		flags  probes.Quality
	}{
		"alone":                 {0, 0, 0},
		"little beside much":    {1.9e6, 0, 0},
		"much":                  {2.1e6, 0, probes.CrossTraffic},
		"a busy host":           {0, 101 * time.Millisecond, probes.CPUStarved},
		"a host with some load": {0, 99 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			host, own := emulated(c.others, time.Hour, c.wait)
			s := surround(host, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1})
			s.Begin()
			time.Sleep(2 * time.Second)
			own.Down = 200e6
			rec := probes.NewRecorder()
			s.Judge(Octets{Down: 200e6}, rec)
			r := rec.Snapshot()
			if r.Quality != c.flags {
				t.Errorf("%s: flags %q, want %q", name, r.Quality, c.flags)
			}
			if !strings.HasSuffix(r.Info["other_traffic"], "on wwan0") {
				t.Errorf("%s: %v", name, r.Info)
			}
		})
	}
}

// TestProcessorIsJudgedWithoutAnInterface: over the loopback interface, and over one that has gone, nothing is said of others'
// traffic, and a host that was too busy is flagged all the same.
func TestProcessorIsJudgedWithoutAnInterface(t *testing.T) {
	for name, local := range map[string]net.Addr{
		"loopback":      &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)},
		"no IP address": &net.UnixAddr{},
		"gone":          &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)},
	} {
		synctest.Test(t, func(t *testing.T) {
			host, _ := emulated(1e6, time.Hour, 101*time.Millisecond)
			host.Octets = func(string) (Octets, bool) { return Octets{}, false }
			s := surround(host, local)
			rec, begun := probes.NewRecorder(), time.Now()
			s.AwaitQuiet(t.Context().Done(), time.Hour, rec)
			if waited := time.Since(begun); waited != 0 {
				t.Errorf("%s: waited %v for quiet that cannot be seen", name, waited)
			}
			s.Begin()
			time.Sleep(2 * time.Second)
			s.Judge(Octets{}, rec)
			r := rec.Snapshot()
			if want := map[string]string{"processor_wait": "202ms"}; r.Quality != probes.CPUStarved || !maps.Equal(r.Info, want) {
				t.Errorf("%s: flags %q, %v, want cpu_starved, %v", name, r.Quality, r.Info, want)
			}
		})
	}
}

// TestSurroundingsUnknown: a host that tells neither of interfaces nor of processors is not judged.
func TestSurroundingsUnknown(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}
	silent, _ := emulated(1e6, time.Hour, time.Second)
	silent.Octets = func(string) (Octets, bool) { return Octets{}, false }
	silent.ProcessorWait = func() (time.Duration, bool) { return 0, false }
	for _, s := range []*Surroundings{surround(Readers{}, local), surround(silent, local)} {
		rec := probes.NewRecorder()
		s.AwaitQuiet(t.Context().Done(), time.Hour, rec)
		s.Begin()
		s.Judge(Octets{}, rec)
		if r := rec.Snapshot(); s != nil || r.Quality != 0 || len(r.Info) > 0 {
			t.Errorf("%v, flags %q, %v", s, r.Quality, r.Info)
		}
	}
}
