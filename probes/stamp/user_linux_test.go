package stamp

import (
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// TestUserStampsWhenAsked: the queues of both hosts count, so no end takes a departure from its kernel; losses keep their
// directions.
func TestUserStampsWhenAsked(t *testing.T) {
	at := serveLoopback(t, "127.0.0.1:0", &Reflector{})
	c := defaults()
	c.Count, c.Interval, c.Stamps = 30, 100*ms, stampsUser
	r := measureLoopback(t, at.Addr().String(), at.Port(), c)
	if stamps := r.Info["stamps"]; !strings.HasPrefix(stamps, "T1=user,") || !strings.HasSuffix(stamps, "T3=user,T4=user") || !r.Quality.Has(probes.UserStamps) {
		t.Errorf("stamps %q, flags %v", stamps, r.Quality)
	}
	if r.Outcome != probes.OK || r.Values["packets_received"] != r.Values["packets_sent"] || strings.Contains(r.Info["missing"], "direction") {
		t.Errorf("%s: %s; %v, missing %q", r.Outcome, r.Error, r.Values["packets_received"], r.Info["missing"])
	}
}
