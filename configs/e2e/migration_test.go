//go:build netns

package e2e

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// addLink joins the namespaces of a link by a second pair, wwan1 10.78.0.1 and eth1 10.78.0.2, and lets the far end's first
// address be reached over either: by wwan1 through the far end's second one.
func (l link) addLink(t *testing.T) {
	t.Helper()
	for _, line := range []string{
		"ip link add wwan1 netns " + l.near + " type veth peer name eth1 netns " + l.far,
		"ip -n " + l.near + " addr add 10.78.0.1/24 dev wwan1",
		"ip -n " + l.far + " addr add 10.78.0.2/24 dev eth1",
		"ip -n " + l.near + " link set wwan1 up",
		"ip -n " + l.far + " link set eth1 up",
		"ip -n " + l.near + " route add 10.77.0.2/32 via 10.78.0.2 dev wwan1 metric 500",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
}

// received is how many packets an interface of the near end has received, as its kernel counts them.
func (l link) received(t *testing.T, name string) int {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", l.near, "cat", "/sys/class/net/"+name+"/statistics/rx_packets").Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNetnsMigration moves a QUIC connection from one interface to another, to a real reflector. The kernel's counters say
// which way the packets went.
func TestNetnsMigration(t *testing.T) {
	l := newLink(t)
	l.addLink(t)
	reflector := start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...)
	reflector.waitFor(t, `ready`, patience)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, where := range []string{"wwan1", "10.78.0.1"} {
		first, second := l.received(t, "wwan0"), l.received(t, "wwan1")
		stdout, stderr, code := run(t, in(l.near, program(t), "probe", "quic", "10.77.0.2", "--interface", "wwan0", "--migrate-to", where, "--count", "100", "--interval", "50ms", "--json")...)
		if code != 0 {
			t.Fatalf("to %s: exit code %d\n%s\n%s", where, code, stdout, stderr)
		}
		r := result(t, stdout)
		before, after := r.Hists["rtt_before"].Count(), r.Hists["rtt_after"].Count()
		if before+after != uint64(r.Values["packets_received"]) || after < 20 {
			t.Errorf("to %s: %d datagrams before and %d after, values %v", where, before, after, r.Values)
		}
		for _, name := range []string{"path_validation_seconds", "migration_gap_seconds"} {
			if _, ok := r.Values[name]; !ok {
				t.Errorf("to %s: values lack %s: %v", where, name, r.Values)
			}
		}
		if len(r.Events) != 1 || r.Events[0].Type != probes.Migration {
			t.Errorf("to %s: events %v", where, r.Events)
		}
		first, second = l.received(t, "wwan0")-first, l.received(t, "wwan1")-second
		if first < int(before) || second < int(after) {
			t.Errorf("to %s: %d packets came over wwan0 and %d over wwan1, of %d datagrams before and %d after", where, first, second, before, after)
		}
		t.Logf("to %s: path valid after %v s, gap %v s, %d packets over wwan0, %d over wwan1", where, r.Values["path_validation_seconds"], r.Values["migration_gap_seconds"], first, second)
	}
}

// TestNetnsMigrationToNowhere: an interface that is there and leads nowhere has an error of its own.
func TestNetnsMigrationToNowhere(t *testing.T) {
	l := newLink(t)
	reflector := start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...)
	reflector.waitFor(t, `ready`, patience)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for where, want := range map[string]string{
		"nope0":     `there is no interface "nope0": there are lo, wwan0`,
		"10.99.0.":  `there is no interface "10.99.0."`,
		"10.99.0.1": "migrating to 10.99.0.1: no interface has the address 10.99.0.1",
		"lo":        "migrating to lo: no answer of 10.77.0.2:8443 over lo within 5s: does that interface lead there?",
	} {
		stdout, _, code := run(t, in(l.near, program(t), "probe", "quic", "10.77.0.2", "--migrate-to", where, "--handshake-timeout", "5s")...)
		if code != 4 || !strings.Contains(stdout, want) {
			t.Errorf("to %s: exit code %d, want 4 and %q\n%s", where, code, want, stdout)
		}
	}
}
