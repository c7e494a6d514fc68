//go:build bench

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// peer is a program that measures round-trip times, and how its output is read.
type peer struct {
	name string
	argv func(interval time.Duration, count int) []string
	read func(t *testing.T, stdout string) []float64 // seconds; nil for nrprobe
}

// figures are what one run of a peer gave.
type figures struct {
	quantiles [4]float64 // p50, p90, p99, p99.9 in seconds
	late      float64    // p99 of how late packets left, in seconds; nrprobe alone tells
	cpu       float64    // share of one core that the sender used
	perPacket float64    // processor seconds per packet answered
	answered  float64    // share of what was asked for
}

const benchRounds = 5

// TestBenchLatency prints round-trip times over a veth pair as nrprobe and its peers see them, in turns, so that what the
// machine does meanwhile meets all of them. It asserts nothing: machines differ.
func TestBenchLatency(t *testing.T) {
	l := newLink(t)
	start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...).waitFor(t, "ready", 20*time.Second)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	peers := installed(t, l)
	for _, busy := range []int{0, 1, 2} {
		for _, interval := range []time.Duration{time.Millisecond, 10 * time.Millisecond} {
			stop := load(busy)
			got := map[string][]figures{}
			for range benchRounds {
				for _, p := range peers {
					got[p.name] = append(got[p.name], p.run(t, l, interval))
				}
			}
			stop()
			printBench(peers, got, fmt.Sprintf("%d cores busy, a packet every %v, median of %d rounds", busy, interval, benchRounds))
		}
	}
}

// installed lists the peers that this machine has. The far end of ping and fping is the kernel itself.
func installed(t *testing.T, l link) []peer {
	t.Helper()
	list := []peer{
		{name: "nrprobe", argv: stampCommand(t)},
		{name: "nrprobe, user stamps", argv: stampCommand(t, "--stamps", "user")},
	}
	have := func(name string) bool { _, err := exec.LookPath(name); return err == nil }
	if have("irtt") {
		start(t, in(l.far, "irtt", "server", "-i", "0", "-b", "10.77.0.2:2112")...)
		list = append(list, peer{"irtt", func(i time.Duration, n int) []string {
			return []string{"irtt", "client", "-i", i.String(), "-d", (i * time.Duration(n)).String(), "-l", "200", "-Q", "-o", "-", "10.77.0.2:2112"}
		}, readIrtt})
	}
	if have("ping") {
		list = append(list, peer{"ping", func(i time.Duration, n int) []string {
			return []string{"ping", "-i", fmt.Sprint(i.Seconds()), "-c", strconv.Itoa(n), "-s", "172", "10.77.0.2"}
		}, reader(`time=([0-9.]+) ms`, 1e-3)})
	}
	if have("fping") {
		list = append(list, peer{"fping", func(i time.Duration, n int) []string {
			return []string{"fping", "-i", "1", "-p", strconv.Itoa(int(i.Milliseconds())), "-c", strconv.Itoa(n), "-b", "172", "10.77.0.2"}
		}, reader(`bytes, ([0-9.]+) ms`, 1e-3)})
	}
	if have("sockperf") {
		start(t, in(l.far, "sockperf", "server", "-i", "10.77.0.2", "-p", "11111")...)
		list = append(list, peer{"sockperf", func(i time.Duration, n int) []string {
			return []string{
				"sockperf", "under-load", "-i", "10.77.0.2", "-p", "11111", "--mps=" + strconv.Itoa(int(time.Second/i)),
				"--reply-every=1", "-m", "200", "-t", strconv.Itoa(int(i * time.Duration(n) / time.Second)), "--full-rtt", "--full-log", "/dev/stdout",
			}
		}, reader(`(?m)^\d+, [0-9.]+, [0-9.]+, ([0-9.]+)$`, 1e-6)})
	}
	return list
}

func stampCommand(t *testing.T, more ...string) func(time.Duration, int) []string {
	return func(i time.Duration, n int) []string {
		return append([]string{program(t), "probe", "stamp", "10.77.0.2", "--interval", i.String(), "--count", strconv.Itoa(n), "--json"}, more...)
	}
}

