//go:build bench

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answerer is a program that answers packets, and how it is flooded.
type answerer struct {
	name   string
	daemon *daemon
	part   part
}

const (
	reflectorRounds = 3
	floodFor        = 4 * time.Second
	floodSize       = 200
)

// TestBenchReflector prints how many packets a second one reflector answers on one core beside irtt and a plain echo
// written in Go, in turns, so that what the machine does meanwhile meets all of them.
func TestBenchReflector(t *testing.T) {
	l := benchLink(t)
	list := answerers(t, l)
	asked, rates, costs := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range reflectorRounds {
		for _, a := range list {
			before, dropped := cpuSeconds(t, a.daemon.cmd.Process.Pid), udpDrops(t, l.near)
			h := a.part.play(t, l.near, "0")
			replies := float64(h.Replies) + udpDrops(t, l.near) - dropped
			asked[a.name] = append(asked[a.name], float64(h.Sent)/h.Elapsed.Seconds())
			rates[a.name] = append(rates[a.name], replies/h.Elapsed.Seconds())
			costs[a.name] = append(costs[a.name], replies/(cpuSeconds(t, a.daemon.cmd.Process.Pid)-before))
			if h.Replies == 0 || h.Bytes != h.Replies*floodSize {
				t.Errorf("%s: %d replies of %d bytes in all", a.name, h.Replies, h.Bytes)
			}
		}
	}
	fmt.Printf("\npackets of %d bytes answered on one core, the flood on the other, median of %d rounds of %v\n%-28s %12s %12s %20s\n",
		floodSize, reflectorRounds, floodFor, "", "requests/s", "replies/s", "replies/CPU second")
	for _, a := range list {
		fmt.Printf("%-28s %12.0f %12.0f %20.0f\n", a.name, median(asked[a.name]), median(rates[a.name]), median(costs[a.name]))
	}
	for _, a := range list[2:] {
		fmt.Printf("nrprobe / %s: %.1f\n", a.name, median(rates["nrprobe"])/median(rates[a.name]))
	}
}

// TestBenchReflectorSessions prints the memory of a reflector that serves many sessions at once.
func TestBenchReflectorSessions(t *testing.T) {
	const (
		sessions = 2000
		bound    = 64 << 20
	)
	l := benchLink(t)
	d := pinned(t, l, program(t), "reflector", "--data", t.TempDir())
	d.waitFor(t, "ready", 20*time.Second)
	pid := d.cmd.Process.Pid
	idle, before := memory(t, pid, "VmRSS"), cpuSeconds(t, pid)
	h := part{Role: "sessions", Target: "10.77.0.2:8620", For: 10 * time.Second, Size: floodSize, Count: sessions, Every: 100 * time.Millisecond}.play(t, l.near, "0")
	peak := memory(t, pid, "VmHWM")
	fmt.Printf("\n%d sessions with %.0f packets/s each for %v: %d packets, %d answered, %d under a wrong number\n",
		sessions, float64(h.Sent)/h.Elapsed.Seconds()/sessions, h.Elapsed.Round(time.Second), h.Sent, h.Replies, h.Wrong)
	fmt.Printf("the reflector took %.0f %% of a core; its memory was %.1f MiB before and %.1f MiB at most\n",
		100*(cpuSeconds(t, pid)-before)/h.Elapsed.Seconds(), idle/(1<<20), peak/(1<<20))
	if peak > bound {
		t.Errorf("%.1f MiB of memory is more than %d MiB", peak/(1<<20), bound>>20)
	}
	if float64(h.Replies) < 0.99*float64(h.Sent) || h.Wrong > h.Sent-h.Replies {
		t.Errorf("%d packets, %d answered, %d under a wrong number", h.Sent, h.Replies, h.Wrong)
	}
}

// memory is what /proc says of a process, in bytes.
func memory(t *testing.T, pid int, field string) float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return v * 1024
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, field)
	return 0
}

// benchLink is newLink where the machine allows for it and has two cores.
func benchLink(t *testing.T) link {
	t.Helper()
	for _, name := range []string{"ip", "taskset", "chrt"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: this benchmark needs iproute2 and util-linux", name)
		}
	}
	if os.Geteuid() != 0 || runtime.NumCPU() < 2 {
		t.Skip("this benchmark needs root, for network namespaces, and two cores")
	}
	return newLink(t)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// alone is how a process gets a core for itself: by a priority in front of whatever else the machine does.
func alone(core string, argv ...string) []string {
	return append([]string{"chrt", "-f", "1", "taskset", "-c", core}, argv...)
}

// pinned starts a program at the far end, on the second core.
func pinned(t *testing.T, l link, argv ...string) *daemon {
	t.Helper()
	return start(t, in(l.far, alone("1", argv...)...)...)
}

// answerers starts what this machine has, on the second core.
func answerers(t *testing.T, l link) []answerer {
	t.Helper()
	size := strconv.Itoa(floodSize)
	d := pinned(t, l, program(t), "reflector", "--data", t.TempDir())
	d.waitFor(t, "ready", 20*time.Second)
	one := part{
		Role: "flood", Target: "10.77.0.2:8620", For: floodFor, Size: floodSize,
		Client: []string{program(t), "probe", "stamp", "--size", size},
	}
	many := one
	many.Count = 64
	list := []answerer{{"nrprobe", d, one}, {"nrprobe, 64 senders in turn", d, many}}
	if _, err := exec.LookPath("irtt"); err == nil {
		list = append(list, answerer{"irtt", pinned(t, l, "irtt", "server", "-i", "0", "-b", "10.77.0.2:2112"), part{
			Role: "flood", Target: "10.77.0.2:2112", For: floodFor, Size: floodSize, Opens: true,
			Counter: counter{At: 12, Little: true}, Client: []string{"irtt", "client", "-i", "100ms", "-d", "1s", "-l", size},
		}})
	} else {
		fmt.Println("irtt is not installed: no comparison with it")
	}
	echo := part{Role: "echo", Listen: "10.77.0.2:7007"}.command(t, l.far, "1")
	e := startCmd(t, echo)
	e.waitFor(t, "ready", 20*time.Second)
	return append(list, answerer{"Go echo", e, part{Role: "flood", Target: "10.77.0.2:7007", For: floodFor, Size: floodSize}})
}

// cpuSeconds is the processor time that a process and its children that have ended took. ip and taskset become the
// program that they start, so the process is the program itself.
func cpuSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := 0.0
	for _, i := range []int{11, 12} { // utime, stime
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += v
	}
	return ticks / 100
}

// udpDrops is how many datagrams reached a namespace and found the queue of their socket full.
func udpDrops(t *testing.T, ns string) float64 {
	t.Helper()
	argv := in(ns, "cat", "/proc/net/snmp")
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != "Udp:":
		case names == nil:
			names = fields
		default:
			v, err := strconv.ParseFloat(fields[slices.Index(names, "RcvbufErrors")], 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal("no UDP counters in /proc/net/snmp")
	return 0
}
