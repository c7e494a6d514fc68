//go:build netns

package e2e

import (
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// load starts a load test at a site, whose Result goes to its output.
func (l *faultyLink) load(more ...string) *daemon {
	l.t.Helper()
	argv := append([]string{program(l.t), "probe", "throughput", "10.77.0.2", "--site", "depot", "--json"}, more...)
	return start(l.t, in(l.near, argv...)...)
}

// TestNetnsLoadTestsTakeTurns: of three that are started at once each has the link to itself. A holder that stands still, as
// one whose host has lost its power does, is not waited for longer than its lease's time to live.
func TestNetnsLoadTestsTakeTurns(t *testing.T) {
	l := newFaultyLink(t)
	for _, test := range []*daemon{l.load("--duration", "1s"), l.load("--duration", "1s"), l.load("--duration", "1s")} {
		if r := l.result(test); r.Outcome != probes.OK || r.Info["lease"] != "granted" {
			t.Errorf("%s (%s), lease %q", r.Outcome, r.Error, r.Info["lease"])
		}
	}
	holder := l.load("--duration", "60s")
	l.untilFlows(5e6)
	next := l.load("--volume", "2MB")
	next.waitFor(t, "waiting for a lease", patience)
	if err := holder.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	r := l.result(next)
	t.Logf("the next one was through %v after the holder stood still", time.Since(stopped).Round(10*time.Millisecond))
	if took := time.Since(stopped); r.Outcome != probes.OK || took > 15*time.Second {
		t.Errorf("%s (%s), after %v", r.Outcome, r.Error, took)
	}
	holder.kill()
	l.reflector.waitFor(t, `lease ended.*nothing has been heard of the holder of the lease for 5s`, patience)
	var course []string
	for _, m := range regexp.MustCompile(`msg="lease (\w+)"`).FindAllStringSubmatch(l.reflector.output(), -1) {
		course = append(course, m[1])
	}
	want := slices.Repeat([]string{"granted", "ended"}, 5)
	if n := len(course); n < 9 || !slices.Equal(course, want[:n]) {
		t.Errorf("leases were %v, want %v", course, want)
	}
}
