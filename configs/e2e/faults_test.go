//go:build netns

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
)

// maxBytes is what a load of a faulty link may take at most: what is reserved of the data plan is more.
const (
	maxBytes     = 200e6
	maxBytesText = "200MB"
)

// faultyLink is a link of 50 Mbit/s with a reflector at its far end, of which anything may fail.
type faultyLink struct {
	link
	t         *testing.T
	data      string // of the reflector
	out       string // of the agent: the folder of its outbox
	reflector *daemon
}

func newFaultyLink(t *testing.T) *faultyLink {
	t.Helper()
	l := &faultyLink{link: newLink(t), t: t, data: t.TempDir(), out: t.TempDir()}
	for ns, device := range map[string]string{l.near: "wwan0", l.far: "eth0"} {
		l.do(in(ns, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "50mbit", "burst", "16kb", "latency", "50ms")...)
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	l.restart()
	return l
}

func (l *faultyLink) do(argv ...string) {
	l.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// restart starts the reflector, again where it was killed.
func (l *faultyLink) restart() {
	l.t.Helper()
	l.reflector = start(l.t, in(l.far, program(l.t), "reflector", "--data", l.data, "--iperf3")...)
	l.reflector.waitFor(l.t, `level=INFO msg=ready`, patience)
}

// blackhole has all packets, both ways, end at a machine that does not exist, until restore is called. Neither end is told.
func (l *faultyLink) blackhole() (restore func()) {
	l.t.Helper()
	neighbours := func(action string, how ...string) {
		l.t.Helper()
		l.do(append([]string{"ip", "-n", l.near, "neigh", action, "10.77.0.2", "dev", "wwan0"}, how...)...)
		l.do(append([]string{"ip", "-n", l.far, "neigh", action, "10.77.0.1", "dev", "eth0"}, how...)...)
	}
	neighbours("replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent")
	return func() { l.t.Helper(); neighbours("del") }
}

// carried is how many bytes the near interface has carried, both directions, with the headers of Ethernet.
func (l *faultyLink) carried() int64 { return l.counted(l.near, "wwan0") }

func (l *faultyLink) counted(ns, device string) int64 {
	l.t.Helper()
	text, err := exec.Command("ip", "-n", ns, "-s", "-j", "link", "show", device).Output()
	if err != nil {
		l.t.Fatal(err)
	}
	var list []struct {
		Stats struct {
			Rx struct{ Bytes int64 } `json:"rx"`
			Tx struct{ Bytes int64 } `json:"tx"`
		} `json:"stats64"`
	}
	if err := json.Unmarshal(text, &list); err != nil || len(list) != 1 {
		l.t.Fatalf("%v: %s", err, text)
	}
	return list[0].Stats.Rx.Bytes + list[0].Stats.Tx.Bytes
}

// untilFlows waits until the link has carried so much more.
func (l *faultyLink) untilFlows(more int64) {
	l.t.Helper()
	enough := l.carried() + more
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for l.carried() < enough {
		if time.Now().After(deadline) {
			l.t.Fatalf("the link has not carried %d bytes", more)
		}
		<-tick.C
	}
}

// agent runs a load once, charged to a data plan of the interface.
func (l *faultyLink) agent(kind, settings string) *daemon {
	l.t.Helper()
	config := filepath.Join(l.t.TempDir(), "agent.yaml")
	text := fmt.Sprintf(`agent: {name: van}
outbox: {path: %q}
probes: [{name: load, kind: %s, target: "10.77.0.2", interface: wwan0, max_bytes: %s, %s}]
plan: {wwan0: {per_day: 10GB}}
metrics: {listen: "127.0.0.1:0"}
`, l.out, kind, maxBytesText, settings)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return start(l.t, in(l.near, program(l.t), "agent", "-c", config, "--once", "--json")...)
}

// result waits until the agent has ended and finds what it measured.
func (l *faultyLink) result(agent *daemon) *probes.Result {
	l.t.Helper()
	select {
	case <-agent.exited:
	case <-time.After(patience):
		l.t.Fatalf("the agent does not end:\n%s", agent.output())
	}
	for line := range strings.Lines(agent.output()) {
		if strings.HasPrefix(line, `{"id"`) {
			return result(l.t, line)
		}
	}
	l.t.Fatalf("the agent has no result:\n%s", agent.output())
	return nil
}

// charged is what the data plan has used and reserved, as its file says.
func (l *faultyLink) charged() (used, reserved unit.Bytes) {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.out, "plan.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	var plan struct {
		Interfaces map[string]struct {
			Month    struct{ Used map[string]string }
			Reserved string
		}
	}
	if err := json.NewDecoder(strings.NewReader(string(text))).Decode(&plan); err != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	account := plan.Interfaces["wwan0"]
	for _, n := range account.Month.Used {
		used += l.bytes(n)
	}
	return used, l.bytes(account.Reserved)
}

func (l *faultyLink) bytes(text string) unit.Bytes {
	l.t.Helper()
	n, err := unit.ParseBytes(text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// checkCharged holds what was charged against what the interface carried: at most a twentieth more, for the headers that it is
// reckoned with, and not less but for those of Ethernet. What was sent again is charged as well, though a busy far end's own
// shaper may have dropped it before the link.
func (l *faultyLink) checkCharged(r *probes.Result, carried int64) {
	l.t.Helper()
	used, reserved := l.charged()
	again := r.Values["retransmitted_segments"]
	l.t.Logf("charged %d bytes of %d that the interface carried; %v segments were sent again", used, carried, again)
	if reserved != 0 || float64(used) < 0.95*float64(carried)-100e3 || float64(used) > 1.05*float64(carried)+1500*again+100e3 {
		l.t.Errorf("%d bytes are charged and %d reserved; the interface carried %d, and %v segments were sent again", used, reserved, carried, again)
	}
}

// recovers holds that the next test is measured as if nothing had happened, and within seconds.
func (l *faultyLink) recovers(kind string) {
	l.t.Helper()
	begun := time.Now()
	stdout, stderr, code := run(l.t, in(l.near, program(l.t), "probe", kind, "10.77.0.2", "--duration", "3s", "--json")...)
	if code != 0 {
		l.t.Fatalf("afterwards: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	took := time.Since(begun).Round(10 * time.Millisecond)
	l.t.Logf("the next test of three seconds took %v", took)
	if r := result(l.t, stdout); r.Values["goodput_down_bytes_per_second"] < 4e6 || took > 12*time.Second {
		l.t.Errorf("afterwards: %v bytes/s, after %v", r.Values["goodput_down_bytes_per_second"], took)
	}
}

// loads are the kinds that load a link, with settings that take longer than any fault.
func loads() map[string]string {
	return map[string]string{"throughput": "direction: down, duration: 15s", "iperf3": "direction: down, duration: 15s"}
}

// checkBroken holds that a result tells of a fault within the time, and keeps what was measured before.
func (l *faultyLink) checkBroken(r *probes.Result, want probes.Outcome, within time.Duration) {
	l.t.Helper()
	l.t.Logf("outcome %s (%s) after %v, %.1f MB", r.Outcome, r.Error, r.Elapsed, r.Values["transferred_down_bytes"]/1e6)
	if r.Outcome != want || r.Error == "" || r.Elapsed > within || !r.Quality.Has(probes.Partial) {
		l.t.Errorf("outcome %s (%s) after %v, flags %v; want %s within %v", r.Outcome, r.Error, r.Elapsed, r.Quality, want, within)
	}
	if r.Values["transferred_down_bytes"] < 4e6 || r.Values["goodput_down_bytes_per_second"] == 0 {
		l.t.Errorf("what was measured before is lost: %v", r.Values)
	}
}

func TestNetnsServerKilled(t *testing.T) {
	for kind, settings := range loads() {
		t.Run(kind, func(t *testing.T) {
			l := newFaultyLink(t)
			before := l.carried()
			agent := l.agent(kind, settings)
			l.untilFlows(6e6)
			l.reflector.kill()
			r := l.result(agent)
			l.checkBroken(r, probes.Error, 8*time.Second)
			l.checkCharged(r, l.carried()-before)
			l.restart()
			l.recovers(kind)
		})
	}
}

// TestNetnsClientKilled: the far end is free at once, and the plan is charged the worst case when the agent starts again.
func TestNetnsClientKilled(t *testing.T) {
	for kind, settings := range loads() {
		t.Run(kind, func(t *testing.T) {
			l := newFaultyLink(t)
			agent := l.agent(kind, settings)
			l.untilFlows(6e6)
			agent.kill()
			l.recovers(kind)
			if _, reserved := l.charged(); reserved < maxBytes {
				t.Errorf("%d bytes are reserved, want all that the test could have taken", reserved)
			}
			if r := l.result(l.agent(kind, "duration: 1s")); r.Outcome != probes.OK {
				t.Errorf("the agent that was started again: %s (%s)", r.Outcome, r.Error)
			}
			if used, reserved := l.charged(); used < maxBytes || used > 2*maxBytes || reserved != 0 {
				t.Errorf("%d bytes are charged and %d reserved, want the worst case of the killed test and a little", used, reserved)
			}
		})
	}
}

// TestNetnsBlackhole: for twenty seconds nothing gets through. Both ends give up before it is over.
func TestNetnsBlackhole(t *testing.T) {
	for kind, settings := range loads() {
		t.Run(kind, func(t *testing.T) {
			l := newFaultyLink(t)
			before := l.carried()
			agent := l.agent(kind, settings)
			l.untilFlows(6e6)
			restore := l.blackhole()
			over := time.NewTimer(20 * time.Second)
			r := l.result(agent)
			l.checkBroken(r, probes.Timeout, 16*time.Second)
			l.checkCharged(r, l.carried()-before)
			<-over.C
			restore()
			l.recovers(kind)
		})
	}
}

// TestNetnsVanishedClient: a server of datagrams hears nothing from its client in any case, and yet notices that it is gone.
func TestNetnsVanishedClient(t *testing.T) {
	l := newFaultyLink(t)
	start(t, in(l.near, "iperf3", "-c", "10.77.0.2", "-u", "-b", "10M", "-R", "-t", "120")...)
	l.untilFlows(2e6)
	defer l.blackhole()()
	begun, before := time.Now(), l.counted(l.far, "eth0")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		<-tick.C
		now := l.counted(l.far, "eth0")
		if now-before < 100e3 { // of 1.25 MB in a second
			break
		}
		before = now
		if time.Since(begun) > 15*time.Second {
			t.Fatalf("it still sends after %v", time.Since(begun))
		}
	}
	t.Logf("it sent nothing more after %v", time.Since(begun).Round(100*time.Millisecond))
}

// testReport is what a person's test prints with --json, as far as it is looked at here.
type testReport struct {
	Outcome, Error string
	Figures        map[string]float64
	Phases         []struct{ Name string }
}

// TestNetnsTestBreaks is a person's test that is cut off in the middle of its download: by the death of the reflector, by a link
// that carries nothing any more, and by Ctrl-C. What was measured until then is printed.
func TestNetnsTestBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		cut     func(l *faultyLink, test *daemon)
		outcome probes.Outcome
		text    string
		code    int
	}{
		"server killed": {func(l *faultyLink, _ *daemon) { l.reflector.kill() }, probes.Refused, "stopped answering during download", 1},
		"blackhole":     {func(l *faultyLink, _ *daemon) { l.blackhole() }, probes.Timeout, "stopped answering during download", 1},
		"Ctrl-C":        {func(_ *faultyLink, test *daemon) { _ = test.cmd.Process.Signal(syscall.SIGINT) }, probes.Canceled, "interrupted during download", 130},
	} {
		for _, form := range []string{"--json", "card"} {
			if form == "card" && c.outcome != probes.Canceled {
				continue // it is the same report
			}
			t.Run(name+" "+form, func(t *testing.T) {
				l := newFaultyLink(t)
				argv := in(l.near, program(t), "test", "10.77.0.2", "--interface", "wwan0")
				if form == "--json" {
					argv = append(argv, form)
				}
				test := start(t, argv...)
				l.untilFlows(8e6)
				c.cut(l, test)
				select {
				case <-test.exited:
				case <-time.After(30 * time.Second):
					t.Fatal("it does not end")
				}
				if code := test.cmd.ProcessState.ExitCode(); code != c.code {
					t.Errorf("exit code %d, want %d", code, c.code)
				}
				text := test.output()
				if form == "card" {
					for _, want := range []string{"\n  idle ", "\n  download ", "Problem", c.text} {
						if !strings.Contains(text, want) {
							t.Errorf("the card lacks %q", want)
						}
					}
					return
				}
				var r testReport
				object, _, _ := strings.Cut(text[strings.Index(text, "{"):], "\n")
				if err := json.Unmarshal([]byte(object), &r); err != nil {
					t.Fatal(err)
				}
				if r.Outcome != string(c.outcome) || !strings.Contains(r.Error, c.text) || len(r.Phases) != 4 || r.Figures["rpm_idle"] == 0 {
					t.Errorf("%s: %s; phases %v, figures %v", r.Outcome, r.Error, r.Phases, r.Figures)
				}
			})
		}
	}
}