func (p peer) run(t *testing.T, l link, interval time.Duration) figures {
	t.Helper()
	count := 400
	if interval < 10*time.Millisecond {
		count = 2000
	}
	argv := in(l.near, p.argv(interval, count)...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	begin := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s: %v", p.name, err)
		return figures{}
	}
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	f := figures{cpu: cpu / time.Since(begin).Seconds()}
	answered := 0
	quantile := func(float64) float64 { return 0 }
	if p.read == nil {
		r := result(t, string(out))
		h := r.Hists[probes.RTT.HistName(probes.Both)]
		answered, quantile = int(h.Count()), h.Quantile
		f.late = r.Hists[probes.ScheduleError.HistName(probes.Both)].Quantile(0.99)
	} else if values := p.read(t, string(out)); len(values) > 0 {
		slices.Sort(values)
		answered = len(values)
		quantile = func(q float64) float64 { return values[max(int(math.Ceil(q*float64(len(values)))), 1)-1] }
	}
	for i, q := range [4]float64{0.5, 0.9, 0.99, 0.999} {
		f.quantiles[i] = quantile(q)
	}
	f.answered, f.perPacket = float64(answered)/float64(count), cpu/float64(max(answered, 1))
	return f
}

func readIrtt(t *testing.T, out string) []float64 {
	t.Helper()
	var report struct {
		RoundTrips []struct {
			Lost  string `json:"lost"`
			Delay struct {
				RTT float64 `json:"rtt"` // nanoseconds
			} `json:"delay"`
		} `json:"round_trips"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("irtt: %v", err)
	}
	var values []float64
	for _, r := range report.RoundTrips {
		if r.Lost == "false" {
			values = append(values, r.Delay.RTT/1e9)
		}
	}
	return values
}

// reader finds round-trip times in a program's output by a pattern, in a unit of so many seconds.
func reader(pattern string, unit float64) func(*testing.T, string) []float64 {
	return func(t *testing.T, out string) []float64 {
		t.Helper()
		var values []float64
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(out, -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v*unit)
		}
		return values
	}
}

// load keeps some cores busy until it is stopped.
func load(cores int) (stop func()) {
	done := make(chan struct{})
	var spinning sync.WaitGroup
	for range cores {
		spinning.Go(func() {
			for x := uint64(1); ; x = x*6364136223846793005 + 1 {
				if x%(1<<16) == 0 {
					select {
					case <-done:
						return
					default:
					}
				}
			}
		})
	}
	return func() { close(done); spinning.Wait() }
}

// printBench prints the medians of all rounds, and nrprobe's as shares of its peers'.
func printBench(peers []peer, got map[string][]figures, title string) {
	median := func(name string, of func(figures) float64) float64 {
		var values []float64
		for _, f := range got[name] {
			values = append(values, of(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	at := func(i int) func(figures) float64 { return func(f figures) float64 { return f.quantiles[i] } }
	perPacket := func(f figures) float64 { return f.perPacket }
	fmt.Printf("\n%s\n%-21s %9s %9s %9s %9s %9s %7s %9s %9s\n", title, "", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "late µs", "CPU", "µs/packet", "answered")
	for _, p := range peers {
		fmt.Printf("%-21s", p.name)
		for i := range 4 {
			fmt.Printf(" %9.1f", 1e6*median(p.name, at(i)))
		}
		late := "-"
		if p.read == nil {
			late = fmt.Sprintf("%.1f", 1e6*median(p.name, func(f figures) float64 { return f.late }))
		}
		fmt.Printf(" %9s %6.1f%% %9.1f %8.1f%%\n", late, 100*median(p.name, func(f figures) float64 { return f.cpu }),
			1e6*median(p.name, perPacket), 100*median(p.name, func(f figures) float64 { return f.answered }))
	}
	for _, mine := range peers[:2] {
		for _, p := range peers[2:] {
			fmt.Printf("%s / %s: p50 %.3f, p99 %.3f, CPU per packet %.2f\n", mine.name, p.name, median(mine.name, at(0))/median(p.name, at(0)),
				median(mine.name, at(2))/median(p.name, at(2)), median(mine.name, perPacket)/median(p.name, perPacket))
		}
	}
}
